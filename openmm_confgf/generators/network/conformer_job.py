"""ConformerJob: one molecule on its way from starts to conformers, over several attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import GenerationError
from ...models.features import GraphFeatures
from ...molecules.graph import MolecularGraph
from ...status import Status
from ..base import sample_stream
from .row_batches import Row, rows_of


@dataclasses.dataclass(frozen=True)
class Starts:
    """Where the samples of a molecule start.

    Attributes
    ----------
    frames : sequence of ndarray, (n, N, 3)
        Angstrom; a row of NaN is passed over. One array for each attempt, of which the last is for all later ones as well.
    ways : sequence of str
        How the start of each sample was made, for ``Ensemble.diagnostics``.
    """

    frames: Sequence[NDArray[Any]]
    ways: Sequence[str]


@dataclasses.dataclass
class ConformerJob:
    """One molecule's inputs, where its samples start at each attempt, what has come out and what is still to come.

    Attributes
    ----------
    index : int
        The molecule's place in the call.
    graph, seed, features
        Of the molecule and the call.
    given : Starts
        The first starts; `starts` are those of the generator that has the job now.
    starts : sequence of ndarray of float32, (n, N, 3)
        Angstrom.
    ways : list of str
        How each sample was made in the end.
    streams : list of numpy.random.Generator
        One for each sample.
    finished : ndarray of float64, (n, N, 3)
        Angstrom; NaN where nothing has come out.
    status : ndarray of int8, (n,)
    last_attempt : int
        How many attempts there are.
    attempt, open_rows, first_bad : int
        The attempt that is under way, its rows that have not come back, and the samples that were not OK after the first attempt.
    refusal : GenerationError, optional
        Why the molecule has no starts.
    """

    index: int
    graph: MolecularGraph
    seed: int
    features: GraphFeatures
    given: Starts
    starts: Sequence[NDArray[np.float32]]
    ways: list[str]
    streams: list[np.random.Generator]
    finished: NDArray[np.float64]
    status: NDArray[np.int8]
    last_attempt: int
    attempt: int = 0
    open_rows: int = 0
    first_bad: int = 0
    refusal: GenerationError | None = None

    @property
    def start(self) -> NDArray[np.float32]:
        """Where the samples start at this attempt, (n, N, 3) in Angstrom."""
        return self.starts[min(self.attempt, len(self.starts) - 1)]

    @property
    def bad(self) -> NDArray[np.int64]:
        """The numbers of the samples that are not OK, (K,)."""
        return np.flatnonzero(self.status != Status.OK)

    def draw(self, samples: NDArray[np.int64]) -> None:
        """Give these samples the random streams of this attempt.

        Parameters
        ----------
        samples : ndarray of int64, (K,)
            Their numbers.
        """
        for k in samples:
            self.streams[k] = sample_stream(self.graph, self.seed, int(k), self.attempt)

    def rows(self, samples: NDArray[np.int64]) -> list[Row[ConformerJob]]:
        """Rows of a batch for these samples, from now on awaited.

        Parameters
        ----------
        samples : ndarray of int64, (K,)
            Their numbers.
        """
        rows = rows_of(self, samples)
        self.open_rows += len(rows)
        return rows
