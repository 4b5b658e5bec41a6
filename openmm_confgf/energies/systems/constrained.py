"""A System for longer timesteps: bonds of fixed length, and mass moved from heavy atoms to their hydrogens."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import openmm
from openmm import unit

from ...errors import ConfGFError, ForceFieldError
from ...molecules.graph import MolecularGraph
from ...units import in_md_units

Constraints = Literal["HBonds", "AllBonds"]
CONSTRAINTS = ("HBonds", "AllBonds")
"""What can be constrained, as `openmm.app` names it: the bonds to hydrogen, or all bonds."""


def check_constraints(constraints: str | None, hydrogen_mass: Any) -> float | None:
    """The hydrogen mass in Da, once both are known to be possible.

    Parameters
    ----------
    constraints : str, optional
        One of `CONSTRAINTS`.
    hydrogen_mass : float or Quantity, optional
        Da.

    Returns
    -------
    float or None
        None where no mass is given.

    Raises
    ------
    ConfGFError
        If the constraints are none of `CONSTRAINTS`, or the mass is not one of a hydrogen.
    """
    if constraints is not None and constraints not in CONSTRAINTS:
        raise ConfGFError(f"The constraints {constraints!r} are unknown; give {' or '.join(CONSTRAINTS)}, or none.")
    if hydrogen_mass is None:
        return None
    mass = float(in_md_units(hydrogen_mass))
    if not 1 <= mass < math.inf:
        raise ConfGFError(f"The hydrogen mass is {mass:g} Da; give 1 to 4, for example 3.")
    return mass


def constrained(
    system: openmm.System, graph: MolecularGraph, constraints: str | None = None, hydrogen_mass: float | None = None
) -> openmm.System:
    """A copy of a System with constraints and hydrogen masses, as ``ForceField.createSystem(constraints=, hydrogenMass=)`` sets them.

    Constrained bonds have the lengths of their springs, which are left out. An atom gives its hydrogens the mass that they gain.

    Parameters
    ----------
    system : openmm.System
        Of this molecule; not changed.
    graph : MolecularGraph
    constraints : str, optional
        One of `CONSTRAINTS`.
    hydrogen_mass : float, optional
        Da.

    Returns
    -------
    openmm.System

    Raises
    ------
    ConfGFError
        As `check_constraints`, or if an atom would become lighter than its hydrogens.
    ForceFieldError
        If a bond to constrain has no spring that tells its length.
    """
    mass = check_constraints(constraints, hydrogen_mass)
    changed = copy.deepcopy(system)
    if constraints is not None:
        hydrogens = set((graph.numbers == 1).nonzero()[0].tolist())
        bonds = [(i, j) for i, j in graph.bonds.tolist() if constraints == "AllBonds" or {i, j} & hydrogens]
        _constrain(changed, graph, bonds)
    if mass is not None:
        _move_mass(changed, graph, mass)
    return changed


def _constrain(system: openmm.System, graph: MolecularGraph, bonds: list[tuple[int, int]]) -> None:
    wanted = set(bonds)
    held = {_pair(*system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())}
    lengths: dict[tuple[int, int], Any] = {}
    springs = [k for k, force in enumerate(system.getForces()) if isinstance(force, openmm.HarmonicBondForce)]
    for index in reversed(springs):
        lengths |= _take_springs(system, index, wanted)
    for i, j in bonds:
        if (i, j) in held:
            continue
        if (i, j) not in lengths:
            raise ForceFieldError(
                f"The bond of atoms {i} and {j} of {graph.name!r} has no HarmonicBondForce that tells its length; leave constraints out."
            )
        system.addConstraint(i, j, lengths[i, j])


def _take_springs(system: openmm.System, index: int, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    """Put a force without the springs of some pairs in place of one with them; gives the lengths of those left out.

    OpenMM's forces cannot drop a bond.
    """
    old = system.getForce(index)
    new = openmm.HarmonicBondForce()
    new.setForceGroup(old.getForceGroup())
    new.setName(old.getName())
    new.setUsesPeriodicBoundaryConditions(old.usesPeriodicBoundaryConditions())
    lengths = {}
    for k in range(old.getNumBonds()):
        i, j, length, stiffness = old.getBondParameters(k)
        if _pair(i, j) in wanted:
            lengths[_pair(i, j)] = length
        else:
            new.addBond(i, j, length, stiffness)
    system.removeForce(index)
    system.addForce(new)
    return lengths


def _move_mass(system: openmm.System, graph: MolecularGraph, mass: float) -> None:
    for heavy in graph.heavy_atoms.tolist():
        hydrogens = [n.GetIdx() for n in graph.mol.GetAtomWithIdx(heavy).GetNeighbors() if n.GetAtomicNum() == 1]
        total = sum(_mass(system, k) for k in (heavy, *hydrogens))
        left = total - mass * len(hydrogens)
        if hydrogens and left < mass:
            raise ConfGFError(
                f"With hydrogens of {mass:g} Da, atom {heavy} of {graph.name!r} would weigh {left:.2f} Da, less than they; give a smaller "
                "hydrogen mass, for example 3."
            )
        for k in hydrogens:
            system.setParticleMass(k, mass)
        if hydrogens:
            system.setParticleMass(heavy, left)


def _mass(system: openmm.System, index: int) -> float:
    return float(system.getParticleMass(index).value_in_unit(unit.dalton))


def _pair(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)
