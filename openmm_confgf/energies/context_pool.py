"""ContextPool: the energy of an OpenMM System, in one Context in each of several processes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from ..errors import ConfGFError, PlatformError, WorkerError
from ..executors import ProcessExecutor
from .context import ContextEnergy, platform_properties, resolve_platform
from .interface import Energy, EnergyResult, frames_of

_Piece = tuple[NDArray[np.float64], bool]
"""Conformations (B, N, 3) in nm, and whether their forces are wanted."""

_PIECES_PER_WORKER = 4
"""Pieces of a large batch for each process, so that who has easy ones takes more of them."""


class ContextPool(Energy):
    """Evaluates conformations of one System in several processes, with an OpenMM Context each.

    The results are those of a `ContextEnergy`, to the last bit. A process that dies is an error within seconds, never a hang. A context
    manager: the processes are ended on leaving it, or by `close`.

    Parameters
    ----------
    system : openmm.System
        One that `openmm.XmlSerializer` can write, which keeps every bit of its numbers: the function of a PythonForce must be at the top
        level of a module.
    platform : str
        As in `resolve_platform`.
    properties : mapping, optional
        Platform properties under OpenMM's own names.
    workers : int
        Number of processes (`ProcessExecutor` says what they need), which changes no result.

    Attributes
    ----------
    system : openmm.System
    platform : str
        The name of the platform in use.
    properties : dict
        The platform properties that the Contexts were created with.

    Raises
    ------
    PlatformError
        If the platform is not available or cannot take the System.
    WorkerError
        If a process does not start.
    ConfGFError
        If the number of processes is not positive, or the System cannot be sent to them.
    """

    def __init__(self, system: openmm.System, platform: str = "auto", properties: Mapping[str, Any] | None = None, *, workers: int) -> None:
        chosen = resolve_platform(platform, properties)
        self.system = system
        self.platform: str = chosen.getName()
        self.properties = platform_properties(chosen, properties)
        try:
            xml = openmm.XmlSerializer.serialize(system)
        except openmm.OpenMMException as error:
            raise ConfGFError(
                f"This System cannot be sent to worker processes ({error}); take ContextEnergy, or Python functions at the top level of "
                "a module."
            ) from error
        self._processes: ProcessExecutor[_Piece, EnergyResult] | None = ProcessExecutor(
            functools.partial(_evaluation, xml, self.platform, self.properties), workers
        )
        try:
            self._start(self._processes)
        except BaseException:  # Ctrl-C, too
            self.close()
            raise

    def _start(self, processes: ProcessExecutor[_Piece, EnergyResult]) -> None:
        """Have each process create its Context."""
        nothing = np.empty((0, self.system.getNumParticles(), 3)), False
        with contextlib.closing(processes.run([nothing] * processes.workers)) as outcomes:
            for _, outcome in outcomes:
                if isinstance(outcome, PlatformError):
                    raise outcome
                if isinstance(outcome, ConfGFError):
                    raise WorkerError(
                        f"The start of a Context failed: {outcome}; take ContextEnergy, or put the call under "
                        'if __name__ == "__main__", and Python functions into a module.'
                    )

    def __enter__(self) -> ContextPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; further evaluations raise."""
        if self._processes is not None:
            self._processes.close()
        self._processes = None

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Every process gets a contiguous piece of them, if only an empty one: the death of any is noticed at every call.

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
        WorkerError
            If a process died, now or since the last call; the others are ended then, and this object is closed.
        """
        if self._processes is None:
            raise ValueError("This ContextPool is closed; create a new one.")
        frames = frames_of(positions, self.system.getNumParticles())
        try:
            return _in_pieces(self._processes, frames, forces)
        except BaseException:  # Ctrl-C, too
            self.close()
            raise


def _in_pieces(processes: ProcessExecutor[_Piece, EnergyResult], frames: NDArray[np.float64], forces: bool) -> EnergyResult:
    """Contiguous pieces of conformations (B, N, 3) in nm in all processes, put together again."""
    pieces = np.array_split(frames, max(processes.workers, min(len(frames), _PIECES_PER_WORKER * processes.workers)))
    results: dict[int, EnergyResult] = {}
    with contextlib.closing(processes.run([(piece, forces) for piece in pieces])) as outcomes:
        for index, outcome in outcomes:
            if isinstance(outcome, ConfGFError):
                which = f"{len(pieces[index])} conformations from index {sum(map(len, pieces[:index]))} on"
                raise WorkerError(
                    f"The evaluation of {which} failed: {outcome}; create a new ContextPool, or take ContextEnergy if it happens again."
                )
            results[index] = outcome
    in_order = [results[index] for index in range(len(pieces))]
    gradients = [result.forces for result in in_order if result.forces is not None]
    return EnergyResult(
        np.concatenate([result.energy for result in in_order]),
        np.concatenate(gradients) if forces else None,
        np.concatenate([result.status for result in in_order]),
    )


def _evaluation(xml: str, platform: str, properties: Mapping[str, str]) -> Callable[[_Piece], EnergyResult]:
    """What a process does with a piece, in the Context that it creates for this."""
    energy = ContextEnergy(openmm.XmlSerializer.deserialize(xml), platform, properties)

    def evaluate(piece: _Piece) -> EnergyResult:
        return energy.evaluate(*piece)

    return evaluate
