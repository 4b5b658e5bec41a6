"""NetworkConformerGenerator: what moves atoms with a network until they are conformers, and draws again what is none.

Drawing again, and repairing, change the distribution of the samples; so these generators have no density (`DensityGenerator`).
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import itertools
from collections.abc import Generator as PythonGenerator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...devices import resolve_device
from ...ensemble import Ensemble, Provenance
from ...errors import ConfGFError, GenerationError, ImpossibleStereoError
from ...models.features import GraphBatch, collate, featurise
from ...molecules.checks import check_conformations
from ...molecules.graph import MolecularGraph
from ...molecules.stereoisomers import stereo_settings
from ...status import Status
from ...units import NM_PER_ANGSTROM
from ...version import __version__
from ..base import Generator, check_request, sample_stream
from .conformer_job import ConformerJob, Starts
from .loaded import LoadedNetwork
from .row_batches import SAMPLES_PER_ROW, Lanes, Row, RowQueue

_Refused = tuple[int, ConfGFError]
"""A molecule's index and why it is refused."""


class NetworkConformerGenerator(Generator):
    """A generator that moves atoms with a trained network, and ends at conformers.

    A sample that does not come out OK is drawn again, up to `attempts` times in all, and then by the `fallback` where there is one.
    ``diagnostics`` count those that were `repaired` so, and the `ways` in which the starts were made.

    Parameters
    ----------
    weights : str or Path
        Name of shipped weights, or a ``.safetensors`` file with its card beside it.

    Raises
    ------
    WeightsError
        If the weights cannot be used, or are those of another network.
    """

    network: type[nn.Module]
    attempts: int = 1
    roughness: float = 0.0
    """K: the temperature of `check_conformations`; 0 where samples end as conformers, whose bonds and angles are those of minima."""
    fallback: NetworkConformerGenerator | None = None
    """With the same network and the same `calls` for all, for molecules without starts and for samples that do not come out OK."""
    side_by_side: bool = False
    """Whether each CPU core runs batches of its own, which is faster than all cores on one batch. A batch once begun is ended."""

    def __init__(self, weights: str | Path) -> None:
        self._loaded = LoadedNetwork.load(weights, self.network, self.name)
        self.net, self.card = self._loaded.net, self._loaded.card
        self.weights_sha256 = self.card.sha256

    def trained_on(self, graph: MolecularGraph) -> bool:
        """As in `Generator.trained_on`: whether the molecule's constitution is in the card's training data."""
        return self._loaded.trained_on(graph)

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`; molecules come in the order of their `calls`, then of their size."""
        return self._sample_by_size(molecules, check_request(molecules, n, seed), seed, resolve_device(device))

    @abc.abstractmethod
    def _starts(self, graph: MolecularGraph, n: int, seed: int, streams: Sequence[np.random.Generator]) -> Starts:
        """Where the samples of a molecule start; a GenerationError if there are no starts."""

    def _without_network(self, graph: MolecularGraph, starts: NDArray[Any]) -> NDArray[np.float64]:
        """The best that starts (K, N, 3) in Angstrom give by themselves, for samples that the network spoils; NaN is passed over."""
        return np.full(starts.shape, np.nan)

    @abc.abstractmethod
    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        """Move a batch (M, K, N, 3) from its starts to conformations; one random stream per sample.

        All molecules of a batch need the same number of `calls`.
        """

    @abc.abstractmethod
    def _settings(self, graph: MolecularGraph) -> dict[str, Any]:
        """What decides the samples of a molecule besides weights and seed, for `Provenance.settings`."""

    def _sample_by_size(
        self, molecules: Sequence[MolecularGraph], counts: list[int], seed: int, device: torch.device
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        def calls(index: int) -> int:
            return self.calls(molecules[index])

        by_size = sorted(range(len(molecules)), key=lambda index: (calls(index), len(molecules[index])))
        left: list[ConformerJob] = []
        with Lanes(device, self.side_by_side, counts) as lanes:
            for _, alike in itertools.groupby(by_size, calls):
                jobs = (self._job(index, molecules[index], counts[index], seed) for index in alike)
                for job in self._sample_alike(jobs, lanes):
                    if not isinstance(job, ConformerJob):
                        yield job
                    elif self.fallback is None or not len(job.bad):
                        yield job.index, self._outcome(job)
                    else:
                        left.append(job)
            if self.fallback is not None:
                handed = (self.fallback._taken_over(job, device) for job in sorted(left, key=lambda job: len(job.graph)))
                for job in self.fallback._sample_alike(handed, lanes):
                    assert isinstance(job, ConformerJob)
                    self._leave_unmoved(job)
                    yield job.index, self._outcome(job)

    def _sample_alike(self, jobs: Iterable[ConformerJob | _Refused], lanes: Lanes) -> Iterator[ConformerJob | _Refused]:
        """Ended jobs of molecules that may share batches, which come in the order of their size."""
        queue: RowQueue[ConformerJob] = RowQueue(self._run_rows, lanes)

        def collect(left: int) -> Iterator[ConformerJob]:
            for rows, ended in queue.results(left):
                queue.rows.extend((yield from self._finish(rows, ended)))

        for job in jobs:
            if not isinstance(job, ConformerJob) or job.attempt == job.last_attempt:
                yield job
                continue
            for row in job.rows(job.bad):
                if not queue.has_room(row):
                    queue.send()
                    yield from collect(lanes.waiting)
                queue.rows.append(row)
        while queue:
            queue.send()
            yield from collect(0)

    def _job(self, index: int, graph: MolecularGraph, n: int, seed: int) -> ConformerJob | _Refused:
        """A molecule's job; an ended one where it has no starts and the fallback may do without."""
        refusal, last_attempt = None, self.attempts
        try:
            self._loaded.check_supported(graph)
            streams = [sample_stream(graph, seed, k) for k in range(n)]
            starts = self._starts(graph, n, seed, streams)
        except GenerationError as error:
            if self.fallback is None or isinstance(error, ImpossibleStereoError):
                return index, error
            starts, refusal, last_attempt = Starts([np.full((n, len(graph), 3), np.nan)], ["none"] * n), error, 0
        except ConfGFError as error:
            return index, error
        frames = [start.astype(np.float32) for start in starts.frames]
        nothing, status = np.full((n, len(graph), 3), np.nan), np.full(n, Status.NON_FINITE, np.int8)
        ways, features = list(starts.ways), featurise(graph)
        return ConformerJob(index, graph, seed, features, starts, frames, ways, streams, nothing, status, last_attempt, refusal=refusal)

    def _taken_over(self, job: ConformerJob, device: torch.device) -> ConformerJob:
        """The job of another generator with the same network, whose bad samples are to be drawn again from starts of this one.

        Where it has no sample that is OK, a first row must give one, or it has ended.
        """
        left, whole = job.bad, len(job.bad) == len(job.status)
        starts = self._starts(job.graph, len(job.streams), job.seed, job.streams)
        job.starts = [start.astype(np.float32) for start in starts.frames]
        job.last_attempt = job.attempt + self.attempts
        if whole and not self._makes_any(job, left[:SAMPLES_PER_ROW], device):
            job.last_attempt = job.attempt
            return job
        for k in left:
            job.ways[k] = starts.ways[k]
        job.refusal = None
        job.draw(left)
        return job

    def _makes_any(self, job: ConformerJob, samples: NDArray[np.int64], device: torch.device) -> bool:
        """Whether one of these samples comes out OK in one of the attempts to come."""
        trial = dataclasses.replace(job, streams=list(job.streams))
        for trial.attempt in range(job.attempt, job.last_attempt):
            trial.draw(samples)
            ended = self._run_rows([Row(trial, samples)], device)[0, : len(samples), : len(job.graph)]
            for frames in (ended, self._without_network(job.graph, ended)):
                if (check_conformations(job.graph, frames * NM_PER_ANGSTROM, self.roughness) == Status.OK).any():
                    return True
        return False

    def _run_rows(self, rows: list[Row[ConformerJob]], device: torch.device) -> NDArray[np.float64]:
        """Where the samples of each row end, padded to the largest molecule."""
        self.net.to(device)
        batch = collate([row.owner.features for row in rows])
        starts = torch.zeros(len(rows), SAMPLES_PER_ROW, batch.atoms.shape[1], 3)
        streams = [[row.owner.streams[k] for k in row.samples] for row in rows]
        for place, row in zip(starts, rows, strict=True):
            place[: len(row.samples), : len(row.owner.graph)] = torch.nan_to_num(torch.from_numpy(row.owner.start[row.samples]))
        with torch.no_grad():
            return self._run(batch.to(device), starts.to(device), streams).double().cpu().numpy()

    def _finish(
        self, rows: list[Row[ConformerJob]], ended: NDArray[np.float64]
    ) -> PythonGenerator[ConformerJob, None, list[Row[ConformerJob]]]:
        """Yield the jobs whose last samples were in these rows, and return the rows that are to be run again."""
        again: list[Row[ConformerJob]] = []
        for frames, row in zip(ended, rows, strict=True):
            job, samples = row.owner, row.samples
            job.finished[samples] = np.where(np.isfinite(job.start[samples]), frames[: len(samples), : len(job.graph)], np.nan)
            job.open_rows -= 1
            if job.open_rows:
                continue
            job.status = check_conformations(job.graph, job.finished * NM_PER_ANGSTROM, self.roughness)
            job.first_bad = job.first_bad if job.attempt else len(job.bad)
            job.attempt += 1
            startable = job.bad[np.isfinite(job.start[job.bad]).all(axis=(1, 2))]
            if len(startable) and job.attempt < job.last_attempt:
                job.draw(startable)
                again += job.rows(startable)
            else:
                yield job
        return again

    def _leave_unmoved(self, job: ConformerJob) -> None:
        """Samples that are not OK become what their starts, or they themselves, give without the network, where that is OK."""
        for frames, way in ((job.given.frames[-1], None), (job.finished, "noise, relaxed")):
            bad = job.bad
            unmoved = self._without_network(job.graph, frames[bad])
            right = check_conformations(job.graph, unmoved * NM_PER_ANGSTROM, self.roughness) == Status.OK
            job.finished[bad[right]], job.status[bad[right]] = unmoved[right], Status.OK
            for k in bad[right]:
                job.ways[k] = way or f"{job.given.ways[k]}, without the network"

    def _outcome(self, job: ConformerJob) -> Ensemble | ConfGFError:
        if job.refusal is not None:
            cure = "leave centres open that are not sure" if len(job.graph.stereocentres) else "check its bonds"
            return GenerationError(
                f"No conformation of {job.graph.name!r} comes out: RDKit embeds it in none of its ways, and {self.name} from noise gives "
                f"others in {len(job.status[:SAMPLES_PER_ROW])} samples; {cure}."
            )
        positions = (job.finished - job.finished.mean(axis=1, keepdims=True)) * NM_PER_ANGSTROM
        repaired, ways = job.first_bad - len(job.bad), dict(collections.Counter(job.ways))
        of_molecule = self._settings(job.graph) | stereo_settings(job.graph)
        settings = {"calls": self.calls(job.graph)} | of_molecule
        provenance = Provenance(self.name, __version__, job.seed, self.card.sha256, settings)
        return Ensemble(job.graph, positions, provenance, job.status, diagnostics={"repaired": repaired, "ways": ways})
