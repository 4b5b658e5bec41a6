"""OpenMM's custom forces, read into `Term` modules whose formulas are `expressions`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import openmm
import torch
from torch import Tensor, nn

from ...errors import UnsupportedForceError
from .coordinates import Frames, InternalCoordinate
from .expressions import Expression, Program
from .tabulated import read_table
from .term import BondedTerm, Cutoff, PlacedForce, Term, rows_of


class _Formula(nn.Module):
    """A program of one variable as a function of it; NaN where that is, whatever the program makes of a NaN."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, value: Tensor) -> Tensor:
        (name,) = self.program.variables or {"unused"}
        return torch.where(torch.isnan(value), torch.nan, self.program({name: value}))


def read_expression(force: Any, text: str, allowed: Iterable[str]) -> Expression:
    """A force's expression, parsed, with the tabulated functions of the force.

    Parameters
    ----------
    force : openmm.Force
        One of the custom forces.
    text : str
        The expression as OpenMM takes it.
    allowed : iterable of str
        What it may be a function of.

    Returns
    -------
    Expression

    Raises
    ------
    UnsupportedForceError
        If it is a function of anything else, or cannot be read, or has a tabulated function that cannot be evaluated.
    """
    tables = {}
    if hasattr(force, "getNumTabulatedFunctions"):
        for k in range(force.getNumTabulatedFunctions()):
            tables[force.getTabulatedFunctionName(k)] = read_table(force.getTabulatedFunction(k), force.getName())
    expression = Expression(text, tables)
    if unknown := expression.variables - set(allowed):
        raise UnsupportedForceError(
            f"{force.getName()} uses {', '.join(sorted(unknown))} in {text!r}, which BatchedEnergy cannot evaluate; "
            "use ContextEnergy for this System."
        )
    return expression


def global_values(one: PlacedForce) -> dict[str, float]:
    """The values of the global parameters that a force knows, by name.

    Parameters
    ----------
    one : PlacedForce
    """
    return {name: one.parameters[name] for k in range(one.force.getNumGlobalParameters()) if (name := one.force.getGlobalParameterName(k))}


def parameter_names(force: Any, kind: str) -> list[str]:
    """The names of a force's parameters per bond, angle, torsion or particle.

    Parameters
    ----------
    force : openmm.Force
    kind : str
        ``"Bond"``, ``"Angle"``, ``"Torsion"`` or ``"Particle"``.
    """
    return [getattr(force, f"getPer{kind}ParameterName")(k) for k in range(getattr(force, f"getNumPer{kind}Parameters")())]


def columns(names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, Tensor]:
    """Rows of parameters as columns that broadcast along the batch.

    Parameters
    ----------
    names : sequence of str, (P,)
    rows : sequence of sequences of float, (T, P)
        In md units.

    Returns
    -------
    dict of str to Tensor of float64, (T, 1)
        The column of each name.
    """
    table = torch.tensor(np.array(rows, np.float64).reshape(len(rows), len(names)))
    return dict(zip(names, table.T.unsqueeze(-1), strict=True))


