"""What a System says of each atom, bond and angle of a molecule: equilibrium values, force constants, charges, Lennard-Jones parameters."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from rdkit import Chem

from ...molecules.graph import MolecularGraph
from ...units import in_md_units

_BOND_STIFFNESS, _ANGLE_STIFFNESS = 3e5, 400.0
"""kJ/mol/nm^2 and kJ/mol/rad^2, for what a System has no harmonic term of."""

Harmonic = tuple[float, float]
"""Equilibrium and force constant of ``k / 2 (x - x0)^2``, nm or radians."""


@dataclasses.dataclass(frozen=True)
class MoleculeParameters:
    """Parameters of a molecule of N atoms.

    Attributes
    ----------
    charge, sigma, epsilon : ndarray of float64, (N,)
        e, nm, kJ/mol; 0 without a NonbondedForce.
    bonds : dict of (int, int) to (float, float)
        Length in nm and force constant in kJ/mol/nm^2 of each bonded pair, in both orders.
    angles : dict of (int, int, int) to (float, float)
        Angle in radians and force constant in kJ/mol/rad^2, in both orders.
    torsions : dict of (int, int, int, int) to list of (int, float, float)
        Periodicity, phase in radians and k in kJ/mol of ``k (1 + cos(n phi - phase))``, in both orders.
    """

    charge: NDArray[np.float64]
    sigma: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    bonds: dict[tuple[int, int], Harmonic]
    angles: dict[tuple[int, int, int], Harmonic]
    torsions: dict[tuple[int, int, int, int], list[tuple[int, float, float]]]


def read_parameters(graph: MolecularGraph, system: openmm.System) -> MoleculeParameters:
    """What harmonic bonds and angles, periodic torsions and the NonbondedForce of a System say; typical values for what they leave out.

    Parameters
    ----------
    graph : MolecularGraph
    system : openmm.System
        Its particles in the order of the graph's atoms.

    Returns
    -------
    MoleculeParameters
    """
    n = len(graph)
    charge, sigma, epsilon = np.zeros(n), np.zeros(n), np.zeros(n)
    bonded = {tuple(pair) for pair in graph.bonds.tolist()}
    bonds, angles = _typical(graph)
    torsions: dict[tuple[int, int, int, int], list[tuple[int, float, float]]] = {}
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for k in range(n):
                charge[k], sigma[k], epsilon[k] = map(in_md_units, force.getParticleParameters(k))
        elif isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, *values = force.getBondParameters(k)
                if (min(i, j), max(i, j)) in bonded:  # Urey-Bradley terms are none
                    bonds[i, j] = bonds[j, i] = _harmonic(values, _BOND_STIFFNESS)
        elif isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                i, j, m, *values = force.getAngleParameters(k)
                angles[i, j, m] = angles[m, j, i] = _harmonic(values, _ANGLE_STIFFNESS)
        elif isinstance(force, openmm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                a, b, c, d, periodicity, phase, strength = force.getTorsionParameters(k)
                term = (int(periodicity), in_md_units(phase), in_md_units(strength))
                for key in ((a, b, c, d), (d, c, b, a)):
                    torsions.setdefault(key, []).append(term)
    return MoleculeParameters(charge, sigma, epsilon, bonds, angles, torsions)


def _harmonic(values: list[Any], typical: float) -> Harmonic:
    equilibrium, stiffness = map(in_md_units, values)
    return equilibrium, stiffness if stiffness > 0 else typical


def _typical(graph: MolecularGraph) -> tuple[dict[tuple[int, int], Harmonic], dict[tuple[int, int, int], Harmonic]]:
    """Sums of covalent radii, and angles by hybridisation."""
    table = Chem.GetPeriodicTable()
    ideal = {Chem.HybridizationType.SP: math.pi, Chem.HybridizationType.SP2: math.radians(120)}
    bonds: dict[tuple[int, int], Harmonic] = {}
    angles: dict[tuple[int, int, int], Harmonic] = {}
    for i, j in graph.bonds.tolist():
        length = 0.1 * sum(table.GetRcovalent(int(graph.numbers[k])) for k in (i, j))
        bonds[i, j] = bonds[j, i] = (length, _BOND_STIFFNESS)
    for atom in graph.mol.GetAtoms():
        around = [b.GetOtherAtomIdx(atom.GetIdx()) for b in atom.GetBonds()]
        for i in around:
            for k in around:
                if i != k:
                    angles[i, atom.GetIdx(), k] = (ideal.get(atom.GetHybridization(), math.radians(109.5)), _ANGLE_STIFFNESS)
    return bonds, angles
