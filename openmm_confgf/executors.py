"""Work on many items, one of which may die or hang at its own cost: the contract, and processes that keep it."""

from __future__ import annotations

import abc
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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from .errors import ConfGFError, GenerationError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.2
"""Seconds after which the parent looks at the clock and at its processes, and notices a Ctrl-C that another thread passed on to it."""

_STARTING = threading.Lock()
"""A process inherits the environment that this one has for its sake; two threads must not change that at once."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENMM_CPU_THREADS")


class Executor(abc.ABC, Generic[Item, Result]):
    """Work on many items, each of which may fail, hang, or kill what works on it, at the cost of itself alone.

    This is the contract; `ProcessExecutor` keeps it on this machine and `clusters.DaskExecutor` on many, and tests/test_executors.py holds
    every implementation to it.

    - The setup is called once by each worker, before its first item, and gives the function that does the work. Setup, items and results
      are pickled. Workers are started when a run needs them, and stay set up from one run to the next, until `close`.
    - Each item's index and outcome come once, as items finish, in any order. No item is asked for before a worker is free for it.
    - An error of the setup or of the work is the outcome of its item: a `ConfGFError` as it is, any other one as a `GenerationError`.
    - A worker that dies, or an item that takes longer than the time limit, is a `WorkerError`, the outcome of that item alone: half a
      sentence that says what happened. Other items do not notice.
    - Whatever leaves a run early (closing it, an exception of the items, Ctrl-C) ends what is still worked on, and a later run gets
      nothing of it.

    Parameters
    ----------
    setup : callable
        Without arguments; gives the function that does the work on an item.
    workers : int
        How many items are worked on at once, at least 1.

    Raises
    ------
    ConfGFError
        If the number of workers is not positive.
    """

    def __init__(self, setup: Callable[[], Callable[[Item], Result]], workers: int) -> None:
        if workers < 1:
            raise ConfGFError(f"{workers} worker processes were asked for; ask for at least 1.")
        self.setup = setup
        self.workers = workers

    def run(self, items: Iterable[Item], time_limit: float = math.inf) -> Generator[tuple[int, Result | ConfGFError], None, None]:
        """Each item's index and outcome once, as they finish.

        Parameters
        ----------
        items : iterable
            Each is asked for when a worker is free.
        time_limit : float
            Seconds for one item, and for the start of its worker before the first.

        Yields
        ------
        index : int
        Result or ConfGFError

        Raises
        ------
        ConfGFError
            If the time limit is not positive.
        """
        if not time_limit > 0:
            raise ConfGFError(f"The time limit is {time_limit} s; give a positive one.")
        return self._outcomes(items, time_limit)

    @abc.abstractmethod
    def _outcomes(self, items: Iterable[Item], time_limit: float) -> Generator[tuple[int, Result | ConfGFError], None, None]:
        """What `run` gives."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the workers; a later run would start others."""


Workers = int | Callable[[Callable[[], Callable[[Any], Any]]], Executor[Any, Any]]
"""A number of processes on this machine, or what makes the `Executor` of a setup: ``functools.partial(ProcessExecutor, workers=4)``."""


def work_through(
    setup: Callable[[], Callable[[Item], Result]], items: Iterable[Item], workers: Workers, time_limit: float = math.inf
) -> Iterator[tuple[int, Result | ConfGFError]]:
    """Each item's index and outcome once, as they finish, from an `Executor` that is closed when the iteration ends.

    Parameters
    ----------
    setup, items, time_limit
        As in `Executor`; what a `WorkerError` says is a whole sentence here.
    workers : int or callable
        The number of processes, at least 1, or what makes an `Executor` of the setup.

    Raises
    ------
    ConfGFError
        If the number of processes or the time limit is not positive.
    """
    executor = ProcessExecutor(setup, workers) if isinstance(workers, int) else workers(setup)
    return _once(executor, executor.run(items, time_limit))


def _once(
    executor: Executor[Item, Result], outcomes: Generator[tuple[int, Result | ConfGFError], None, None]
) -> Generator[tuple[int, Result | ConfGFError], None, None]:
    with contextlib.closing(executor), contextlib.closing(outcomes):
        for index, outcome in outcomes:
            if isinstance(outcome, WorkerError):
                yield index, WorkerError(f"{outcome}; try it by itself, give it more time or memory, or leave it out.")
            else:
                yield index, outcome


class ProcessExecutor(Executor[Item, Result]):
    """An `Executor` whose workers are processes of this machine.

    They are spawned: a script that uses this needs ``if __name__ == "__main__"``. Each has one thread for numerical libraries. They end
    with the parent, however that ends. Where there are at least as many items as processes, each process gets one at the start.

    Parameters
    ----------
    setup, workers
        As in `Executor`.
    environment : mapping of str to str, optional
        Variables that the processes find set, besides those of this one.
    """

    def __init__(self, setup: Callable[[], Callable[[Item], Result]], workers: int, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(setup, workers)
        self._environment = dict(environment or {})
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that there are."""
        return [worker.process.pid for worker in (*self._busy, *self._idle) if worker.process.pid is not None]

    def kill(self) -> None:
        """Kill what works, from another thread than the one that the run is in: the outcome of each of its items is a death."""
        for worker in tuple(self._busy):
            worker.kill()

    def _outcomes(self, items: Iterable[Item], time_limit: float) -> Generator[tuple[int, Result | ConfGFError], None, None]:
        waiting = enumerate(items)
        busy = self._busy = []
        try:
            while (begun := list(itertools.islice(waiting, self.workers - len(busy)))) or busy:
                # all begin to start before the first is waited for, as a large setup waits until its process reads it
                while len(self._idle) < len(begun):
                    self._idle.append(_start(self._environment))
                for index, item in begun:
                    busy.append(self._idle.pop())
                    busy[-1].begin(self.setup, index, item, time_limit)
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
            while busy:
                busy.pop().end()

    def close(self) -> None:
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

    def kill(self) -> None:
        """Kill the process with all that it started."""
        if self.process.pid is not None and sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def end(self) -> None:
        """Kill the process with all that it started, and wait for its end."""
        self.kill()
        self.process.join()
        self.pipe.close()


def _start(environment: Mapping[str, str]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with theirs, _STARTING, _environment_of_workers(environment):
        process.start()
    return _Worker(process, ours)


@contextlib.contextmanager
def _environment_of_workers(environment: Mapping[str, str]) -> Iterator[None]:
    """What a process started inside inherits: one thread, and no signal to stop, which is the parent's to act on."""
    variables = dict.fromkeys(_THREAD_COUNTS, "1") | dict(environment)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
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
