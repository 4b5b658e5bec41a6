"""What runs in a worker of Dask: a process beside it that does the work, so that Dask outlives whatever an item does."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from ..errors import ConfGFError, WorkerError
from ..executors import ProcessExecutor
from .pinning import devices_here, pinned_device

Outcome = tuple[bytes, float] | ConfGFError
"""The pickled result of an item and the seconds that it took, or what went wrong."""

_IDLE = 60.0
"""Seconds without an item after which a process ends: whoever sent the last may be gone without a word."""

_LOOK_EVERY = 0.25
"""Seconds between two looks at the memory of the processes."""

_FRESH = 0.6
"""Part of the memory from which on a process is ended between two tasks, so that what it leaks kills no later item."""


class ItemWorker(WorkerPlugin):
    """Runs of one `DaskExecutor` in one worker of Dask: items come as bytes, and a `ProcessExecutor` works on them.

    The worker of Dask itself loads nothing that the work needs. There is a process for each task at a time, which is one where workers
    have one thread.

    Parameters
    ----------
    name : str
        The plugin is found by it.
    work : bytes
        The pickled setup of the executor.
    folder : str
        Where the processes work, if there is such a folder here: that of the program, so that relative names mean the same.
    """

    def __init__(self, name: str, work: bytes, folder: str) -> None:
        self.name, self._work, self._folder = name, work, folder

    def setup(self, worker: Any) -> None:
        """Dask calls it when the plugin arrives.

        Parameters
        ----------
        worker : distributed.Worker
        """
        limit = worker.memory_manager.memory_limit
        self._memory = limit and limit / max(1, worker.state.nthreads)
        self._environment = pinned_device(str(worker.name), os.environ, devices_here())
        self._lock = threading.Lock()
        self._idle: list[ProcessExecutor[bytes, tuple[bytes, float]]] = []
        self._busy: dict[ProcessExecutor[bytes, tuple[bytes, float]], str] = {}
        self._ended: set[str] = set()
        self._timer: threading.Timer | None = None
        # by Dask's wish the C library would give memory back at once, and a network take twice as long
        os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
        # what Dask starts may start nothing by default, as it would stay when its parent is killed; ours end with their parents
        multiprocessing.current_process().daemon = False

    def teardown(self, worker: Any) -> None:
        """Dask calls it when the plugin or the worker goes.

        Parameters
        ----------
        worker : distributed.Worker
        """
        with self._lock:
            self._ended.update(self._busy.values())
        for run in tuple(self._ended):
            self.end(run)
        self._close_idle()

    def work_on(self, run: str, items: Sequence[bytes], time_limit: float) -> list[Outcome]:
        """The outcomes of some items, in their order.

        Parameters
        ----------
        run : str
            Which run of the executor they are of.
        items : sequence of bytes
            Pickled.
        time_limit : float
            Seconds for each.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            executor = self._idle.pop() if self._idle else self._process()
            self._busy[executor] = run
        too_large, finished = threading.Event(), threading.Event()
        watch = threading.Thread(target=self._watch, args=(executor, too_large, finished), daemon=True)
        watch.start()
        found: list[Outcome] = []
        try:
            for _, outcome in executor.run(self._until_ended(run, items), time_limit):
                if isinstance(outcome, WorkerError) and too_large.is_set():
                    outcome = WorkerError(f"it took more than the {self._memory or 0:.3g} bytes of memory that a worker has")
                    too_large.clear()
                found.append(outcome)
        finally:
            finished.set()
            watch.join()
            self._put_back(executor)
        # where the worker is closed meanwhile, those that were not begun are begun elsewhere
        return found + [WorkerError("its worker was closed")] * (len(items) - len(found))

    def end(self, run: str) -> None:
        """Kill what works on a run, and begin nothing of it any more.

        Parameters
        ----------
        run : str
        """
        with self._lock:
            self._ended.add(run)
            busy = [executor for executor, of in self._busy.items() if of == run]
        for executor in busy:
            executor.kill()

    def _process(self) -> ProcessExecutor[bytes, tuple[bytes, float]]:
        return ProcessExecutor(functools.partial(_unpacked, self._work, self._folder), 1, self._environment)

    def _until_ended(self, run: str, items: Sequence[bytes]) -> Iterator[bytes]:
        for item in items:
            if run in self._ended:
                return
            yield item

    def _put_back(self, executor: ProcessExecutor[bytes, tuple[bytes, float]]) -> None:
        if self._memory and _resident(executor.pids) > _FRESH * self._memory:
            executor.close()
        with self._lock:
            del self._busy[executor]
            self._idle.append(executor)
            self._timer = threading.Timer(_IDLE, self._close_idle)
            self._timer.daemon = True
            self._timer.start()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for executor in idle:
            executor.close()

    def _watch(self, executor: ProcessExecutor[bytes, tuple[bytes, float]], too_large: threading.Event, finished: threading.Event) -> None:
        while self._memory and not finished.wait(_LOOK_EVERY):
            if _resident(executor.pids) > self._memory:
                too_large.set()
                executor.kill()


def run_items(plugin: str, run: str, items: Sequence[bytes], time_limit: float) -> list[Outcome]:
    """The task that a `DaskExecutor` submits: `ItemWorker.work_on` of the plugin of that name.

    Parameters
    ----------
    plugin : str
    run, items, time_limit
        As in `ItemWorker.work_on`.
    """
    found: ItemWorker = get_worker().plugins[plugin]
    return found.work_on(run, items, time_limit)


def end_run(plugin: str, run: str, dask_worker: Any) -> None:
    """`ItemWorker.end` of the plugin of that name, if it is there.

    Parameters
    ----------
    plugin, run : str
    dask_worker : distributed.Worker
        Dask gives it.
    """
    if plugin in dask_worker.plugins:
        dask_worker.plugins[plugin].end(run)


def _unpacked(work: bytes, folder: str) -> Callable[[bytes], tuple[bytes, float]]:
    """The setup of the process: items and results stay packed until they are here, and where they are wanted."""
    if os.path.isdir(folder):
        os.chdir(folder)
    do = pickle.loads(work)()

    def do_packed(item: bytes) -> tuple[bytes, float]:
        start = time.perf_counter()
        return pickle.dumps(do(pickle.loads(item)), pickle.HIGHEST_PROTOCOL), time.perf_counter() - start

    return do_packed


def _resident(pids: Sequence[int]) -> int:
    """Bytes of memory of processes and what they started."""
    total = 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            total += sum(part.memory_info().rss for part in (process, *process.children(recursive=True)))
        except psutil.Error:  # it has just ended
            continue
    return total
