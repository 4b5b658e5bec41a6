"""One OpenMM Context in each of several processes: what ContextEnergy does with more than one worker."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping

import numpy as np
import openmm
from numpy.typing import NDArray

from ..errors import ConfGFError, PlatformError, WorkerError
from ..executors import ProcessExecutor
from .interface import EnergyResult

_Piece = tuple[NDArray[np.float64], bool]
"""Conformations (B, N, 3) in nm, and whether their forces are wanted."""

ContextProcesses = ProcessExecutor[_Piece, EnergyResult]

PIECES_PER_WORKER = 4
"""Pieces of a large batch for each process, so that who has easy ones takes more of them."""


def start_contexts(system: openmm.System, platform: str, properties: Mapping[str, str], workers: int) -> ContextProcesses:
    """Processes with a Context of the System each.

    Parameters
    ----------
    system : openmm.System
        Sent to them as XML, which keeps every bit of its numbers.
    platform : str
        OpenMM's name.
    properties : mapping
        Platform properties.
    workers : int
        Number of processes, at least 1.

    Raises
    ------
    PlatformError
        If the platform cannot take the System.
    WorkerError
        If a process does not start.
    ConfGFError
        If the number of processes is not positive, or the System cannot be sent.
    """
    try:
        xml = openmm.XmlSerializer.serialize(system)
    except openmm.OpenMMException as error:
        raise ConfGFError(
            f"This System cannot be sent to worker processes ({error}); take workers=1, or Python functions at the top level of a module."
        ) from error
    processes: ContextProcesses = ProcessExecutor(functools.partial(_evaluation, xml, platform, properties), workers)
    nothing = np.empty((0, system.getNumParticles(), 3)), False
    try:
        with contextlib.closing(processes.run([nothing] * workers)) as outcomes:
            for _, outcome in outcomes:
                if isinstance(outcome, PlatformError):
                    raise outcome
                if isinstance(outcome, ConfGFError):
                    raise WorkerError(
                        f"The start of a Context failed: {outcome}; take workers=1, or put the call under "
                        'if __name__ == "__main__", and Python functions into a module.'
                    )
    except BaseException:  # Ctrl-C, too
        processes.close()
        raise
    return processes


def evaluate_in_processes(processes: ContextProcesses, frames: NDArray[np.float64], forces: bool) -> EnergyResult:
    """As `ContextEnergy.evaluate`, in contiguous pieces.

    Every process gets a piece, if only an empty one: the death of any is noticed at every call.

    Parameters
    ----------
    processes : ProcessExecutor
        Of `start_contexts`; to be closed after any error.
    frames : ndarray of float64, (B, N, 3)
        nm.
    forces : bool
        Whether to return forces as well.

    Returns
    -------
    EnergyResult

    Raises
    ------
    WorkerError
        If a process died, now or since the last call.
    """
    pieces = np.array_split(frames, max(processes.workers, min(len(frames), PIECES_PER_WORKER * processes.workers)))
    results: dict[int, EnergyResult] = {}
    with contextlib.closing(processes.run([(piece, forces) for piece in pieces])) as outcomes:
        for index, outcome in outcomes:
            if isinstance(outcome, ConfGFError):
                which = f"{len(pieces[index])} conformations from index {sum(map(len, pieces[:index]))} on"
                raise WorkerError(
                    f"The evaluation of {which} failed: {outcome}; create a new ContextEnergy, with workers=1 if it happens again."
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
    from .context import ContextEnergy  # which imports this module

    energy = ContextEnergy(openmm.XmlSerializer.deserialize(xml), platform, properties)

    def evaluate(piece: _Piece) -> EnergyResult:
        return energy.evaluate(*piece)

    return evaluate
