"""Conformations as they occur at room temperature, from a short run of Langevin dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..energies.context import platform_properties, resolve_platform
from ..energies.interface import frames_of
from ..energies.minimize import minimize

TEMPERATURE = 300.0
"""K."""

TIMESTEP = 0.001
"""ps; bonds to hydrogen move freely."""

_FRICTION = 10.0
_EQUILIBRATION = 500
_BETWEEN_FRAMES = 20
_ROUGH_TOLERANCE, _ROUGH_ITERATIONS = 50.0, 300


def thermal_frames(system: openmm.System, start: Any, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Conformations 20 fs apart, after a rough minimisation and 0.5 ps at 300 K.

    Parameters
    ----------
    system : openmm.System
        Without constraints.
    start : array_like or Quantity, (N, 3)
        nm.
    count : int
    seed : int
        Decides velocities and noise; at least 0.

    Returns
    -------
    ndarray of float64, (count, N, 3)
        nm.

    Raises
    ------
    ValueError
        If N is not the System's number of particles.
    PlatformError
        If no OpenMM platform works.
    """
    first = minimize(system, frames_of(start, system.getNumParticles()), _ROUGH_TOLERANCE, _ROUGH_ITERATIONS).positions[0]
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, _FRICTION, TIMESTEP)
    # 0 would mean "different each time"
    integrator.setRandomNumberSeed(seed + 1)
    platform = resolve_platform()
    context = openmm.Context(system, integrator, platform, platform_properties(platform, None))
    context.setPositions(first)
    context.setVelocitiesToTemperature(TEMPERATURE, seed + 1)
    integrator.step(_EQUILIBRATION)
    frames = np.empty((count, *first.shape))
    for frame in frames:
        integrator.step(_BETWEEN_FRAMES)
        frame[:] = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return frames
