"""`DaskExecutor`: the contract of `executors.Executor`, kept by the workers of a Dask cluster."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pickle
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker

from ..errors import ConfGFError, WorkerError
from ..executors import Executor
from .item_worker import ItemWorker, end_run, run_items

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.2
"""Seconds after which the program looks at its connection, and notices a Ctrl-C that another thread passed on to it."""

_COUNT_EVERY = 2.0
"""Seconds for which the number of workers counts as known, as the scheduler must be asked for it."""

_GOODBYE = 10.0
"""Seconds that workers have for ending a run; one that does not answer is left to Dask."""

_MOST_ITEMS = 256
_MOST_BYTES = 4_000_000
"""Of one task, however short its items: what a worker that dies costs stays small, and messages do."""


@dataclasses.dataclass(frozen=True)
class _Sent:
    """An item on its way."""

    index: int
    packed: bytes
    attempt: int = 1


class DaskExecutor(Executor[Item, Result]):
    """An `Executor` whose workers are those of a Dask cluster.

    Each worker of Dask has a process beside it that works (`ItemWorker`), so that an item that hangs, dies or takes too much memory ends
    that process, and a machine that goes ends its items; each of them is tried again by itself, and is a `WorkerError` if that fails too.
    Items are sent in tasks that are expected to take `task_seconds` each, by the size of the items and what those before took, so that
    many small molecules go together and a large one alone.

    Parameters
    ----------
    setup, workers
        As in `Executor`.
    client : distributed.Client
        It stays open.
    attempts : int
        How often an item is begun at most.
    task_seconds : float
        0 sends each item by itself, when a worker is free; otherwise each worker has a second task waiting.
    elastic : bool
        Whether workers that join later, beyond the number given, get work.
    patience : float
        Seconds without any worker after which the run is given up.
    """

    def __init__(
        self,
        setup: Callable[[], Callable[[Item], Result]],
        workers: int,
        client: Client,
        *,
        attempts: int = 2,
        task_seconds: float = 0.0,
        elastic: bool = False,
        patience: float = math.inf,
    ) -> None:
        super().__init__(setup, workers)
        self._client, self._attempts, self._task_seconds = client, attempts, task_seconds
        self._elastic, self._patience = elastic, patience
        self._plugin: str | None = None
        self._pace = _Pace()
        self._threads, self._counted = 0, -math.inf

    def _outcomes(self, items: Iterable[Item], time_limit: float) -> Generator[tuple[int, Result | ConfGFError], None, None]:
        run, plugin = uuid.uuid4().hex, self._registered()
        waiting = (_Sent(index, pickle.dumps(item, pickle.HIGHEST_PROTOCOL)) for index, item in enumerate(items))
        again: deque[_Sent] = deque()
        under_way: dict[Future, list[_Sent]] = {}
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        seen = time.monotonic()
        try:
            while True:
                while len(under_way) < self._room() and (task := [again.popleft()] if again else self._next_task(waiting)):
                    future = self._submitted(plugin, run, [sent.packed for sent in task], time_limit)
                    under_way[future] = task
                    future.add_done_callback(done.put)
                if not under_way:
                    return
                try:
                    future = done.get(timeout=_LOOK_EVERY)
                except queue.Empty:
                    seen = self._look_at_workers(seen)
                    continue
                seen = time.monotonic()
                task = under_way.pop(future)
                for sent, outcome in zip(task, self._outcomes_of(future, task), strict=True):
                    if isinstance(outcome, WorkerError) and sent.attempt < self._attempts:
                        again.append(dataclasses.replace(sent, attempt=sent.attempt + 1))
                    elif isinstance(outcome, ConfGFError):
                        yield sent.index, outcome
                    else:
                        packed, seconds = outcome
                        self._pace.add(len(sent.packed), seconds)
                        yield sent.index, pickle.loads(packed)
        finally:
            if under_way:
                self._end(plugin, run, list(under_way))

    def close(self) -> None:
        if self._plugin is not None:
            plugin, self._plugin = self._plugin, None
            _bounded(self._client.unregister_worker_plugin, plugin)

    def _registered(self) -> str:
        """The name of the plugin, which every worker that there is or that comes has from now on."""
        if self._plugin is None:
            name = f"confgf-{uuid.uuid4().hex}"
            work = pickle.dumps(self.setup, pickle.HIGHEST_PROTOCOL)
            try:
                self._client.register_plugin(ItemWorker(name, work, os.getcwd()), name=name)
            except Exception as error:  # whatever the workers answer
                raise WorkerError(
                    f"The cluster's workers cannot begin ({type(error).__name__}: {' '.join(str(error).split())}); "
                    "install the same versions of openmm_confgf and Dask there as here."
                ) from error
            self._plugin = name
        return self._plugin

    def _submitted(self, *arguments: Any) -> Future:
        self._check_connection()
        # a key of its own: what another run computed is not taken for it
        return self._client.submit(run_items, *arguments, pure=False, key=f"confgf-items-{uuid.uuid4().hex}")

    def _check_connection(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise WorkerError("The connection to the Dask scheduler was lost; see why it ended, and give the same command again.")

    def _room(self) -> int:
        """How many tasks may be under way."""
        workers = max(self.workers, self._threads_now()) if self._elastic else self.workers
        return workers if self._task_seconds == 0 else 2 * workers

    def _threads_now(self) -> int:
        if time.monotonic() - self._counted > _COUNT_EVERY:
            self._threads, self._counted = total_threads(self._client), time.monotonic()
        return self._threads

    def _next_task(self, waiting: Iterator[_Sent]) -> list[_Sent]:
        task: list[_Sent] = []
        seconds, size = 0.0, 0
        most = 1 if self._task_seconds == 0 or not self._pace.known else _MOST_ITEMS
        for sent in itertools.islice(waiting, most):
            task.append(sent)
            size += len(sent.packed)
            seconds += self._pace.expected(len(sent.packed))
            if seconds >= self._task_seconds or size >= _MOST_BYTES:
                break
        return task

    def _outcomes_of(self, future: Future, task: list[_Sent]) -> list[Any]:
        """What came of each item of a task, or the one thing that came of all."""
        self._check_connection()
        if future.status == "cancelled":
            raise WorkerError("The Dask scheduler let go of the work, as it does when it ends or begins anew; give the same command again.")
        try:
            return list(future.result())
        except KilledWorker as error:
            return [WorkerError(f"its worker died on {error.last_worker.address}") for _ in task]
        except Exception as error:  # of Dask or its machines, not of the items
            return [WorkerError(f"its worker failed ({type(error).__name__}: {' '.join(str(error).split())})") for _ in task]

    def _look_at_workers(self, seen: float) -> float:
        """When a worker was there last."""
        self._check_connection()
        if self._threads_now():
            return time.monotonic()
        if time.monotonic() - seen > self._patience:
            raise WorkerError(
                f"The Dask scheduler has had no worker for {self._patience:g} s; start some, and give the same command again."
            )
        return seen

    def _end(self, plugin: str, run: str, futures: list[Future]) -> None:
        if self._client.status == "running":
            _bounded(self._client.cancel, futures, force=True)
            _bounded(self._client.run, end_run, plugin, run, on_error="ignore")


def total_threads(client: Client) -> int:
    """How many tasks the workers of a cluster run at once.

    Parameters
    ----------
    client : distributed.Client
    """
    return int(client.scheduler_info(n_workers=0)["total_threads"])


class _Pace:
    """Seconds per byte of an item, of the items so far; later ones count more."""

    def __init__(self) -> None:
        self._seconds = self._bytes = 0.0

    @property
    def known(self) -> bool:
        return self._bytes > 0

    def add(self, size: int, seconds: float) -> None:
        # half of it is forgotten after some 70 items
        self._seconds, self._bytes = 0.99 * self._seconds + seconds, 0.99 * self._bytes + size

    def expected(self, size: int) -> float:
        return size * self._seconds / self._bytes if self.known else 0.0


def _bounded(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Make a call of Dask that may wait for a machine that is gone, and give it up after `_GOODBYE`."""

    def quiet() -> None:
        try:
            call(*arguments, **keywords)
        except Exception:  # who does not answer cannot be told
            return

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    thread.join(_GOODBYE)
