"""Minimisation of many conformations in one OpenMM Context."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..status import Status
from ..units import in_md_units
from .context import ContextEnergy
from .interface import can_be_evaluated, frames_of

FORCE_TOLERANCE = 5.0
"""Root mean square of the force components, kJ/mol/nm, at which a minimum counts as found, unless another is asked for. It leaves about
0.1 kJ/mol in drug-like molecules."""


class Minimized(NamedTuple):
    """Minimised conformations, in their order.

    Attributes
    ----------
    positions : ndarray of float64, (B, N, 3)
        nm; where nothing could be minimised, those that were given.
    energy : ndarray of float64, (B,)
        Potential energy in kJ/mol; +inf where the status is NON_FINITE or FAILED.
    status : ndarray of int8, (B,)
        A `Status` each: OK, NOT_CONVERGED, NON_FINITE or FAILED.
    """

    positions: NDArray[np.float64]
    energy: NDArray[np.float64]
    status: NDArray[np.int8]


class _LastGradient(openmm.MinimizationReporter):
    """Keeps the gradient of the last iteration: that of the energy and of the restraints that stand in for constraints."""

    def __init__(self) -> None:
        super().__init__()
        self.rms = 0.0

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        self.rms = float(np.sqrt(np.mean(np.square(grad))))
        return False


def minimize(
    energy: ContextEnergy | openmm.System, positions: Any, tolerance: Any = FORCE_TOLERANCE, max_iterations: int = 5000
) -> Minimized:
    """Bring each conformation to its nearest minimum (OpenMM's L-BFGS). A bad one never affects another.

    Parameters
    ----------
    energy : ContextEnergy or openmm.System
        A System is minimised on the platform that ``"auto"`` finds.
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm.
    tolerance : float or Quantity
        Root mean square of the force components, kJ/mol/nm, at which a minimum counts as found. Below 2, single precision (the CPU
        platform's) may not get there.
    max_iterations : int
        Iterations per conformation, after which it is NOT_CONVERGED.

    Raises
    ------
    ValueError
        If N is not the System's number of particles, or the tolerance or the iteration limit is not positive.
    """
    if isinstance(energy, openmm.System):
        with ContextEnergy(energy) as owned:
            return minimize(owned, positions, tolerance, max_iterations)
    target = float(in_md_units(tolerance))
    if not (target > 0 and max_iterations > 0):
        raise ValueError(f"The tolerance is {target} and the iteration limit {max_iterations}; both must be positive.")
    context, frames = energy.context, frames_of(positions, energy.system.getNumParticles()).copy()
    energies = np.full(len(frames), np.inf)
    status = np.full(len(frames), Status.NON_FINITE, np.int8)
    for i in np.flatnonzero(can_be_evaluated(frames)):
        reporter = _LastGradient()
        try:
            context.setPositions(frames[i])
            openmm.LocalEnergyMinimizer.minimize(context, target, max_iterations, reporter)
            state = context.getState(energy=True, positions=True)
        except openmm.OpenMMException:
            status[i] = Status.FAILED
            energy.recover()
            continue
        relaxed = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        value = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        if np.isfinite(value) and energy.can_evaluate(relaxed[None])[0]:
            frames[i], energies[i] = relaxed, value
            status[i] = Status.OK if reporter.rms <= target else Status.NOT_CONVERGED
    return Minimized(frames, energies, status)
