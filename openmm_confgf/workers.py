"""Work on many items in several processes, where a process that dies or hangs costs one item."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from .errors import ConfGFError, GenerationError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.2
"""Seconds after which the parent looks at the clock, and notices a Ctrl-C that another thread passed on to it."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def in_processes(
    setup: Callable[[], Callable[[Item], Result]], items: Sequence[Item], workers: int, time_limit: float
) -> Iterator[tuple[int, Result | ConfGFError]]:
    """Each item's index and result once, as they finish.

    An error of the work is the result of its item; so is the end of its process, by a crash or by the time limit. The processes are
    spawned: a script that calls this needs ``if __name__ == "__main__"``. Each has one thread for numerical libraries.

    Parameters
    ----------
    setup : callable
        Called once in each process; gives the function that does the work on an item. It, the items and the results are pickled.
    items : sequence
    workers : int
        Number of processes, at least 1.
    time_limit : float
        Seconds for one item, and for the start of the process before its first.

    Raises
    ------
    ConfGFError
        If the number of processes or the time limit is not positive.
    """
    if workers < 1:
        raise ConfGFError(f"{workers} worker processes were asked for; ask for at least 1.")
    if not time_limit > 0:
        raise ConfGFError(f"The time limit is {time_limit} s; give a positive one.")
    return _run(setup, collections.deque(enumerate(items)), workers, time_limit)


@dataclasses.dataclass
class _Worker:
    """A process, the parent's end of its pipe, and the item that it works on."""

    process: SpawnProcess
    pipe: Any
    index: int = -1
    deadline: float = 0.0

    def begin(self, index: int, item: Any, time_limit: float) -> None:
        self.index, self.deadline = index, time.monotonic() + time_limit
        # one that is dead already is found out when its answer is read
        with contextlib.suppress(OSError):
            self.pipe.send(item)

    def end(self) -> None:
        """Kill the process with all that it started, and wait for its end."""
        if self.process.pid is not None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _run(
    setup: Callable[[], Callable[[Item], Result]], waiting: collections.deque[tuple[int, Item]], workers: int, time_limit: float
) -> Iterator[tuple[int, Result | ConfGFError]]:
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                busy.append(idle.pop() if idle else _start(setup))
                busy[-1].begin(*waiting.popleft(), time_limit)
            answered = connection.wait([worker.pipe for worker in busy], _LOOK_EVERY)
            for worker in tuple(busy):
                outcome: Result | ConfGFError
                alive = False
                if worker.pipe in answered:
                    try:
                        outcome, alive = worker.pipe.recv(), True
                    except (EOFError, OSError):
                        worker.process.join()
                        outcome = GenerationError(f"its worker process died (exit code {worker.process.exitcode}); try it by itself.")
                elif time.monotonic() > worker.deadline:
                    outcome = GenerationError(f"it took more than {time_limit:g} s; raise the time limit, or leave it out.")
                else:
                    continue
                busy.remove(worker)
                if alive:
                    idle.append(worker)
                else:
                    worker.end()
                yield worker.index, outcome
    finally:
        for worker in (*busy, *idle):
            worker.end()


def _start(setup: Callable[[], Callable[[Any], Any]]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(setup, theirs), daemon=True)
    with _environment_of_workers():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextlib.contextmanager
def _environment_of_workers() -> Iterator[None]:
    """What a process started inside inherits: one thread, and no Ctrl-C, which is the parent's to act on."""
    before = {name: os.environ.get(name) for name in _THREAD_COUNTS}
    os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
    mask = None
    if sys.platform != "win32":
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # its start would clear the mask again in Python 3.11
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(setup: Callable[[], Callable[[Any], Any]], pipe: Any) -> None:
    """The life of a worker process: until the pipe closes."""
    if hasattr(os, "setsid"):
        # a group of its own, with the programs it starts: they end together, and the terminal's Ctrl-C passes them by
        os.setsid()
    work = None
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            work = work or setup()
            outcome = work(item)
        except ConfGFError as error:
            outcome = error
        except Exception as error:  # whatever it is, it costs this item only
            outcome = GenerationError(f"{type(error).__name__}: {' '.join(str(error).split())}")
        try:
            pipe.send(outcome)
        except OSError:  # the parent is gone
            return
