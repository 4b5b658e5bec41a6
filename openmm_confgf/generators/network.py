"""What every generator with a network shares: weights, the molecules they may be asked for, and batches across molecules."""

from __future__ import annotations

import abc
import collections
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Generator as PythonGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor, nn

from ..checksums import molecule_hash
from ..devices import resolve_device
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, GenerationError, ImpossibleStereoError, UnsupportedMoleculeError, WeightsError
from ..models.features import GraphBatch, GraphFeatures, collate, featurise
from ..models.weights import load_weights
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.stereoisomers import stereo_settings
from ..status import Status
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from .base import Generator, check_request

SAMPLES_PER_ROW = 4
"""Samples of one molecule that share a row of a batch; the rest of a last row is computed and dropped."""

PAIRS_PER_BATCH = {"cpu": 10_000, "cuda": 3_000_000}
"""Atom pairs of a batch over all of its samples: few enough that the cores share one molecule, or a few GB of a GPU's memory."""


@dataclasses.dataclass(frozen=True)
class Starts:
    """Where the samples of a molecule start.

    Attributes
    ----------
    frames : sequence of ndarray, (n, N, 3)
        Angstrom; a row of NaN is passed over. One array for each attempt, of which the last is for all later ones as well.
    ways : sequence of str
        How the start of each sample was made, for `Provenance.settings`.
    """

    frames: Sequence[NDArray[Any]]
    ways: Sequence[str]


@dataclasses.dataclass
class _Job:
    """One molecule on its way: its inputs, where its samples start at each attempt, what has come out and what is still to come."""

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
    """How many attempts there are."""
    attempt: int = 0
    open_rows: int = 0
    first_bad: int = 0
    refusal: GenerationError | None = None
    """Why it has no starts."""

    @property
    def start(self) -> NDArray[np.float32]:
        """Where the samples start at this attempt."""
        return self.starts[min(self.attempt, len(self.starts) - 1)]

    @property
    def bad(self) -> NDArray[np.int64]:
        """The samples that are not OK."""
        return np.flatnonzero(self.status != Status.OK)

    def draw(self, samples: NDArray[np.int64]) -> None:
        """Give these samples the random streams of this attempt."""
        for k in samples:
            self.streams[k] = sample_stream(self.graph, self.seed, int(k), self.attempt)

    def rows(self, samples: NDArray[np.int64]) -> list[_Row]:
        """Rows of a batch for these samples, from now on awaited."""
        rows = [(self, samples[first : first + SAMPLES_PER_ROW]) for first in range(0, len(samples), SAMPLES_PER_ROW)]
        self.open_rows += len(rows)
        return rows


_Row = tuple[_Job, NDArray[np.int64]]

_Refused = tuple[int, ConfGFError]
"""A molecule's index and why it is refused."""


