"""Work on many items in several processes, where a process that dies or hangs costs one item."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from .errors import ConfGFError, GenerationError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.2
"""Seconds after which the parent looks at the clock and at its processes, and notices a Ctrl-C that another thread passed on to it."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENMM_CPU_THREADS")


def in_processes(
    setup: Callable[[], Callable[[Item], Result]], items: Iterable[Item], workers: int, time_limit: float = math.inf
) -> Iterator[tuple[int, Result | ConfGFError]]:
    """Each item's index and result once, as they finish, from `Processes` that end with the iteration.

    An error of the work is the result of its item; so is the end of its process, by a crash or by the time limit.

    Parameters
    ----------
    setup : callable
        As in `Processes`.
    items : iterable
        Each is asked for when a process is free.
    workers : int
        Number of processes, at least 1.
    time_limit : float
        Seconds for one item, and for the start of the process before its first.

    Raises
    ------
    ConfGFError
        If the number of processes or the time limit is not positive.
    """
    processes = Processes(setup, workers)
    if not time_limit > 0:
        raise ConfGFError(f"The time limit is {time_limit} s; give a positive one.")
    return _once(processes, items, time_limit)


def _once(
    processes: Processes[Item, Result], items: Iterable[Item], time_limit: float
) -> Generator[tuple[int, Result | ConfGFError], None, None]:
    with contextlib.closing(processes), contextlib.closing(processes.run(items, time_limit)) as outcomes:
        for index, outcome in outcomes:
            if isinstance(outcome, WorkerError):
                yield index, WorkerError(f"{outcome}; try it by itself, give it more time or memory, or leave it out.")
            else:
                yield index, outcome


class Processes(Generic[Item, Result]):
    """Worker processes that stay between one run and the next, until `close`.

    They are spawned: a script that uses this needs ``if __name__ == "__main__"``. Each has one thread for numerical libraries. They end
    with the parent, however that ends, and are started when a run needs them.

    Parameters
    ----------
    setup : callable
        Called once in each process; gives the function that does the work on an item. It, the items and the results are pickled.
    workers : int
        Number of processes, at least 1.

    Raises
    ------
    ConfGFError
        If the number of processes is not positive.
    """

    def __init__(self, setup: Callable[[], Callable[[Item], Result]], workers: int) -> None:
        if workers < 1:
            raise ConfGFError(f"{workers} worker processes were asked for; ask for at least 1.")
        self.workers = workers
        self._setup = setup
        self._idle: list[_Worker] = []

    def run(self, items: Iterable[Item], time_limit: float = math.inf) -> Generator[tuple[int, Result | ConfGFError], None, None]:
        """Each item's index and result once, as they finish.

        Where there are at least as many items as processes, each process gets one at the start. Those that still work when the generator
        is closed are killed.

        Parameters
        ----------
        items : iterable
            Each is asked for when a process is free.
        time_limit : float
            Seconds for one item, and for the start of the process before its first.

        Yields
        ------
        index : int
        Result or ConfGFError
            An error of the work is the result of its item. So is a `WorkerError` where the process died or took too long: half a sentence
            that says what happened. The next item that needs one starts another process.
        """
        waiting = enumerate(items)
        busy: list[_Worker] = []
        try:
            while (begun := list(itertools.islice(waiting, self.workers - len(busy)))) or busy:
                # all begin to start before the first is waited for, as a large setup waits until its process reads it
                while len(self._idle) < len(begun):
                    self._idle.append(_start())
                for index, item in begun:
                    busy.append(self._idle.pop())
                    busy[-1].begin(self._setup, index, item, time_limit)
                connection.wait([worker.pipe for worker in busy], _LOOK_EVERY)
                for worker in tuple(busy):
                    outcome: Result | ConfGFError
                    # asked again: whoever takes the results may have taken long over the last
                    if connection.wait([worker.pipe], 0):
                        outcome = worker.answer()
                    elif time.monotonic() > worker.deadline:
                        outcome = WorkerError(f"it took more than {time_limit:g} s")
                    elif not worker.process.is_alive():  # its pipe is still open in a process that it forked
                        outcome = worker.death()
                    else:
                        continue
                    busy.remove(worker)
                    if isinstance(outcome, WorkerError):
                        worker.end()
                    else:
                        self._idle.append(worker)
                    yield worker.index, outcome
        finally:
            # a late answer must not be taken for that of another run
            for worker in busy:
                worker.end()

    def close(self) -> None:
        """End the processes; a later run would start others."""
        while self._idle:
            self._idle.pop().end()


@dataclasses.dataclass
class _Worker:
    """A process, the parent's end of its pipe, and the item that it works on."""

    process: SpawnProcess
    pipe: Any
    is_set_up: bool = False
    index: int = -1
    deadline: float = math.inf

    def begin(self, setup: Callable[[], Callable[[Any], Any]], index: int, item: Any, time_limit: float) -> None:
        self.index, self.deadline = index, time.monotonic() + time_limit
        # one that is dead already is found out when its answer is read
        with contextlib.suppress(OSError):
            if not self.is_set_up:
                self.is_set_up = True
                # not among the arguments of the process: their writing never ends if it dies before it has read them
                self.pipe.send(setup)
            self.pipe.send(item)

    def answer(self) -> Any:
        """What it sent, or its death."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return self.death()

    def death(self) -> WorkerError:
        self.process.join(_LOOK_EVERY)
        return WorkerError(f"its worker process died (exit code {self.process.exitcode})")

    def end(self) -> None:
        """Kill the process with all that it started, and wait for its end."""
        if self.process.pid is not None and sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with theirs, _environment_of_workers():
        process.start()
    return _Worker(process, ours)


@contextlib.contextmanager
def _environment_of_workers() -> Iterator[None]:
    """What a process started inside inherits: one thread, and no signal to stop, which is the parent's to act on."""
    before = {name: os.environ.get(name) for name in _THREAD_COUNTS}
    os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
    mask = None
    if sys.platform != "win32":
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # its start would clear the mask again in Python 3.11
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
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


def _serve(pipe: Any) -> None:
    """The life of a worker process: the setup and the items come through the pipe, until it closes."""
    if sys.platform != "win32":
        # a group of its own, with the programs it starts: they end together, and the terminal's Ctrl-C passes them by
        os.setsid()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the pipe is closed, or the parent is gone
        setup = pipe.recv()
        work = None
        while True:
            item = pipe.recv()
            try:
                work = work or setup()
                outcome = work(item)
            except ConfGFError as error:
                outcome = error
            except MemoryError:
                outcome = WorkerError("it ran out of memory")
            except Exception as error:  # whatever it is, it costs this item only
                outcome = GenerationError(f"{type(error).__name__}: {' '.join(str(error).split())}")
            pipe.send(outcome)


def _end_with_parent(pid: int) -> None:
    """Ends this process and its programs as soon as the parent is gone, in the middle of an item too."""
    parent = multiprocessing.parent_process()
    # processes that the parent forked may keep its pipes open; they do not keep its children
    while parent is not None and parent.is_alive() and os.getppid() == pid:
        parent.join(5 * _LOOK_EVERY)
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
