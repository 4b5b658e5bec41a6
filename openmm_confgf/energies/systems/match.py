"""Are a System's particles a molecule's atoms, one by one? The mistake that nothing else would tell."""

from __future__ import annotations

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from rdkit import Chem

from ...errors import ForceFieldError
from ...molecules.graph import MolecularGraph

_MASS_TOLERANCE = 0.1
"""Da; force fields round masses to a hundredth, and the nearest elements of organic molecules differ by 1."""

_MOST_SHOWN = 12


def check_particles(system: openmm.System, graph: MolecularGraph, label: str) -> None:
    """Make sure that the particles of a System are the atoms of a molecule in its order: by number, mass and bonds.

    Masses that were moved from heavy atoms to their hydrogens are recognised, and particles without mass (frozen atoms) pass. Bonds are
    the System's springs and constraints. Which of two bonds is the double one, they do not tell.

    Parameters
    ----------
    system : openmm.System
    graph : MolecularGraph
    label : str
        What the System is called in messages.

    Raises
    ------
    ForceFieldError
        If they are not; the message names both orders.
    """
    count = system.getNumParticles()
    if virtual := sum(system.isVirtualSite(i) for i in range(count)):
        raise ForceFieldError(f"{label} has {virtual} virtual sites, which {graph.name!r} has no atoms for; take a model without them.")
    if count != len(graph):
        raise ForceFieldError(
            f"{label} has {count} particles where {graph.name!r} has {len(graph)} atoms, hydrogens included; give the System of this "
            "molecule alone, without solvent or extra particles."
        )
    masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(count)])
    if (wrong := _first_of_another_element(masses, graph)) is not None:
        raise ForceFieldError(
            f"{label} is in another atom order than {graph.name!r} or of another molecule: particle {wrong} weighs {masses[wrong]:.2f} Da, "
            f"and atom {wrong} is {_symbols(graph)[wrong]}; the particles are {_shown(_by_mass(masses))}, the atoms "
            f"{_shown(_symbols(graph))}: make it from graph.to_topology()."
        )
    if (pair := _first_wrong_bond(system, graph)) is not None:
        i, j = pair
        symbols = _symbols(graph)
        raise ForceFieldError(
            f"{label} is in another atom order than {graph.name!r} or of another molecule: its particles {i} and {j} are bonded, and atoms "
            f"{i} ({symbols[i]}) and {j} ({symbols[j]}) are not; make it from graph.to_topology()."
        )


def _first_of_another_element(masses: NDArray[np.float64], graph: MolecularGraph) -> int | None:
    """The first atom whose mass is that of another element, with masses moved to hydrogens taken back; None where all agree."""
    expected = np.array([atom.GetMass() for atom in graph.mol.GetAtoms()])
    # force fields know no isotopes
    ordinary = np.array([Chem.GetPeriodicTable().GetAtomicWeight(int(number)) for number in graph.numbers])
    away = np.minimum(np.abs(masses - expected), np.abs(masses - ordinary)) > _MASS_TOLERANCE
    hydrogens = graph.numbers == 1
    for heavy in np.flatnonzero(~hydrogens).tolist():
        group = np.array([heavy, *(n.GetIdx() for n in graph.mol.GetAtomWithIdx(heavy).GetNeighbors() if n.GetAtomicNum() == 1)])
        moved = masses[group[1:]] - expected[group[1:]]
        # repartitioning makes all hydrogens of an atom heavier by the same mass, and the atom lighter by their sum
        alike = len(moved) > 0 and (moved > 0).all() and np.ptp(moved) < _MASS_TOLERANCE
        if alike and abs(masses[group].sum() - expected[group].sum()) < _MASS_TOLERANCE:
            away[group] = False
    away &= masses > 0
    return int(np.flatnonzero(away)[0]) if away.any() else None


def _first_wrong_bond(system: openmm.System, graph: MolecularGraph) -> tuple[int, int] | None:
    """The first pair that has a spring or a constraint and no bond; None where the molecule's bonds have all of theirs.

    Springs beside these are restraints or Urey-Bradley terms, and a System may keep some bonds in forces of other kinds: only both, bonds
    without springs and springs without bonds, are another order.
    """
    springs = [force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce)]
    held = {_pair(*force.getBondParameters(k)[:2]) for force in springs for k in range(force.getNumBonds())}
    held |= {_pair(*system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())}
    bonds = {_pair(i, j) for i, j in graph.bonds.tolist()}
    return min(held - bonds) if held - bonds and bonds - held else None


def _pair(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)


def _symbols(graph: MolecularGraph) -> list[str]:
    return [atom.GetSymbol() for atom in graph.mol.GetAtoms()]


def _by_mass(masses: NDArray[np.float64]) -> list[str]:
    found = [app.Element.getByMass(mass) for mass in masses]
    return [element.symbol if element is not None else "?" for element in found]


def _shown(symbols: list[str]) -> str:
    return " ".join(symbols[:_MOST_SHOWN]) + (" ..." if len(symbols) > _MOST_SHOWN else "")
