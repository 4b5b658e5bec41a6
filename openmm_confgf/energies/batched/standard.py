"""OpenMM's standard forces, read into `Term` modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
import torch
from openmm import unit
from torch import Tensor

from . import formulas, gb
from .cmap import bicubic_patches, cmap_energy
from .coordinates import Frames, InternalCoordinate
from .degenerate import is_idle
from .pair_list import PairList
from .term import BondedTerm, Cutoff, Parameters, PlacedForce, Term, rows_of


def _bonded(
    placed: Sequence[PlacedForce], molecules: int, count: str, get: str, width: int, names: Sequence[str], formula: Any
) -> Term | None:
    rows = [(one, row) for one, row in rows_of(placed, count, get) if not is_idle(one.force, row)]
    if not rows:
        return None
    atoms = [[one.first_atom + atom for atom in row[:width]] for one, row in rows]
    parameters = {name: [row[width + k] for _, row in rows] for k, name in enumerate(names)}
    return BondedTerm(atoms, formula, parameters, [one.molecule for one, _ in rows], molecules)


def harmonic_bonds(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """The `formulas.harmonic` energy of bond lengths.

    Parameters
    ----------
    placed : sequence of PlacedForce
        HarmonicBondForces.
    molecules : int

    Returns
    -------
    Term or None
        None where no force has a bond.
    """
    return _bonded(placed, molecules, "getNumBonds", "getBondParameters", 2, ("length", "k"), formulas.harmonic)


def harmonic_angles(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """The `formulas.harmonic` energy of angles.

    Parameters
    ----------
    placed : sequence of PlacedForce
        HarmonicAngleForces.
    molecules : int

    Returns
    -------
    Term or None
        None where no angle has an energy.
    """
    return _bonded(placed, molecules, "getNumAngles", "getAngleParameters", 3, ("angle", "k"), formulas.harmonic)


def periodic_torsions(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """The `formulas.periodic_torsion` energy of dihedrals.

    Parameters
    ----------
    placed : sequence of PlacedForce
        PeriodicTorsionForces.
    molecules : int

    Returns
    -------
    Term or None
        None where no torsion has an energy.
    """
    names = ("periodicity", "phase", "k")
    return _bonded(placed, molecules, "getNumTorsions", "getTorsionParameters", 4, names, formulas.periodic_torsion)


def rb_torsions(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """The `formulas.ryckaert_bellemans` energy of dihedrals.

    Parameters
    ----------
    placed : sequence of PlacedForce
        RBTorsionForces.
    molecules : int

    Returns
    -------
    Term or None
        None where no torsion has an energy.
    """
    names = tuple(f"c{n}" for n in range(6))
    return _bonded(placed, molecules, "getNumTorsions", "getTorsionParameters", 4, names, formulas.ryckaert_bellemans)


class CMAPTerm(Term):
    """Correction maps of pairs of torsions (`cmap`).

    Parameters
    ----------
    placed : sequence of PlacedForce
        CMAPTorsionForces.
    molecules : int
    """

    patches: Tensor
    start: Tensor
    size: Tensor

    def __init__(self, placed: Sequence[PlacedForce], molecules: int) -> None:
        rows = list(rows_of(placed, "getNumTorsions", "getTorsionParameters"))
        super().__init__([one.molecule for one, _ in rows], molecules)
        atoms = np.array([[one.first_atom + atom for atom in row[1:]] for one, row in rows])
        self.first, self.second = (InternalCoordinate(torch.from_numpy(part)) for part in (atoms[:, :4], atoms[:, 4:]))
        maps: dict[tuple[int, int], tuple[int, int]] = {}
        patches: list[np.ndarray] = []
        for one in placed:
            for k in range(one.force.getNumMaps()):
                size, values = one.force.getMapParameters(k)
                maps[one.molecule, k] = sum(map(len, patches)), size
                # OpenMM's first angle varies fastest
                grid = np.array(values.value_in_unit(unit.kilojoule_per_mole)).reshape(size, size).T
                patches.append(bicubic_patches(grid).reshape(size * size, 4, 4))
        where = np.array([maps[one.molecule, row[0]] for one, row in rows])
        self.register_buffer("patches", torch.from_numpy(np.concatenate(patches)))
        self.register_buffer("start", torch.from_numpy(where[:, :1].copy()))
        self.register_buffer("size", torch.from_numpy(where[:, 1:].copy()))

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        return self.total(cmap_energy(self.patches, self.start, self.size, self.first(frames), self.second(frames)))


def cmap_torsions(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """A `CMAPTerm`.

    Parameters
    ----------
    placed : sequence of PlacedForce
        CMAPTorsionForces.
    molecules : int

    Returns
    -------
    CMAPTerm or None
        None where no force has a torsion.
    """
    return CMAPTerm(placed, molecules) if any(one.force.getNumTorsions() for one in placed) else None


class NonbondedTerm(Term):
    """Lennard-Jones and Coulomb energies, with exceptions; without a cutoff or with reaction field and switching.

    Parameters
    ----------
    pairs : PairList
    parameters : dict of ndarray, (P,)
        ``charge_product`` in e^2, ``sigma`` in nm and ``epsilon`` in kJ/mol, of the interacting pairs and then of the exceptions.
    settings : openmm.NonbondedForce
        For its cutoff, switching function and dielectric.
    molecules : int
    """

    def __init__(self, pairs: PairList, parameters: dict[str, np.ndarray], settings: openmm.NonbondedForce, molecules: int) -> None:
        self.rows = slice(0, pairs.exceptions.stop)
        super().__init__(torch.from_numpy(pairs.molecule[self.rows]), molecules)
        self.pairs, self.parameter = pairs, Parameters(parameters)
        self.cutoff, self.dielectric = Cutoff(settings), settings.getReactionFieldDielectric()

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        r = self.pairs.distances(frames)[self.rows]
        columns = self.parameter.columns()
        if self.cutoff.distance == math.inf:
            return self.total(self._full(r, *columns))
        near, far = self.pairs.interacting, self.pairs.exceptions
        exceptions = self._full(r[far], *(column[far] for column in columns))
        return self.total(torch.cat([self._cut(r[near], *(column[near] for column in columns)), exceptions]))

    @staticmethod
    def _full(r: Tensor, charge_product: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
        return formulas.lennard_jones(r, sigma, epsilon) + formulas.coulomb(r, charge_product)

    def _cut(self, r: Tensor, charge_product: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
        attraction = self.cutoff.switched(r, formulas.lennard_jones(r, sigma, epsilon))
        return self.cutoff.within(r, attraction + formulas.reaction_field(r, charge_product, self.cutoff.distance, self.dielectric))


def nonbonded(placed: Sequence[PlacedForce], molecules: int, pairs: PairList) -> Term:
    """A `NonbondedTerm`; parameter offsets are at the values of their parameters.

    Pairs that are no exceptions have the product of the charges, the mean of sigma and the geometric mean of epsilon (Lorentz-Berthelot
    rules; OpenMM User Guide, "NonbondedForce").

    Parameters
    ----------
    placed : sequence of PlacedForce
        NonbondedForces.
    molecules : int
    pairs : PairList
        Whose exceptions are those of the forces.

    Returns
    -------
    NonbondedTerm
    """
    particles = np.concatenate([_particles(one) for one in placed])
    atoms = pairs.atoms[: pairs.exceptions.stop]
    first, second = particles[atoms[:, 0]], particles[atoms[:, 1]]
    table = np.stack([first[:, 0] * second[:, 0], (first[:, 1] + second[:, 1]) / 2, np.sqrt(first[:, 2] * second[:, 2])], 1)
    special = exceptions(placed)
    for row in range(pairs.exceptions.start, pairs.exceptions.stop):
        table[row] = special[tuple(atoms[row].tolist())]
    parameters = dict(zip(("charge_product", "sigma", "epsilon"), table.T, strict=True))
    return NonbondedTerm(pairs, parameters, placed[0].force, molecules)


def exceptions(placed: Sequence[PlacedForce]) -> dict[tuple[int, int], np.ndarray]:
    """The exceptions of NonbondedForces, at the values of their parameters.

    Parameters
    ----------
    placed : sequence of PlacedForce
        NonbondedForces.

    Returns
    -------
    dict of (int, int) to ndarray of float64, (3,)
        Charge product in e^2, sigma in nm and epsilon in kJ/mol, by the two atoms in increasing order, counted through all molecules.
    """
    found = {}
    for one in placed:
        table = [row[2:] for _, row in rows_of([one], "getNumExceptions", "getExceptionParameters")]
        for _, (name, k, *scales) in rows_of([one], "getNumExceptionParameterOffsets", "getExceptionParameterOffset"):
            table[k] = [value + scale * one.parameters[name] for value, scale in zip(table[k], scales, strict=True)]
        for k, row in enumerate(table):
            i, j = sorted(one.force.getExceptionParameters(k)[:2])
            found[one.first_atom + i, one.first_atom + j] = np.array(row)
    return found


def _particles(one: PlacedForce) -> np.ndarray:
    """Charge, sigma and epsilon, (N, 3)."""
    table = np.array([row for _, row in rows_of([one], "getNumParticles", "getParticleParameters")]).reshape(-1, 3)
    for _, (name, atom, *scales) in rows_of([one], "getNumParticleParameterOffsets", "getParticleParameterOffset"):
        table[atom] += one.parameters[name] * np.array(scales)
    return table


class GBSAOBCTerm(Term):
    """The implicit solvent of GBSAOBCForce (`gb`).

    Parameters
    ----------
    placed : sequence of PlacedForce
        GBSAOBCForces of the same dielectrics, surface tension and cutoff.
    molecules : int
    pairs : PairList
        All pairs.
    """

    pair_owners: Tensor

    def __init__(self, placed: Sequence[PlacedForce], molecules: int, pairs: PairList) -> None:
        atoms = list(rows_of(placed, "getNumParticles", "getParticleParameters"))
        super().__init__([one.molecule for one, _ in atoms], molecules)
        charge, radius, scale = np.array([row for _, row in atoms]).T
        offset = radius - gb.DIELECTRIC_OFFSET
        i, j = pairs.atoms.T
        self.atom = Parameters({"charge": charge, "radius": radius})
        self.pair = Parameters(
            {
                "radius_i": offset[i],
                "radius_j": offset[j],
                "scaled_i": (scale * offset)[i],
                "scaled_j": (scale * offset)[j],
                "charge_product": charge[i] * charge[j],
            }
        )
        self.pairs = pairs
        self.register_buffer("pair_owners", torch.from_numpy(pairs.molecule))
        force = placed[0].force
        self.contrast = 1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric()
        self.tension = force.getSurfaceAreaEnergy().value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
        self.cutoff = Cutoff(force)

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        r, pair = self.pairs.distances(frames), self.pair
        first, second = self.pairs.distances.column(0), self.pairs.distances.column(1)
        onto_first = self.cutoff.within(r, gb.descreening(r, pair["radius_i"], pair["scaled_j"]))
        onto_second = self.cutoff.within(r, gb.descreening(r, pair["radius_j"], pair["scaled_i"]))
        integral = r.new_zeros(frames.positions.shape[1:]).index_add(0, first, onto_first).index_add(0, second, onto_second)
        born = gb.born_radii(integral, self.atom["radius"])
        product = born.index_select(0, first) * born.index_select(0, second)
        between = gb.polarization_pair(r, product, pair["charge_product"], self.contrast)
        if self.cutoff.distance < math.inf:
            # zero at the cutoff, as a bare Coulomb energy would be
            between = between + self.contrast * formulas.coulomb(r.new_tensor(self.cutoff.distance), pair["charge_product"])
        alone = gb.polarization_self(born, self.atom["charge"], self.contrast) + gb.surface_area(born, self.atom["radius"], self.tension)
        return self.total(alone) + self.total(self.cutoff.within(r, between), self.pair_owners)
