"""What an energy costs, in OpenMM's Contexts and in torch: timed in turn, and checked against OpenMM's Reference platform."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ..energies import BatchedEnergy, ContextEnergy, EnergyResult
from ..energies.systems.gb_forms import gb_forms
from ..errors import ConfGFError, PlatformError
from ..version import __version__
from .arithmetic import count_operations, peak_gflops
from .energy_peers import TimedMethod, context_peer, openmm_ways, torch_evaluator, torch_peer, torch_ways
from .energy_report import BatchTiming, EnergyBenchmark, EnergyRow, Method, SystemTimings
from .energy_systems import EnergySystem, check_name, energy_system
from .pinning import can_pin, pinned

_LONGEST_CALL = 1.0
"""Batches end where eager float32 code would take more seconds than this for them."""

_SMALLEST_BATCH = 16
_COUNTED = 16
_CURVE_SECONDS = 0.02

Progress = Callable[[str, int, int], None]


def benchmark_energies(
    systems: Sequence[str | EnergySystem],
    *,
    batch: int = 4096,
    threads: Sequence[int] = (1,),
    forces: bool = True,
    compiled: bool = True,
    batch_sizes: bool = False,
    repeats: int = 9,
    seed: int = 0,
    progress: Progress | None = None,
) -> EnergyBenchmark:
    """Time energies, and energies with forces, of each System on every OpenMM platform here and in torch.

    OpenMM evaluates one conformation after the other (positions in, numbers out) in a warm Context on one CPU thread, or on its
    accelerators; where OBC2 has two forms (`gb_forms`), in both. torch evaluates batches by `BatchedEnergy.evaluate`, from an array to an
    array, as written and compiled, in float64 and float32. Every way on the CPU is held to as many cores as it has threads, which is the
    best there is for OpenMM's CPU platform as well (`pinned`). All ways are timed in turn, `repeats` times, so that a busy machine slows
    them all, and medians are taken.

    Parameters
    ----------
    systems : sequence of str or EnergySystem
        Names are those of `ENERGY_SYSTEMS`.
    batch : int
        Conformations of one call in torch; fewer where a call would take seconds.
    threads : sequence of int
        CPU threads of torch.
    forces : bool
        Whether to measure energies with forces as well.
    compiled : bool
        Whether to measure compiled code as well; compiling takes some ten seconds each time.
    batch_sizes : bool
        Whether to measure the cost against the size of the batch as well: of the first System with implicit solvent, or else the first.
    repeats : int
    seed : int
        Of the conformations of `ENERGY_SYSTEMS`.
    progress : callable, optional
        Called with the System's name, the number of ways that are ready, and that of all its ways.

    Returns
    -------
    EnergyBenchmark

    Raises
    ------
    ConfGFError
        If there is no System, or none of this name, or a number is not positive, or a System or a number of threads comes twice.
    GenerationError, ForceFieldError
        As `energy_system`.
    UnsupportedForceError
        If `BatchedEnergy` cannot take a System.
    """
    _check(systems, batch, threads, repeats, seed)
    timings, peaks = [], {}
    measured: list[EnergySystem] = []
    with _threads_restored():
        for n in threads if compiled else ():
            torch.set_num_threads(n)
            with pinned(n):
                peaks[n] = peak_gflops()
        for one in systems:
            on = energy_system(one, seed) if isinstance(one, str) else one
            timings.append(_time_system(on, batch, threads, forces, compiled, repeats, progress))
            measured.append(on)
        solvated = [on for on, timed in zip(measured, timings, strict=True) if timed.implicit_solvent]
        example = (solvated or measured)[0]
        with pinned(threads[0]):
            curve = tuple(_time_batches(example, batch, threads[0], forces, compiled, repeats)) if batch_sizes else ()
    return EnergyBenchmark(
        batch=batch,
        repeats=repeats,
        forces=forces,
        cpu=cpu_model(),
        pinned=can_pin(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        versions={"openmm_confgf": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("openmm", "torch", "numpy")},
        peak_gflops=peaks,
        systems=tuple(timings),
        curve_system=example.name if batch_sizes else None,
        curve=curve,
    )


def cpu_model() -> str:
    """The processor's name as the operating system has it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _check(systems: Sequence[str | EnergySystem], batch: int, threads: Sequence[int], repeats: int, seed: int) -> None:
    if not systems or not threads:
        raise ConfGFError("There is nothing to measure; give at least one System and one number of threads.")
    names = [one if isinstance(one, str) else one.name for one in systems]
    for one in systems:
        if isinstance(one, str):
            check_name(one)
    if batch < 1 or repeats < 1 or min(threads) < 1 or seed < 0:
        asked = f"batch {batch}, threads {', '.join(map(str, threads))}, repeats {repeats}, seed {seed}"
        raise ConfGFError(f"Energies cannot be measured with {asked}; give positive numbers (the seed may be 0).")
    for what, given in (("System", names), ("number of threads", list(map(str, threads)))):
        if len(set(given)) < len(given):
            raise ConfGFError(f"A {what} was given twice ({', '.join(given)}); give each once.")


