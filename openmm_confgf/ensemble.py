"""Ensemble: conformations of one molecule, what each costs, and whether it can be trusted."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ConfGFError, MoleculeError
from .molecules.graph import MolecularGraph
from .status import Status
from .units import NM_PER_ANGSTROM, in_md_units, positions_in_nm

if TYPE_CHECKING:
    import mdtraj
    from rdkit import Chem


TITLE = "_Name"
"""The key of a record's title among its properties: RDKit's."""

_LONGEST = 160
"""Characters of a name that a notebook shows."""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where an ensemble comes from: enough to make it again.

    Attributes
    ----------
    generator : str
        Name of the generator, or the file the ensemble was read from.
    version : str
        Version of this package.
    seed : int or None
        Seed of the generator.
    weights_sha256 : str or None
        Checksum of the network weights, where there are any.
    settings : dict
        Everything else that decides the result (steps, force field of a relaxation ...), in JSON's types. What the energies are of is the
        `Target` of the ensemble, and what a run measured of itself are its ``diagnostics``.
    """

    generator: str
    version: str
    seed: int | None = None
    weights_sha256: str | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Target:
    """What the energies of an ensemble are of, and at which temperature they are to be weighed: exp(-U / kT).

    Attributes
    ----------
    forcefield : str or None
        Its name; None where it has none.
    system_sha256 : str or None
        `system_hash` of the molecule's OpenMM System; None where there is none, as with MMFF94s.
    temperature : float or None
        K (a Quantity is taken); None where no temperature is meant, as for minima.

    Raises
    ------
    ConfGFError
        If the temperature is none.
    """

    forcefield: str | None = None
    system_sha256: str | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None:
            kelvin = float(in_md_units(self.temperature))
            if not 0 < kelvin < math.inf:
                raise ConfGFError(f"The temperature of a target is {kelvin:g} K; give a finite one above 0 K, or None.")
            object.__setattr__(self, "temperature", kelvin)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ensemble:
    """Conformations of one molecule. Operations return a new ensemble; the order is never changed silently.

    ``ensemble[3]``, slices and boolean masks give ensembles, and iteration gives one for each conformation. Its arrays are copies of what
    was given, and read-only. Two ensembles are equal where they are the same object.

    Attributes
    ----------
    graph : MolecularGraph
        The molecule; its atom order is that of ``positions``.
    positions : ndarray of float64, (B, N, 3)
        Coordinates in nm. A failed sample keeps its row.
    status : ndarray of int8, (B,)
        A `Status` per sample. Generators and energies must set it: by default all are OK, and only what is not finite becomes NON_FINITE.
    energy : ndarray of float64, (B,), optional
        Potential energy in kJ/mol, as it was evaluated, whatever the status is; +inf where there is none that is finite. Whether a row
        counts is for its reader to say: ranking and pictures take those that are `ok`, weights and averages over equilibrium take all.
    log_q : ndarray of float64, (B,), optional
        Natural log of the generator's density on the mean-free subspace, nm units. Rows that were picked for what they are, or moved, are
        no samples of it any more: operations that do so drop it.
    provenance : Provenance
        Where it comes from.
    target : Target, optional
        What the energies are of.
    diagnostics : mapping
        What the run that made the ensemble tells of itself as a whole (`r_hat_energy`, `repaired` ...), in JSON's types. It decides
        nothing, and stays whatever is selected.
    properties : tuple of mappings of str to str, optional
        What the source says of each conformation in words of its own: the properties of its record in a file, in their order, and the
        record's title under `TITLE`. They stay with their conformation, whatever is selected or scored.

    Raises
    ------
    ValueError
        If shapes disagree, or a status is not known.
    """

    graph: MolecularGraph
    positions: NDArray[np.float64]
    provenance: Provenance
    status: NDArray[np.int8] = None  # type: ignore[assignment]  # None stands for "all OK" in the constructor only
    energy: NDArray[np.float64] | None = None
    log_q: NDArray[np.float64] | None = None
    properties: tuple[Mapping[str, str], ...] | None = None
    target: Target | None = None
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        positions = positions_in_nm(self.positions)
        if positions.shape[-2] != len(self.graph):
            raise ValueError(f"The positions have {positions.shape[-2]} atoms where {self.graph.name!r} has {len(self.graph)}.")
        positions = positions.reshape(-1, len(self.graph), 3).copy()
        status = np.zeros(len(positions), np.int8) if self.status is None else np.array(self.status, np.int8)
        energy, log_q = (None if values is None else np.array(in_md_units(values), np.float64) for values in (self.energy, self.log_q))
        for name, values in (("status", status), ("energy", energy), ("log_q", log_q)):
            if values is not None and values.shape != (len(positions),):
                raise ValueError(f"{name} has shape {values.shape} for {len(positions)} conformations; give one value each.")
        if self.properties is not None and len(self.properties) != len(positions):
            raise ValueError(f"There are properties of {len(self.properties)} conformations for {len(positions)}; give each its own.")
        if not np.isin(status, list(Status)).all():
            raise ValueError(f"A status is none of {', '.join(f'{s.value} ({s.name})' for s in Status)}; give one of these each.")
        finite = np.isfinite(positions).all(axis=(1, 2))
        if energy is not None:
            finite &= np.isfinite(energy)
            energy[~finite] = np.inf
        status[~finite & (status == Status.OK)] = Status.NON_FINITE
        changed = {"positions": positions, "status": status, "energy": energy, "log_q": log_q, "diagnostics": dict(self.diagnostics)}
        for name, value in changed.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "properties", None if self.properties is None else tuple(self.properties))
        self._protect()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """NumPy's arrays come writable out of a pickle or a copy."""
        self.__dict__.update(state)
        self._protect()

    def _protect(self) -> None:
        for name in ("positions", "status", "energy", "log_q"):
            if (values := getattr(self, name)) is not None:
                values.setflags(write=False)

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items())
        return f"Ensemble({self.graph.name!r}, {len(self)} conformations{': ' * bool(counts)}{counts})"

    def __getitem__(self, index: Any) -> Ensemble:
        """The samples of an integer, a slice, a list of integers or a boolean mask, as an ensemble.

        The rows of an integer or a slice are what they are by their place alone, and keep ``log_q``; lists and masks drop it, as `select`.

        Raises
        ------
        IndexError
            If there is no such sample, or a mask has another length.
        """
        rows = np.arange(len(self))[index]
        picked = self.select(rows)
        if self.log_q is None or not isinstance(index, (int, np.integer, slice)):
            return picked
        return picked.replace(log_q=np.atleast_1d(self.log_q[rows]))

    def __iter__(self) -> Iterator[Ensemble]:
        return (self[k] for k in range(len(self)))

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which samples can be used, (B,)."""
        return np.asarray(self.status == Status.OK)

    def replace(self, **changes: Any) -> Ensemble:
        """A copy with some attributes changed. What belongs to others that are not given (energies to positions) is not looked after."""
        return dataclasses.replace(self, **changes)

    def select(self, index: ArrayLike) -> Ensemble:
        """The samples of `index` (integers or a boolean mask), in its order, without ``log_q``: what was picked is no sample of it.

        Parameters
        ----------
        index : array_like of int or bool
            Integers of any number and order, or a mask, (B,).

        Raises
        ------
        IndexError
            If there is no such sample, a mask has another length, or the numbers are no integers.
        """
        index = np.atleast_1d(index)
        if index.size and index.dtype.kind not in "biu":
            raise IndexError(f"Samples are selected by integers or by a mask, and these are {index.dtype}; convert them first.")
        index = index if index.dtype == bool else index.astype(np.int64)
        pick = lambda values: None if values is None else values[index]  # noqa: E731
        properties = self.properties
        if properties is not None:
            properties = tuple(properties[k] for k in np.arange(len(self))[index])
        picked = {name: pick(getattr(self, name)) for name in ("positions", "status", "energy")}
        return self.replace(**picked, log_q=None, properties=properties)

    def ranked(self) -> Ensemble:
        """The usable samples by increasing energy (in their own order where there is no energy).

        Where the molecule leaves stereo open and they are of several diastereomers, which do not compare, each of these is ranked by
        itself, one after the other as they first appear; mirror images are one.
        """
        from .molecules.stereoisomers import diastereomers

        usable = np.flatnonzero(self.ok)
        if self.energy is None:
            return self.select(usable)
        return self.select(usable[np.lexsort((self.energy[usable], diastereomers(self.graph, self.positions[usable])))])

    def by_stereoisomer(self) -> dict[str, Ensemble]:
        """The usable samples of each stereoisomer, by its SMILES and in the order of first appearance.

        Each ensemble's graph specifies its stereoisomer, and has it in its name. A molecule that leaves no stereo open gives one ensemble.
        In a meso compound atoms that are alike are exchanged where the hands ask for it.
        """
        from .molecules.stereoisomers import split_by_stereoisomer

        usable = np.flatnonzero(self.ok)
        found = split_by_stereoisomer(self.graph, self.positions[usable])
        return {part.graph.smiles: self.select(usable[part.indices]).replace(graph=part.graph, positions=part.positions) for part in found}

    def compounds(self) -> list[Ensemble]:
        """What can be compared as one: itself, or its stereoisomers where its usable samples are of several diastereomers."""
        from .molecules.stereoisomers import diastereomers

        several = len(set(diastereomers(self.graph, self.positions[self.ok]).tolist())) > 1
        return list(self.by_stereoisomer().values()) if several else [self]

    def deduplicated(self, rmsd: Any = 0.0125) -> Ensemble:
        """Drop each usable sample that lies within `rmsd` (nm) of an earlier one; unusable samples are dropped as well.

        Rank first to keep the lowest in energy of each group. The RMSD is the symmetry-aware best alignment over heavy atoms. Samples of
        different stereoisomers, where the molecule leaves that open, are never duplicates.

        Parameters
        ----------
        rmsd : float or Quantity
            nm; a sample at exactly this distance is dropped.

        Raises
        ------
        ValueError
            If it is negative.
        """
        from .molecules.rmsd import greedy_distinct
        from .molecules.stereoisomers import split_by_stereoisomer

        usable = np.flatnonzero(self.ok)
        found = split_by_stereoisomer(self.graph, self.positions[usable])
        kept = [usable[part.indices[greedy_distinct(self.graph, part.positions, rmsd)]] for part in found]
        return self.select(np.sort(np.concatenate([usable[:0], *kept])))

    def counts(self) -> dict[str, int]:
        """How many samples have each status, by name; only those that occur."""
        found = collections.Counter(Status(s).name for s in self.status)
        return {s.name: found[s.name] for s in Status if found[s.name]}

    def summary(self) -> str:
        """One line for people: the molecule, the counts, the stereo that is left open, the energy range."""
        from .molecules.stereoisomers import stereo_text

        parts = [f"{self.graph.name}: {len(self)} conformations"]
        parts += [f"{n} {name}" for name, n in self.counts().items()]
        if stereo := stereo_text(self.graph, self.positions[self.ok]):
            parts.append(stereo)
        if self.energy is not None and self.ok.any():
            energy = self.energy[self.ok]
            parts.append(f"energies {energy.min():.1f} to {energy.max():.1f} kJ/mol")
        return ", ".join(parts)

    def to_rdkit(self) -> Chem.Mol:
        """An RDKit molecule with one conformer for each usable sample, in order."""
        return self.graph.to_rdkit(self.positions[self.ok])

    def to_mdtraj(self) -> mdtraj.Trajectory:
        """An MDTraj trajectory with one frame for each usable sample, in order."""
        import mdtraj

        return mdtraj.Trajectory(self.positions[self.ok], mdtraj.Topology.from_openmm(self.graph.to_topology()))

    def view(self, count: int = 20) -> Any:
        """The first `count` usable samples on top of each other, in a notebook, coloured by energy; rank first to see the lowest.

        Parameters
        ----------
        count : int
            At least 1.

        Returns
        -------
        py3Dmol.view
            To be styled further, or shown as the last value of a cell.

        Raises
        ------
        ConfGFError
            If py3Dmol is not installed, no sample is usable, or the count is less than 1.
        """
        from .molecules.notebook import conformations_view

        if count < 1:
            raise ConfGFError(f"There is nothing to view of {count} conformations; ask for at least 1.")
        shown = self.select(np.flatnonzero(self.ok)[:count])
        return conformations_view(self.graph, shown.positions, shown.energy)

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from .molecules.notebook import molecule_html

        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items())
        rows = [("molecule", self.graph.name[:_LONGEST]), ("conformations", f"{len(self)}{': ' * bool(counts)}{counts}")]
        if self.energy is not None and self.ok.any():
            rows.append(("energies", f"{self.energy[self.ok].min():.1f} to {self.energy[self.ok].max():.1f} kJ/mol"))
        if self.target is not None and self.target.forcefield is not None:
            at = "" if self.target.temperature is None else f" at {self.target.temperature:g} K"
            rows.append(("target", f"{self.target.forcefield[:_LONGEST]}{at}"))
        seed = "" if self.provenance.seed is None else f", seed {self.provenance.seed}"
        rows.append(("generator", f"{self.provenance.generator[:_LONGEST]}{seed}"))
        return molecule_html(self.graph, rows)

    @classmethod
    def from_rdkit(cls, mol: Chem.Mol, name: str | None = None) -> Ensemble:
        """From an RDKit molecule with explicit hydrogens and its conformers, with their status from `check_conformations`.

        Parameters
        ----------
        mol : rdkit.Chem.Mol
            Its conformers are in Angstrom, as RDKit's are.
        name : str, optional
            As in `MolecularGraph.from_rdkit`.

        Raises
        ------
        MoleculeError
            If the molecule is incomplete, or has no conformers.
        """
        from .molecules.checks import check_conformations
        from .version import __version__

        graph = MolecularGraph.from_rdkit(mol, name)
        if not mol.GetNumConformers():
            raise MoleculeError(f"{graph.name!r} has no conformers; embed some, or give its graph to a generator.")
        frames = np.array([c.GetPositions() for c in mol.GetConformers()]) * NM_PER_ANGSTROM
        return cls(graph, frames, Provenance("rdkit", __version__), check_conformations(graph, frames))
