"""Holding this process to some cores while something is timed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_THREADS = Path("/proc/self/task")


def can_pin() -> bool:
    """Whether the operating system lets a process choose its cores, thread by thread."""
    return hasattr(os, "sched_setaffinity") and _THREADS.is_dir()


@contextlib.contextmanager
def pinned(cores: int | None) -> Iterator[None]:
    """All threads of this process, and those that it starts meanwhile, on so many of its cores; where that cannot be, on any.

    A program that hands work to a thread of its own and waits for it, as OpenMM's CPU platform does, otherwise pays for waking up
    another core each time: several times what a small molecule's energy costs.

    Parameters
    ----------
    cores : int or None
        None: any.
    """
    if cores is None or not can_pin():
        yield
        return
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    allowed = os.sched_getaffinity(0)
    chosen = set(sorted(allowed)[-cores:])
    for thread in before:
        _pin(thread, chosen)
    try:
        yield
    finally:
        for thread in _threads():
            _pin(thread, before.get(thread, allowed))


def _threads() -> list[int]:
    return [int(one.name) for one in _THREADS.iterdir()]


def _pin(thread: int, cores: set[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        os.sched_setaffinity(thread, cores)