@contextlib.contextmanager
def _threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_system(
    on: EnergySystem, batch: int, threads: Sequence[int], forces: bool, compiled: bool, repeats: int, progress: Progress | None
) -> SystemTimings:
    torch.set_num_threads(threads[0])
    quantities = (False, True) if forces else (False,)
    with ContextEnergy(on.system, "Reference") as reference:
        exact = reference.evaluate(on.frames, forces)
    eager = BatchedEnergy(on.system, device="cpu", dtype=torch.float32)
    operations = [count_operations(functools.partial(eager.evaluate, on.batch(_COUNTED), f)) / _COUNTED for f in quantities]
    frames = on.batch(_affordable(eager, on, batch, forces))
    forms = gb_forms(on.system)
    # the System as it is comes first, which is what torch evaluates
    ways = [(way, system) for form, system in forms.items() for way in openmm_ways(form)]
    ways += [(way, on.system) for way in torch_ways(threads, compiled, next(iter(forms)))]
    peers: list[TimedMethod | EnergyRow] = []
    with contextlib.ExitStack() as contexts:
        for way, system in ways:
            if progress is not None:
                progress(on.name, len(peers), len(ways))
            try:
                if way.program == "torch":
                    peers.append(torch_peer(way, system, frames, forces))
                else:
                    peers.append(context_peer(way, contexts.enter_context(ContextEnergy(system, way.name)), on.frames, forces))
            except PlatformError as error:
                peers.append(EnergyRow(way, problem=str(error)))
        ready = [peer for peer in peers if isinstance(peer, TimedMethod)]
        seconds: dict[tuple[Method, bool], list[float]] = {(peer.way, f): [] for peer in ready for f in quantities}
        for _ in range(repeats):
            for peer in ready:
                for f in quantities:
                    seconds[peer.way, f].append(peer.time(f))
    rows = tuple(peer if isinstance(peer, EnergyRow) else _row(peer, seconds, exact) for peer in peers)
    return SystemTimings(on.name, on.description, on.n_atoms, operations[0], operations[1] if forces else None, rows)


def _affordable(eager: BatchedEnergy, on: EnergySystem, batch: int, forces: bool) -> int:
    """The size of a batch, at most `batch`, that eager code gets through in `_LONGEST_CALL`."""
    size = min(batch, _SMALLEST_BATCH)
    while size < batch:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            eager.evaluate(on.batch(size), forces)
            seconds.append(time.perf_counter() - start)
        larger = min(batch, 2 * size)
        if min(seconds) * larger / size > _LONGEST_CALL:
            break
        size = larger
    return size


def _row(peer: TimedMethod, seconds: dict[tuple[Method, bool], list[float]], exact: EnergyResult) -> EnergyRow:
    def microseconds(forces: bool) -> float | None:
        return 1e6 * statistics.median(seconds[peer.way, forces]) / peer.conformations if (peer.way, forces) in seconds else None

    count = min(len(exact.energy), len(peer.found.energy))
    force_error = None
    if peer.found.forces is not None and exact.forces is not None:
        right = exact.forces[:count]
        deviation, typical = np.abs(peer.found.forces[:count] - right).max(), np.sqrt(np.square(right).mean())
        force_error = float(deviation / typical) if typical > 0 else None
    return EnergyRow(
        peer.way,
        peer.conformations,
        microseconds(False),
        microseconds(True),
        float(np.abs(peer.found.energy[:count] - exact.energy[:count]).max()),
        force_error,
        peer.first_call_seconds,
    )


def _time_batches(on: EnergySystem, batch: int, threads: int, forces: bool, compiled: bool, repeats: int) -> Iterator[BatchTiming]:
    """Batches of 1, 4, 16 ... conformations."""
    sizes = [4**k for k in range(batch.bit_length() // 2 + 1) if 4**k < batch] + [batch]
    torch.set_num_threads(threads)
    ways = torch_ways((threads,), compiled, next(iter(gb_forms(on.system))))
    for way in ways:
        # compiled in double precision costs as long again to compile, and tells nothing new
        if (way.name, way.precision) == ("compiled", "double"):
            continue
        evaluator = torch_evaluator(way, on.system)
        for size in sizes:
            frames = on.batch(size)
            evaluator.evaluate(frames, forces)
            start = time.perf_counter()
            evaluator.evaluate(frames, forces)
            calls = max(1, int(_CURVE_SECONDS / (time.perf_counter() - start)))
            found = []
            for _ in range(repeats):
                start = time.perf_counter()
                for _ in range(calls):
                    evaluator.evaluate(frames, forces)
                found.append((time.perf_counter() - start) / calls)
            yield BatchTiming(way, size, 1e6 * statistics.median(found) / size)
