"""What is done with each molecule of a library: conformers, or their energies; in this process or in several."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..checksums import sha256_of
from ..devices import resolve_device
from ..energies import Level, resolve_platform
from ..energies.scoring import score
from ..ensemble import Ensemble
from ..errors import ConfGFError, GenerationError
from ..executors import Workers, work_through
from ..generators import Generator, RelaxedGenerator, create_generator
from ..generators.base import check_request
from ..molecules.graph import MolecularGraph
from ..version import __version__

Outcome = Ensemble | ConfGFError


@dataclasses.dataclass(frozen=True)
class Generation:
    """Conformers of each molecule, by a generator with its options.

    Attributes
    ----------
    generator, weights, compiled
        As in `create_generator`.
    relax : str, optional
        Force field of `RelaxedGenerator`.
    forcefield, temperature
        As in `create_generator`.
    platform, properties
        As in `ContextEnergy`, for `relax`.
    count : int
        Conformers of each molecule.
    seed : int
    device : str
    """

    generator: str
    weights: str | None = None
    compiled: bool = False
    relax: str | None = None
    platform: str = "auto"
    properties: dict[str, str] = dataclasses.field(default_factory=dict)
    count: int = 100
    seed: int = 0
    device: str = "auto"
    forcefield: str | None = None
    temperature: float | None = None

    def source(self) -> Generator:
        """The generator.

        Raises
        ------
        ConfGFError
            If there is none such, or it cannot be used here.
        """
        source = create_generator(self.generator, self.weights, self.compiled, self.forcefield, self.temperature)
        return source if self.relax is None else RelaxedGenerator(source, self.relax, self.platform, self.properties)

    def settings(self, source: Generator, workers: Workers = 1) -> dict[str, Any]:
        """All that decides the conformers of a molecule, in JSON's types.

        Parameters
        ----------
        source : Generator
            What `source` gave; its weights' checksum is among the settings.
        workers : int or callable
            Of the executor, if it is one, a worker is asked: its devices and platforms are what counts.

        Raises
        ------
        PlatformError
            If the device, or the platform of the relaxation, is not there.
        """
        if not isinstance(workers, int):
            return _told_by_a_worker(self._own_settings, workers)
        settings = dataclasses.asdict(self) | {"device": str(resolve_device(self.device)), "weights": source.weights_sha256}
        if self.relax is not None:
            settings |= _energy_settings(self.relax, self.platform, self.properties)
        return {"command": "generate", "version": __version__, **settings}

    def _own_settings(self) -> dict[str, Any]:
        return self.settings(self.source())

    def each(
        self, molecules: Iterable[MolecularGraph], source: Generator, workers: Workers = 1, time_limit: float = math.inf
    ) -> Iterator[tuple[int, Outcome]]:
        """The place and the conformers of each molecule, as they finish; those of which none is usable have failed.

        Parameters
        ----------
        molecules : iterable of MolecularGraph
        source : Generator
            What `source` gave. It checks the call, and makes the conformers if there is one process; each of several makes its own.
        workers : int or callable
            1 for this process, in the generator's own batches; otherwise as in `work_through`.
        time_limit : float
            Seconds for a molecule, as in `work_through`; this process has none.

        Returns
        -------
        iterator of (int, Ensemble or ConfGFError)

        Raises
        ------
        ConfGFError
            If the call cannot be made.
        """
        graphs = list(molecules)
        if not isinstance(workers, int):
            check_request(graphs, self.count, self.seed)
            return work_through(self.work, graphs, workers, time_limit)
        stream = source.sample_many(graphs, self.count, seed=self.seed, device=self.device)  # refuses what is wrong with the call
        if workers != 1:
            return work_through(self.work, graphs, workers, time_limit)
        return ((i, _usable(outcome)) for i, outcome in stream)

    def work(self) -> Callable[[MolecularGraph], Outcome]:
        """What a process does with a molecule."""
        source = self.source()
        return lambda graph: _usable(source.sample(graph, self.count, seed=self.seed, device=self.device))


@dataclasses.dataclass(frozen=True)
class Scoring:
    """Energies of each ensemble, by a force field with its options.

    Attributes
    ----------
    forcefield, minimize, platform, properties
        As in `scoring.score`.
    """

    forcefield: str
    minimize: bool = False
    platform: str = "auto"
    properties: dict[str, str] = dataclasses.field(default_factory=dict)

    def settings(self, workers: Workers = 1) -> dict[str, Any]:
        """All that decides the energies of an ensemble, in JSON's types.

        Parameters
        ----------
        workers : int or callable
            As in `Generation.settings`.
        """
        if not isinstance(workers, int):
            return _told_by_a_worker(self.settings, workers)
        settings = dataclasses.asdict(self) | _energy_settings(self.forcefield, self.platform, self.properties)
        return {"command": "score", "version": __version__, **settings}

    def each(self, ensembles: Iterable[Ensemble], workers: Workers = 1, time_limit: float = math.inf) -> Iterator[tuple[int, Outcome]]:
        """The place and the energies of each ensemble, as they finish; those of which none is usable have failed.

        Parameters
        ----------
        ensembles : iterable of Ensemble
        workers : int or callable
            1 for this process; otherwise as in `work_through`.
        time_limit : float
            As in `Generation.each`.

        Returns
        -------
        iterator of (int, Ensemble or ConfGFError)
            Energies in kJ/mol.

        Raises
        ------
        ConfGFError
            If the call cannot be made.
        """
        work = self.work()  # refuses an unknown force field before the first
        if workers != 1:
            return work_through(self.work, ensembles, workers, time_limit)
        return ((i, work(e)) for i, e in enumerate(ensembles))

    def work(self) -> Callable[[Ensemble], Outcome]:
        """What a process does with an ensemble."""
        level = Level(self.forcefield, platform=self.platform, properties=self.properties)

        def scored(ensemble: Ensemble) -> Outcome:
            try:
                result = score(ensemble, level, minimize=self.minimize)
            except ConfGFError as error:
                return error
            return _usable(result, "generate more of them, or try another force field")

        return scored


def _usable(outcome: Outcome, advice: str = "try another --generator (confgf-noise needs no embedding)") -> Outcome:
    """The ensemble if one of its conformations is OK; else the molecule has failed."""
    if isinstance(outcome, ConfGFError) or outcome.ok.any():
        return outcome
    counts = ", ".join(f"{number} {status}" for status, number in outcome.counts().items())
    return GenerationError(f"no conformation of {outcome.graph.name!r} is usable ({counts}); {advice}.")


def _told_by_a_worker(settings: Callable[[], dict[str, Any]], workers: Workers) -> dict[str, Any]:
    """What `settings` gives where the work will be done."""
    ((_, told),) = work_through(functools.partial(_telling, settings), [None], workers)
    if isinstance(told, ConfGFError):
        raise told
    return told


def _telling(settings: Callable[[], dict[str, Any]]) -> Callable[[None], dict[str, Any]]:
    return lambda _: settings()


def _energy_settings(forcefield: str, platform: str, properties: dict[str, str]) -> dict[str, Any]:
    """The platform that runs, and the checksums of a force field's own files."""
    files = {part: sha256_of(part) for part in forcefield.split(",") if Path(part).is_file()}
    return {"platform": resolve_platform(platform, properties).getName(), "forcefield_files": files}