def _bonded_reader(kind: str, width: int, variable: str) -> Callable[..., Term | None]:
    def read(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
        rows = list(rows_of(placed, f"getNum{kind}s", f"get{kind}Parameters"))
        if not rows:
            return None
        force = placed[0].force
        constants: dict[str, Any] = global_values(placed[0]) | columns(parameter_names(force, kind), [row[width] for _, row in rows])
        expression = read_expression(force, force.getEnergyFunction(), {variable, *constants})
        atoms = [[one.first_atom + atom for atom in row[:width]] for one, row in rows]
        return BondedTerm(atoms, _Formula(expression.bind(constants)), {}, [one.molecule for one, _ in rows], molecules)

    return read


custom_bonds = _bonded_reader("Bond", 2, "r")
custom_angles = _bonded_reader("Angle", 3, "theta")
custom_torsions = _bonded_reader("Torsion", 4, "theta")


class ExternalTerm(Term):
    """CustomExternalForce: a function of the coordinates of one atom after the other.

    Parameters
    ----------
    atoms : sequence of int, (T,)
    program : Program
        Of x, y and z in nm; gives kJ/mol.
    owners, molecules
        As in `Term`.
    """

    atoms: Tensor
    translation_invariant = False

    def __init__(self, atoms: Sequence[int], program: Program, owners: Sequence[int], molecules: int) -> None:
        super().__init__(owners, molecules)
        self.program = program
        self.register_buffer("atoms", torch.tensor(atoms))

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        return self.total(self.program(dict(zip("xyz", frames.atoms(self.atoms), strict=True))))


def custom_external(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """An `ExternalTerm`.

    Parameters
    ----------
    placed : sequence of PlacedForce
        CustomExternalForces that differ in their particles only.
    molecules : int

    Returns
    -------
    ExternalTerm or None
        None where no force has a particle.

    Raises
    ------
    UnsupportedForceError
        If the expression cannot be evaluated.
    """
    rows = list(rows_of(placed, "getNumParticles", "getParticleParameters"))
    if not rows:
        return None
    force = placed[0].force
    constants: dict[str, Any] = global_values(placed[0]) | columns(parameter_names(force, "Particle"), [row[1] for _, row in rows])
    program = read_expression(force, force.getEnergyFunction(), {*"xyz", *constants}).bind(constants)
    return ExternalTerm([one.first_atom + row[0] for one, row in rows], program, [one.molecule for one, _ in rows], molecules)


class CustomNonbondedTerm(Term):
    """CustomNonbondedForce: a function of the distance of pairs.

    Parameters
    ----------
    distances : InternalCoordinate
        Of the pairs, (T, B) in nm.
    program : Program
        Of r in nm; gives kJ/mol.
    force : openmm.CustomNonbondedForce
        For its cutoff and switching function.
    owners, molecules
        As in `Term`.
    """

    def __init__(self, distances: InternalCoordinate, program: Program, force: openmm.CustomNonbondedForce, owners: Tensor, molecules: int):
        super().__init__(owners, molecules)
        self.distances, self.program = distances, program
        self.cutoff = Cutoff(force)

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        r = self.distances(frames)
        return self.total(self.cutoff.within(r, self.cutoff.switched(r, self.program({"r": r}))))


def custom_nonbonded(placed: Sequence[PlacedForce], molecules: int) -> Term | None:
    """A `CustomNonbondedTerm` of the pairs that are neither excluded nor outside of the interaction groups.

    Parameters
    ----------
    placed : sequence of PlacedForce
        CustomNonbondedForces that differ in particles, exclusions and groups only.
    molecules : int

    Returns
    -------
    CustomNonbondedTerm or None
        None where there is no such pair.

    Raises
    ------
    UnsupportedForceError
        If an expression cannot be evaluated.
    """
    force = placed[0].force
    pairs = [(one, pair) for one in placed for pair in _interacting(one)]
    if not pairs:
        return None
    atoms = torch.tensor([pair for _, pair in pairs])
    particles = particle_columns(placed)
    constants: dict[str, Any] = global_values(placed[0])
    for k in range(force.getNumComputedValues()):
        name, text = force.getComputedValueParameters(k)
        value = read_expression(force, text, {*particles, *constants}).bind(constants | particles).constant
        particles[name] = torch.as_tensor(value, dtype=torch.float64).expand(placed[-1].first_atom + placed[-1].n_atoms, 1)
    for name, column in particles.items():
        constants |= {f"{name}1": column[atoms[:, 0]], f"{name}2": column[atoms[:, 1]]}
    program = read_expression(force, force.getEnergyFunction(), {"r", *constants}).bind(constants)
    owners = torch.tensor([one.molecule for one, _ in pairs])
    return CustomNonbondedTerm(InternalCoordinate(atoms), program, force, owners, molecules)


def particle_columns(placed: Sequence[PlacedForce]) -> dict[str, Tensor]:
    """Parameters of all atoms.

    Parameters
    ----------
    placed : sequence of PlacedForce

    Returns
    -------
    dict of str to Tensor of float64, (N, 1)
        The column of each name, in md units.
    """
    rows = [row for _, row in rows_of(placed, "getNumParticles", "getParticleParameters")]
    return columns(parameter_names(placed[0].force, "Particle"), rows)


def exclusions(one: PlacedForce) -> set[tuple[int, int]]:
    """Pairs that are excluded, in increasing order and in the numbers of their own molecule.

    Parameters
    ----------
    one : PlacedForce
        Of a force that has exclusions.
    """
    return {tuple(sorted(row)) for _, row in rows_of([one], "getNumExclusions", "getExclusionParticles")}


def _interacting(one: PlacedForce) -> list[tuple[int, int]]:
    """Pairs of a CustomNonbondedForce, counted through all molecules."""
    excluded = exclusions(one)
    if groups := one.force.getNumInteractionGroups():
        found: list[tuple[int, int]] = []
        for k in range(groups):
            first, second = (set(atoms) for atoms in one.force.getInteractionGroupParameters(k))
            both = first & second
            found += [(i, j) for i in first for j in second if i != j and not (i > j and i in both and j in both)]
    else:
        found = list(itertools.combinations(range(one.n_atoms), 2))
    return [(one.first_atom + i, one.first_atom + j) for i, j in found if (min(i, j), max(i, j)) not in excluded]
