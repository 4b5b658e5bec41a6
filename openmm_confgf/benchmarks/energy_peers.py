"""The ways to evaluate energies that are timed against each other."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..energies import BatchedEnergy, ContextEnergy, EnergyResult, resolve_platform
from ..energies.context import PLATFORMS_BY_PREFERENCE
from ..errors import PlatformError
from .energy_report import HOST_PLATFORMS, Method
from .pinning import pinned

if TYPE_CHECKING:
    import openmm

_CONTEXT_SECONDS = 0.05
"""How long one repeat of a Context takes: about as long as a batch in torch, so that other processes disturb both alike."""


@dataclasses.dataclass(frozen=True)
class TimedMethod:
    """One way to evaluate one System, warm.

    Attributes
    ----------
    way : Method
    conformations : int
        Of a call.
    call : callable
        What is timed; takes whether forces are wanted.
    torch_threads : int
        Which torch has meanwhile.
    found : EnergyResult
        Of the first conformations, in their order.
    first_call_seconds : float
        Until all had been called once.
    """

    way: Method
    conformations: int
    call: Callable[[bool], object]
    torch_threads: int
    found: EnergyResult
    first_call_seconds: float

    def time(self, forces: bool) -> float:
        """Seconds of one call, on as many cores as the way has threads.

        Parameters
        ----------
        forces : bool
            Whether the call computes forces as well.
        """
        torch.set_num_threads(self.torch_threads)
        with pinned(self.way.threads):
            start = time.perf_counter()
            self.call(forces)
            return time.perf_counter() - start


def openmm_ways(solvent: str | None) -> Iterator[Method]:
    """Every platform that works here; those on the CPU on one thread.

    Parameters
    ----------
    solvent : str or None
        As in `Method`.

    Yields
    ------
    Method
    """
    for name in reversed(PLATFORMS_BY_PREFERENCE):
        with contextlib.suppress(PlatformError):
            resolve_platform(name)
            yield Method("openmm", name, "double" if name == "Reference" else "single", 1 if name in HOST_PLATFORMS else None, solvent)


def torch_ways(threads: Sequence[int], compiled: bool, solvent: str | None) -> Iterator[Method]:
    """As written and compiled, in float64 and float32, on so many threads and on CUDA where there is one.

    Parameters
    ----------
    threads : sequence of int
        CPU threads.
    compiled : bool
        Whether compiled code is among them.
    solvent : str or None
        As in `Method`.

    Yields
    ------
    Method
    """
    for count in (*threads, *((None,) if torch.cuda.is_available() else ())):
        for name in ("eager", "compiled") if compiled else ("eager",):
            yield Method("torch", name, "double", count, solvent)
            yield Method("torch", name, "single", count, solvent)


def context_peer(way: Method, evaluator: ContextEnergy, frames: NDArray[np.float64], forces: bool) -> TimedMethod:
    """A Context, ready to be timed: positions in, numbers out, one conformation after the other, as many as take `_CONTEXT_SECONDS`.

    Parameters
    ----------
    way : Method
    evaluator : ContextEnergy
        On the way's platform.
    frames : ndarray of float64, (F, N, 3)
        Conformations in nm, which a call repeats.
    forces : bool
        Whether forces will be timed as well.

    Returns
    -------
    TimedMethod
    """
    start = time.perf_counter()
    found = evaluator.evaluate(frames, forces)
    first = time.perf_counter() - start
    context = evaluator.context

    def call(forces: bool, repeated: NDArray[np.float64] = frames) -> None:
        for frame in repeated:
            context.setPositions(frame)
            state = context.getState(energy=True, forces=forces)
            state.getPotentialEnergy()
            if forces:
                state.getForces(asNumpy=True)

    with pinned(way.threads):
        start = time.perf_counter()
        call(forces)
        count = max(1, int(_CONTEXT_SECONDS * len(frames) / (time.perf_counter() - start)))
    repeated = np.resize(frames, (count, *frames.shape[1:]))
    return TimedMethod(way, count, lambda forces: call(forces, repeated), torch.get_num_threads(), found, first)


def torch_peer(way: Method, system: openmm.System, frames: NDArray[np.float64], forces: bool) -> TimedMethod:
    """A `BatchedEnergy`, ready to be timed: a whole batch in a call, from an array to an array.

    Compiled code fixes its number of threads here.

    Parameters
    ----------
    way : Method
    system : openmm.System
    frames : ndarray of float64, (B, N, 3)
        The batch in nm.
    forces : bool
        Whether forces will be timed as well.

    Returns
    -------
    TimedMethod

    Raises
    ------
    PlatformError
        If the way's device is not there.
    """
    threads = way.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    evaluator = torch_evaluator(way, system)
    start = time.perf_counter()
    found = evaluator.evaluate(frames)
    if forces:
        found = evaluator.evaluate(frames, True)
    return TimedMethod(way, len(frames), lambda forces: evaluator.evaluate(frames, forces), threads, found, time.perf_counter() - start)


def torch_evaluator(way: Method, system: openmm.System) -> BatchedEnergy:
    """A `BatchedEnergy` of the device, precision and compilation of a way.

    Parameters
    ----------
    way : Method
        Of ``program`` torch.
    system : openmm.System

    Raises
    ------
    PlatformError
        If its device is not there.
    """
    dtype = torch.float64 if way.precision == "double" else torch.float32
    return BatchedEnergy(system, device="cpu" if way.on_host else "cuda", dtype=dtype, compiled=way.name == "compiled")
