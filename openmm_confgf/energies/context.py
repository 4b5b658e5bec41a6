"""ContextEnergy: the energy of an OpenMM System, one conformation after the other. The reference for every other way."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..errors import PlatformError
from ..status import Status
from .batched.degenerate import Defined, without_idle
from .interface import Energy, EnergyResult, can_be_evaluated, frames_of

PLATFORMS_BY_PREFERENCE = ("CUDA", "OpenCL", "HIP", "CPU", "Reference")

_FORCE_UNIT = unit.kilojoule_per_mole / unit.nanometer


def resolve_platform(name: str = "auto", properties: Mapping[str, Any] | None = None) -> openmm.Platform:
    """The OpenMM platform of this name, or the fastest one; it counts only if a Context can really be created on it.

    Parameters
    ----------
    name : str
        OpenMM's name in any case, or ``"auto"``: the first of CUDA, OpenCL, HIP, CPU, Reference that works and knows the properties.
    properties : mapping, optional
        Platform properties under OpenMM's own names (Precision, DeviceIndex, DeterministicForces, Threads ...).

    Returns
    -------
    openmm.Platform
        ``getName()`` says which.

    Raises
    ------
    PlatformError
        If there is none; the message names those available, or the properties that exist.
    """
    wanted = dict(properties or {})
    installed = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    candidates = [p for p in PLATFORMS_BY_PREFERENCE if p in installed]
    if name.lower() != "auto":
        candidates = [p for p in installed if p.lower() == name.lower()]
        if not candidates:
            raise PlatformError(f"There is no OpenMM platform {name!r} here; take auto or one of {', '.join(installed)}.")
    problems = []
    for candidate in candidates:
        platform = openmm.Platform.getPlatform(candidate)
        if unknown := [key for key in wanted if key not in platform.getPropertyNames()]:
            known = ", ".join(platform.getPropertyNames()) or "none"
            problems.append(f"{candidate} has no property {', '.join(unknown)} (it has: {known})")
        elif problem := _why_not(platform, wanted):
            problems.append(f"{candidate} does not work here: {problem}")
        else:
            return platform
    raise PlatformError(f"No OpenMM platform can be used as asked: {'; '.join(problems)}. Take one of {', '.join(installed)}.")


def platform_properties(platform: openmm.Platform, properties: Mapping[str, Any] | None) -> dict[str, str]:
    """The properties to create a Context with: the user's, and one thread on the CPU platform unless they say otherwise.

    Molecules of this package have tens of atoms: handing them to several threads costs more than the arithmetic.

    Parameters
    ----------
    platform : openmm.Platform
    properties : mapping, optional
        As in `resolve_platform`.

    Returns
    -------
    dict
        Values as text, as OpenMM takes them.
    """
    defaults = {"Threads": "1"} if platform.getName() == "CPU" else {}
    return defaults | {key: str(value) for key, value in (properties or {}).items()}


class ContextEnergy(Energy):
    """Evaluates conformations of one System in one OpenMM Context; `ContextPool` does so in several processes.

    A context manager: the Context is deleted on leaving it, or by `close`.

    Parameters
    ----------
    system : openmm.System
        Any System; it is not changed.
    platform : str
        As in `resolve_platform`.
    properties : mapping, optional
        Platform properties under OpenMM's own names.

    Attributes
    ----------
    system : openmm.System
    platform : str
        The name of the platform in use.
    properties : dict
        The platform properties it was created with.

    Raises
    ------
    PlatformError
        If the platform is not available or cannot take the System.
    """

    def __init__(self, system: openmm.System, platform: str = "auto", properties: Mapping[str, Any] | None = None) -> None:
        chosen = resolve_platform(platform, properties)
        self.system = system
        self.platform: str = chosen.getName()
        self.properties = platform_properties(chosen, properties)
        self._integrator: openmm.Integrator | None = None
        self._context: openmm.Context | None = None
        self._defined = Defined(system)
        self._integrator = openmm.VerletIntegrator(0.001)
        try:
            self._context = openmm.Context(without_idle(system), self._integrator, chosen, self.properties)
        except openmm.OpenMMException as error:
            cure = "mend the System" if self.platform == "Reference" else "try platform Reference"
            raise PlatformError(f"The {self.platform} platform cannot take this System ({error}); {cure}.") from error

    def __enter__(self) -> ContextEnergy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Delete the Context and what it holds on the device; further evaluations raise."""
        # in this order: OpenMM's Context keeps a reference to its integrator
        self._context = None
        self._integrator = None

    @property
    def context(self) -> openmm.Context:
        """The Context; its positions are those of the last evaluation.

        Raises
        ------
        ValueError
            If it was closed.
        """
        if self._context is None:
            raise ValueError("This ContextEnergy is closed; create a new one.")
        return self._context

    def can_evaluate(self, frames: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which conformations hold only numbers that count (`can_be_evaluated`) and all angles and planes that forces need.

        OpenMM has a number for the dihedral of atoms on a line, too, which depends on how the line lies and on the platform.

        Parameters
        ----------
        frames : ndarray of float64, (B, N, 3)
            nm.

        Returns
        -------
        ndarray of bool, (B,)
        """
        usable = can_be_evaluated(frames)
        usable[usable] = self._defined(frames[usable])
        return np.asarray(usable)

    def recover(self) -> None:
        """Make the Context usable again after an evaluation that raised; its parameters stay as they were set."""
        parameters = dict(self.context.getParameters())
        self.context.reinitialize()
        for name, value in parameters.items():
            self.context.setParameter(name, value)

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm; N is the number of particles of the System, virtual sites included.
        forces : bool
            Whether to return forces as well; a conformation whose forces are not finite is then NON_FINITE too.

        Returns
        -------
        EnergyResult
            B = 1 where one conformation is given.

        Raises
        ------
        ValueError
            If N is not the System's number of particles, or if it was closed.
        """
        context, frames = self.context, frames_of(positions, self.system.getNumParticles())
        energy = np.full(len(frames), np.inf)
        status = np.full(len(frames), Status.NON_FINITE, np.int8)
        gradients = np.full(frames.shape, np.nan) if forces else None
        for i in np.flatnonzero(self.can_evaluate(frames)):
            try:
                context.setPositions(frames[i])
                state = context.getState(energy=True, forces=forces)
                value = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
                found = state.getForces(asNumpy=True).value_in_unit(_FORCE_UNIT) if forces else np.zeros(3)
            except openmm.OpenMMException:
                status[i] = Status.FAILED
                self.recover()
                continue
            if np.isfinite(value) and np.isfinite(found).all():
                energy[i], status[i] = value, Status.OK
                if gradients is not None:
                    gradients[i] = found
        return EnergyResult(energy, gradients, status)


def _why_not(platform: openmm.Platform, properties: Mapping[str, Any]) -> str | None:
    """What goes wrong when a Context of two particles is created, or None; one alone crashes OpenCL on a CPU (pocl 3.1)."""
    system = openmm.System()
    system.addParticle(1.0)
    system.addParticle(1.0)
    try:
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, platform_properties(platform, properties))
        context.setPositions([openmm.Vec3(0, 0, 0), openmm.Vec3(0.1, 0, 0)])
        context.getState(energy=True)
    except openmm.OpenMMException as error:
        return str(error)
    return None
