"""Angles without an angle and dihedrals without a plane: which conformations of a System have one, and the torsions that cost nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import openmm
import torch
from numpy.typing import NDArray

from ...units import in_md_units
from .coordinates import Frames, InternalCoordinate

_STRENGTHS = {openmm.HarmonicAngleForce: 4, openmm.PeriodicTorsionForce: 6, openmm.RBTorsionForce: 4}
"""Where in the parameters of an interaction those begin that leave no energy if all are zero."""

_TORSIONS = (openmm.PeriodicTorsionForce, openmm.RBTorsionForce)

_FRAMES_AT_ONCE = 256


def is_idle(force: openmm.Force, row: Sequence[Any]) -> bool:
    """Whether an interaction has no energy, whatever the angle: all its force constants are zero.

    Force fields have many such torsions: all that turn about a bond of an alkyne or a nitrile, whose atoms lie on a line.

    Parameters
    ----------
    force : openmm.Force
        Only harmonic angles, periodic torsions and Ryckaert-Bellemans torsions are ever idle.
    row : sequence
        The parameters of the interaction as the force's ``get...Parameters`` gives them, Quantities or in md units.
    """
    start = next((start for kind, start in _STRENGTHS.items() if isinstance(force, kind)), None)
    return start is not None and not any(in_md_units(value) for value in row[start:])


class Defined:
    """Tells in which conformations of a System all angles and dihedrals exist that its energy depends on (`coordinates.RESOLUTION`).

    Calling it with an ndarray of float64 (B, N, 3) in nm gives an ndarray of bool (B,). Periodic forces are not asked: their bonds may be
    those to an image of an atom.

    Parameters
    ----------
    system : openmm.System
        Of any forces; those without angles and torsions do not matter.
    """

    def __init__(self, system: openmm.System) -> None:
        forces = [force for force in system.getForces() if not force.usesPeriodicBoundaryConditions()]
        rows = {atoms for force in forces for atoms in _atoms(force)}
        by_width = [[row for row in rows if len(row) == width] for width in (3, 4)]
        self._coordinates = [InternalCoordinate(torch.tensor(sorted(found))) for found in by_width if found]

    def __call__(self, frames: NDArray[np.float64]) -> NDArray[np.bool_]:
        defined = np.ones(len(frames), bool)
        for start in range(0, len(frames) if self._coordinates else 0, _FRAMES_AT_ONCE):
            here = slice(start, start + _FRAMES_AT_ONCE)
            batch = Frames(torch.tensor(frames[here].T))
            for coordinate in self._coordinates:
                defined[here] &= torch.isfinite(coordinate(batch)).all(0).numpy()
        return defined


def without_idle(system: openmm.System) -> openmm.System:
    """A System without the torsions that have no energy (`is_idle`): their forces in OpenMM are 0 / 0 where atoms lie on a line.

    Parameters
    ----------
    system : openmm.System
        It is not changed.

    Returns
    -------
    openmm.System
        A copy; the System itself where there is no such torsion, or where it cannot be copied.
    """
    forces = system.getForces()
    idle = [k for k, force in enumerate(forces) if isinstance(force, _TORSIONS) and any(is_idle(force, row) for row in _torsions(force))]
    if not idle:
        return system
    try:
        lean = copy.deepcopy(system)
    except openmm.OpenMMException:  # a PythonForce of a function that cannot be copied
        return system
    for k in reversed(idle):
        lean.addForce(_lean(forces[k]))
        lean.removeForce(k)
    return lean


def _lean(force: Any) -> Any:
    kept = type(force)()
    kept.setName(force.getName())
    kept.setForceGroup(force.getForceGroup())
    kept.setUsesPeriodicBoundaryConditions(force.usesPeriodicBoundaryConditions())
    for row in _torsions(force):
        if not is_idle(force, row):
            kept.addTorsion(*row)
    return kept


def _torsions(force: Any) -> Iterator[list[Any]]:
    for k in range(force.getNumTorsions()):
        yield force.getTorsionParameters(k)


def _atoms(force: Any) -> Iterator[tuple[int, ...]]:
    """Triples and quadruples of atoms whose angle or dihedral has an energy."""
    if isinstance(force, (openmm.HarmonicAngleForce, openmm.CustomAngleForce)):
        for k in range(force.getNumAngles()):
            if not is_idle(force, row := force.getAngleParameters(k)):
                yield tuple(row[:3])
    elif isinstance(force, openmm.CMAPTorsionForce):
        for row in _torsions(force):
            yield from (tuple(row[1:5]), tuple(row[5:]))
    elif isinstance(force, (*_TORSIONS, openmm.CustomTorsionForce)):
        for row in _torsions(force):
            if not is_idle(force, row):
                yield tuple(row[:4])
