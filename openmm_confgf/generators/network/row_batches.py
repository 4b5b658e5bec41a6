"""Samples in rows of one molecule, rows in batches, batches over the cores. What a row is of and what becomes of it, its owner knows."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ...devices import tell_of_halves
from ...errors import PlatformError
from ...molecules.graph import MolecularGraph
from ...threads import thread_pool

SAMPLES_PER_ROW = 4
"""Samples of one molecule that share a row of a batch; the rest of a last row is computed and dropped."""

PAIRS_PER_BATCH = {"cpu": 10_000, "cuda": 3_000_000}
"""Atom pairs of a batch over all of its samples: few enough that the cores share one molecule, or a few GB of a GPU's memory."""


class _OfMolecule(Protocol):
    @property
    def graph(self) -> MolecularGraph: ...


Owner = TypeVar("Owner", bound=_OfMolecule)


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Generic[Owner]):
    """Up to `SAMPLES_PER_ROW` samples of one molecule.

    Attributes
    ----------
    owner : object
        Whose samples they are; it has a `graph`.
    samples : ndarray of int64, (at most SAMPLES_PER_ROW,)
        Their numbers.
    """

    owner: Owner
    samples: NDArray[np.int64]


def rows_of(owner: Owner, samples: NDArray[np.int64]) -> list[Row[Owner]]:
    """Rows for these samples of one owner, each full but the last.

    Parameters
    ----------
    owner : object
        Whose samples they are; it has a `graph`.
    samples : ndarray of int64, (K,)
        Their numbers.
    """
    return [Row(owner, samples[first : first + SAMPLES_PER_ROW]) for first in range(0, len(samples), SAMPLES_PER_ROW)]


class Lanes:
    """Where batches run: one after the other on all cores, or side by side on a core, or some, each.

    A context manager: the threads end with it, and batches that have not begun are dropped.

    Parameters
    ----------
    device : torch.device
    side_by_side : bool
        Whether several batches run at once, where the device is a CPU.
    counts : sequence of int
        How many samples of each molecule are to come: there are no more lanes than rows.
    """

    def __init__(self, device: torch.device, side_by_side: bool, counts: Sequence[int]) -> None:
        threads, rows = torch.get_num_threads(), sum(-(-count // SAMPLES_PER_ROW) for count in counts)
        lanes = min(threads, rows) if side_by_side and device.type == "cpu" else 1
        self.device = device
        self._pool = thread_pool(lanes, threads // lanes) if lanes > 1 else None
        self.waiting = lanes if self._pool is not None else 0
        """Batches to leave running while others are prepared."""

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self, work: Callable[[], NDArray[np.float64]]) -> Callable[[], NDArray[np.float64]]:
        """Begin some work, or put it off until it is asked for where nothing runs beside it.

        Parameters
        ----------
        work : callable
            Without arguments.

        Returns
        -------
        callable
            Without arguments; it waits for the result of the work and gives it, or raises what the work raised.
        """
        return work if self._pool is None else self._pool.submit(work).result


class RowQueue(Generic[Owner]):
    """Rows that wait for a batch, and batches that run.

    Parameters
    ----------
    run : callable
        From the rows of a batch and the device to where their samples end, (rows, SAMPLES_PER_ROW, largest N, 3).
    lanes : Lanes
    """

    def __init__(self, run: Callable[[list[Row[Owner]], torch.device], NDArray[np.float64]], lanes: Lanes) -> None:
        self._run, self._lanes = run, lanes
        self.rows: list[Row[Owner]] = []
        self._running: collections.deque[tuple[list[Row[Owner]], Callable[[], NDArray[np.float64]]]] = collections.deque()

    def __bool__(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self.rows or self._running)

    def has_room(self, row: Row[Owner]) -> bool:
        """Whether a row can go into one batch with those that wait.

        Parameters
        ----------
        row : Row
        """
        return not self.rows or _joins(row, self.rows, self._lanes.device)

    def send(self) -> None:
        """Start batches of all rows that wait."""
        for batch in _batches(self.rows, self._lanes.device):
            self._running.append((batch, self._lanes.start(functools.partial(self._run_what_fits, batch))))
        self.rows.clear()

    def _run_what_fits(self, rows: list[Row[Owner]]) -> NDArray[np.float64]:
        try:
            return self._run(rows, self._lanes.device)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                graph = rows[0].owner.graph
                raise PlatformError(f"The memory of the GPU is too small for {graph.name!r}; give device='cpu'.") from error
        tell_of_halves()
        middle = len(rows) // 2
        halves = [self._run_what_fits(part) for part in (rows[:middle], rows[middle:])]
        largest = max(half.shape[2] for half in halves)
        return np.concatenate([np.pad(half, ((0, 0), (0, 0), (0, largest - half.shape[2]), (0, 0))) for half in halves])

    def results(self, left: int) -> Iterator[tuple[list[Row[Owner]], NDArray[np.float64]]]:
        """Batches in the order of their start, until no more than `left` are running.

        Parameters
        ----------
        left : int

        Yields
        ------
        list of Row
            The rows of a batch.
        ndarray of float64, (rows, SAMPLES_PER_ROW, largest N, 3)
            Where their samples end, as `run` gives it.
        """
        while len(self._running) > left:
            rows, ended = self._running.popleft()
            yield rows, ended()


def _joins(row: Row[Owner], rows: list[Row[Owner]], device: torch.device) -> bool:
    """Whether a row goes into one batch with those before it.

    On a CPU only if it is of the same molecule: rounding depends on the shape of a batch, so that the last bits of samples would depend on
    the other molecules of the call, and on which of them an interrupted call had finished. A GPU needs more than a molecule to be busy.
    """
    size = len(row.owner.graph)
    fits = (len(rows) + 1) * SAMPLES_PER_ROW * size**2 // 2 <= PAIRS_PER_BATCH[device.type]
    return fits and (device.type != "cpu" or row.owner is rows[-1].owner)


def _batches(rows: list[Row[Owner]], device: torch.device) -> list[list[Row[Owner]]]:
    """Consecutive rows together as far as they join."""
    batches: list[list[Row[Owner]]] = []
    for row in rows:
        if batches and _joins(row, batches[-1], device):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
