"""What this package says of a conformation in an SDF record, and whether the record is still the one it was said of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ..ensemble import Ensemble, Provenance, Target
from ..errors import ConfGFError, FileFormatError
from ..molecules.graph import MolecularGraph
from ..molecules.identity import centre_key
from ..molecules.stereoisomers import stereoisomers
from ..status import Status
from .earlier import taken_apart

PREFIX = "openmm_confgf_"
"""Of the names of all properties that are ours; any other is the user's."""

MOLECULE, DIGEST = f"{PREFIX}molecule", f"{PREFIX}digest"
"""The ensemble's name, since the record's title may be another, and what the others were said of."""

DECIMALS = 4
"""Of a coordinate in Angstrom in a MOL block."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the ensemble of a record comes from; two are equal where the records say it in the same words (NaN is not equal to itself).

    Attributes
    ----------
    words : tuple of str or None
    provenance : Provenance
    target : Target or None
    diagnostics : dict
    """

    words: tuple[str | None, ...]
    provenance: Provenance = dataclasses.field(compare=False)
    target: Target | None = dataclasses.field(compare=False)
    diagnostics: dict[str, Any] = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Own:
    """What a record says of its conformation.

    Attributes
    ----------
    status : Status
    energy : float or None
        kJ/mol.
    stereo : str
        The specified centres and double bonds by the numbers of their atoms, where coordinates alone would specify all, with their hands
        as in `MolecularGraph.order_key`: ``4:+1 6=7:-1``.
    origin : Origin or None
    """

    status: Status
    energy: float | None
    stereo: str
    origin: Origin | None

    def specified(self, graph: MolecularGraph) -> MolecularGraph:
        """The molecule with the stereo that was specified when the record was written; its coordinates specify more, or another hand.

        Parameters
        ----------
        graph : MolecularGraph
            As it is read from the record.

        Returns
        -------
        MolecularGraph
            `graph` itself where nothing differs.

        Raises
        ------
        FileFormatError
            If the stereo is none of this molecule; to be said after the record's number.
        """
        words = [word.partition(":") for word in self.stereo.split()]
        try:
            centres = [(int(atom) - 1, int(hand)) for atom, _, hand in words if "=" not in atom]
            double_bonds = [(*(int(atom) - 1 for atom in pair.split("=")), int(side)) for pair, _, side in words if "=" in pair]
            if graph.order_key[2:] == (tuple(centres), tuple(double_bonds)):
                return graph
            return MolecularGraph.from_rdkit(_with_stereo(graph.mol, centres, double_bonds), graph.name)
        except (ValueError, OverflowError, RuntimeError) as error:  # RDKit raises RuntimeError for atoms that are not there
            raise FileFormatError(f"has the {PREFIX}specified_stereo {self.stereo!r}, which is none of its molecule") from error


def _with_stereo(mol: Chem.Mol, centres: list[tuple[int, int]], double_bonds: list[tuple[int, ...]]) -> Chem.Mol:
    """A molecule with this stereo alone, given as in `MolecularGraph.order_key`."""
    mol = Chem.Mol(mol)
    Chem.RemoveStereochemistry(mol)
    for index, hand in centres:
        atom = mol.GetAtomWithIdx(index)
        # the parity that leads to the order of the indices leads back from it
        in_bond_order = centre_key(atom, hand)[1]
        atom.SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CCW if in_bond_order > 0 else Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    for first, last, side in double_bonds:
        bond = mol.GetBondBetweenAtoms(first, last)
        if bond is None:
            raise ValueError(f"no bond of {first} and {last}")
        ends = ((bond.GetBeginAtom(), bond.GetEndAtomIdx()), (bond.GetEndAtom(), bond.GetBeginAtomIdx()))
        bond.SetStereoAtoms(*(min(n.GetIdx() for n in atom.GetNeighbors() if n.GetIdx() != far) for atom, far in ends))
        bond.SetStereo(Chem.BondStereo.STEREOCIS if side > 0 else Chem.BondStereo.STEREOTRANS)
    return mol