class NetworkGenerator(Generator):
    """A generator that moves atoms with a trained network.

    A sample that does not come out OK is drawn again, up to `attempts` times in all, and then by the `fallback` where there is one.
    ``Provenance.settings`` counts those that were `repaired` so, and the `ways` in which the starts were made.

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
    fallback: NetworkGenerator | None = None
    """With the same network and the same `calls` for all, for molecules without starts and for samples that do not come out OK."""
    side_by_side: bool = False
    """Whether each CPU core runs batches of its own, which is faster than all cores on one batch. A batch once begun is ended."""

    def __init__(self, weights: str | Path) -> None:
        self.net, self.card = load_weights(weights)
        if not isinstance(self.net, self.network):
            raise WeightsError(
                f"The weights {weights} are those of a {self.card.architecture}, and the generator {self.name!r} runs a "
                f"{self.network.__name__}; use another --generator."
            )
        self.weights_sha256 = self.card.sha256
        self._elements, self._known = set(self.card.elements), set(self.card.trained_on)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """Whether the molecule's constitution is in the card's training data."""
        return molecule_hash(graph.constitution) in self._known

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

        threads, rows = torch.get_num_threads(), sum(-(-count // SAMPLES_PER_ROW) for count in counts)
        lanes = min(threads, rows) if self.side_by_side and device.type == "cpu" else 1
        pool = _thread_pool(lanes, threads // lanes) if lanes > 1 else None
        by_size = sorted(range(len(molecules)), key=lambda index: (calls(index), len(molecules[index])))
        left: list[_Job] = []
        try:
            for _, alike in itertools.groupby(by_size, calls):
                jobs = (self._job(index, molecules[index], counts[index], seed) for index in alike)
                for job in self._sample_alike(jobs, device, pool, lanes):
                    if not isinstance(job, _Job):
                        yield job
                    elif self.fallback is None or not len(job.bad):
                        yield job.index, self._outcome(job)
                    else:
                        left.append(job)
            if self.fallback is not None:
                handed = (self.fallback._taken_over(job, device) for job in sorted(left, key=lambda job: len(job.graph)))
                for job in self.fallback._sample_alike(handed, device, pool, lanes):
                    assert isinstance(job, _Job)
                    self._leave_unmoved(job)
                    yield job.index, self._outcome(job)
        finally:
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def _sample_alike(
        self, jobs: Iterable[_Job | _Refused], device: torch.device, pool: ThreadPoolExecutor | None, lanes: int
    ) -> Iterator[_Job | _Refused]:
        """Ended jobs of molecules that may share batches, which come in the order of their size."""
        rows: list[_Row] = []
        running: collections.deque[tuple[list[_Row], Callable[[], NDArray[np.float64]]]] = collections.deque()

        def send(some: list[_Row]) -> None:
            work = functools.partial(self._run_rows, some, device)
            running.append((some, work if pool is None else pool.submit(work).result))

        def collect(left: int) -> Iterator[_Job]:
            while len(running) > left:
                some, ended = running.popleft()
                rows.extend((yield from self._finish(some, ended())))

        for job in jobs:
            if not isinstance(job, _Job) or job.attempt == job.last_attempt:
                yield job
                continue
            for row in job.rows(job.bad):
                if rows and not _joins(row, rows, device):
                    for batch in _batches(rows, device):
                        send(batch)
                    rows.clear()
                    yield from collect(0 if pool is None else lanes)
                rows.append(row)
        while rows or running:
            for batch in _batches(rows, device):
                send(batch)
            rows.clear()
            yield from collect(0)

    def _job(self, index: int, graph: MolecularGraph, n: int, seed: int) -> _Job | _Refused:
        """A molecule's job; an ended one where it has no starts and the fallback may do without."""
        refusal, last_attempt = None, self.attempts
        try:
            self._check_supported(graph)
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
        ways = list(starts.ways)
        return _Job(index, graph, seed, featurise(graph), starts, frames, ways, streams, nothing, status, last_attempt, refusal=refusal)

    def _taken_over(self, job: _Job, device: torch.device) -> _Job:
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

    def _makes_any(self, job: _Job, samples: NDArray[np.int64], device: torch.device) -> bool:
        """Whether one of these samples comes out OK in one of the attempts to come."""
        trial = dataclasses.replace(job, streams=list(job.streams))
        for trial.attempt in range(job.attempt, job.last_attempt):
            trial.draw(samples)
            ended = self._run_rows([(trial, samples)], device)[0, : len(samples), : len(job.graph)]
            for frames in (ended, self._without_network(job.graph, ended)):
                if (check_conformations(job.graph, frames * NM_PER_ANGSTROM, self.roughness) == Status.OK).any():
                    return True
        return False

    def _run_rows(self, rows: list[_Row], device: torch.device) -> NDArray[np.float64]:
        """Where the samples of each row end, padded to the largest molecule."""
        self.net.to(device)
        batch = collate([job.features for job, _ in rows])
        starts = torch.zeros(len(rows), SAMPLES_PER_ROW, batch.atoms.shape[1], 3)
        streams = [[job.streams[k] for k in samples] for job, samples in rows]
        for row, (job, samples) in zip(starts, rows, strict=True):
            row[: len(samples), : len(job.graph)] = torch.nan_to_num(torch.from_numpy(job.start[samples]))
        with torch.no_grad():
            return self._run(batch.to(device), starts.to(device), streams).double().cpu().numpy()

    def _finish(self, rows: list[_Row], ended: NDArray[np.float64]) -> PythonGenerator[_Job, None, list[_Row]]:
        """Yield the jobs whose last samples were in these rows, and return the rows that are to be run again."""
        again: list[_Row] = []
        for row, (job, samples) in zip(ended, rows, strict=True):
            job.finished[samples] = np.where(np.isfinite(job.start[samples]), row[: len(samples), : len(job.graph)], np.nan)
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

    def _leave_unmoved(self, job: _Job) -> None:
        """Samples that are not OK become what their starts, or they themselves, give without the network, where that is OK."""
        for frames, way in ((job.given.frames[-1], None), (job.finished, "noise, relaxed")):
            bad = job.bad
            unmoved = self._without_network(job.graph, frames[bad])
            right = check_conformations(job.graph, unmoved * NM_PER_ANGSTROM, self.roughness) == Status.OK
            job.finished[bad[right]], job.status[bad[right]] = unmoved[right], Status.OK
            for k in bad[right]:
                job.ways[k] = way or f"{job.given.ways[k]}, without the network"

    def _outcome(self, job: _Job) -> Ensemble | ConfGFError:
        if job.refusal is not None:
            cure = "leave centres open that are not sure" if len(job.graph.stereocentres) else "check its bonds"
            return GenerationError(
                f"No conformation of {job.graph.name!r} comes out: RDKit embeds it in none of its ways, and {self.name} from noise gives "
                f"others in {len(job.status[:SAMPLES_PER_ROW])} samples; {cure}."
            )
        positions = (job.finished - job.finished.mean(axis=1, keepdims=True)) * NM_PER_ANGSTROM
        repaired, ways = job.first_bad - len(job.bad), dict(collections.Counter(job.ways))
        of_molecule = self._settings(job.graph) | stereo_settings(job.graph)
        settings = {"calls": self.calls(job.graph), "repaired": repaired, "ways": ways} | of_molecule
        provenance = Provenance(self.name, __version__, job.seed, self.card.sha256, settings)
        return Ensemble(job.graph, positions, provenance, job.status)

    def _check_supported(self, graph: MolecularGraph) -> None:
        unseen = sorted(set(graph.numbers.tolist()) - self._elements)
        if unseen:
            symbols = ", ".join(Chem.GetPeriodicTable().GetElementSymbol(z) for z in unseen)
            raise UnsupportedMoleculeError(
                f"{graph.name!r} holds {symbols}, which the weights {self.card.name!r} never saw; use --generator etkdg."
            )
        if len(graph) < self.card.min_atoms:
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has {len(graph)} atoms, and the weights {self.card.name!r} saw at least {self.card.min_atoms}; "
                "use --generator etkdg."
            )
        if len(graph) > self.card.max_atoms:
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has {len(graph)} atoms, and the weights {self.card.name!r} saw at most {self.card.max_atoms}; "
                "use --generator etkdg."
            )


def _thread_pool(threads: int, cores: int) -> ThreadPoolExecutor:
    """Threads in each of which torch computes on so many cores; in all others on as many as before."""
    before, started = torch.get_num_threads(), threading.Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()  # without this, the thread's first operation would set the number anew
        torch.set_num_threads(cores)
        started.wait()

    pool = ThreadPoolExecutor(threads, initializer=start)
    for _ in range(threads):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(before)
    return pool


def _joins(row: _Row, rows: list[_Row], device: torch.device) -> bool:
    """Whether a row goes into one batch with those before it.

    On a CPU only if it is of the same molecule: rounding depends on the shape of a batch, so that the last bits of samples would depend on
    the other molecules of the call, and on which of them an interrupted call had finished. A GPU needs more than a molecule to be busy.
    """
    size = len(row[0].graph)
    fits = (len(rows) + 1) * SAMPLES_PER_ROW * size**2 // 2 <= PAIRS_PER_BATCH[device.type]
    return fits and (device.type != "cpu" or row[0] is rows[-1][0])


def _batches(rows: list[_Row], device: torch.device) -> list[list[_Row]]:
    """Consecutive rows together as far as they join."""
    batches: list[list[_Row]] = []
    for row in rows:
        if batches and _joins(row, batches[-1], device):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def sample_stream(graph: MolecularGraph, seed: int, k: int, attempt: int = 0) -> np.random.Generator:
    """The random stream of sample k: it depends on the molecule, the seed, k and the attempt, and on no other sample."""
    identity = int(hashlib.sha256(graph.smiles.encode()).hexdigest()[:8], 16)
    return np.random.default_rng([seed, identity, k, attempt] if attempt else [seed, identity, k])