def own_properties(ensemble: Ensemble) -> list[dict[str, str]]:
    """Our properties of each conformation, without the digest.

    Parameters
    ----------
    ensemble : Ensemble

    Returns
    -------
    list of dict of str to str
        One for each sample, usable or not. Names begin with `PREFIX`; what there is none of is left out.
    """
    graph, given = ensemble.graph, ensemble.provenance
    *_, centres, double_bonds = graph.order_key
    stereo = [f"{centre + 1}:{hand:+d}" for centre, hand in centres]
    stereo += [f"{first + 1}={last + 1}:{side:+d}" for first, last, side in double_bonds]
    common = {
        "molecule": " ".join(graph.name.split()),
        "specified_smiles": graph.smiles,
        "specified_stereo": " ".join(stereo),
        "generator": given.generator,
        "version": given.version,
        "seed": None if given.seed is None else str(given.seed),
        "weights_sha256": given.weights_sha256,
        "settings": json.dumps(given.settings, sort_keys=True),
        "target": None if ensemble.target is None else json.dumps(dataclasses.asdict(ensemble.target)),
        "diagnostics": json.dumps(dict(ensemble.diagnostics), sort_keys=True),
    }
    energies = [None] * len(ensemble) if ensemble.energy is None else [repr(float(energy)) for energy in ensemble.energy]
    isomers = stereoisomers(graph, ensemble.positions)
    each = (
        {"energy_kj_per_mol": energy, "status": Status(status).name, "stereoisomer": isomer} | common
        for energy, status, isomer in zip(energies, ensemble.status, isomers, strict=True)
    )
    return [{PREFIX + key: value for key, value in record.items() if value is not None} for record in each]


def read_own(properties: Mapping[str, str]) -> Own:
    """What the properties of an unedited record say.

    Parameters
    ----------
    properties : mapping of str to str
        All of the record's; the user's own are passed over.

    Raises
    ------
    FileFormatError
        If one of them was edited into something else; to be said after the record's number.
    """
    own = {key.removeprefix(PREFIX): value for key, value in properties.items() if key.startswith(PREFIX)}
    status, energy = own.get("status", "OK"), own.get("energy_kj_per_mol")
    if status not in Status.__members__:
        raise FileFormatError(f"has the {PREFIX}status {status!r}; known are {', '.join(s.name for s in Status)}")
    try:
        cost = None if energy is None else float(energy)
    except ValueError as error:
        raise FileFormatError(f"has the {PREFIX}energy_kj_per_mol {energy!r}; give a number") from error
    return Own(Status[status], cost, own.get("specified_stereo", ""), _origin(own))


_OF_ORIGIN = ("generator", "version", "seed", "weights_sha256", "settings", "target", "diagnostics")


def _origin(own: Mapping[str, str]) -> Origin | None:
    try:
        seed = int(own["seed"]) if "seed" in own else None
        settings = dict(json.loads(own["settings"]))
        if "diagnostics" in own:
            target = Target(**json.loads(own["target"])) if "target" in own else None
            diagnostics = dict(json.loads(own["diagnostics"]))
        else:
            settings, target, diagnostics = taken_apart(settings)
        provenance = Provenance(own["generator"], own["version"], seed, own.get("weights_sha256"), settings)
    except (KeyError, ValueError, TypeError, AttributeError, ConfGFError):
        return None
    return Origin(tuple(own.get(name) for name in _OF_ORIGIN), provenance, target, diagnostics)


def molecule_digest(mol: Chem.Mol) -> str:
    """Of the atoms and bonds of a molecule as it is read from its record.

    Parameters
    ----------
    mol : rdkit.Chem.Mol

    Returns
    -------
    str
        SHA-256 of its elements, charges, isotopes and bond orders in their atom order; stereo is not in it.
    """
    atoms = [(atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetIsotope()) for atom in mol.GetAtoms()]
    bonds = sorted((*sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())), int(b.GetBondType())) for b in mol.GetBonds())
    return hashlib.sha256(json.dumps([atoms, bonds]).encode()).hexdigest()


def record_digest(molecule: str, coordinates: NDArray[np.float64]) -> str:
    """Of a molecule, by its digest, and its coordinates in Angstrom, (N, 3), to the last decimal that a MOL block keeps.

    Another program may write the record anew: only another molecule, order or geometry has another digest.

    Parameters
    ----------
    molecule : str
        What `molecule_digest` gives.
    coordinates : ndarray of float64, (N, 3)
        Angstrom.

    Returns
    -------
    str
        SHA-256.
    """
    grid = np.rint(coordinates * 10**DECIMALS).astype("<i8")
    return hashlib.sha256(molecule.encode() + grid.tobytes()).hexdigest()
