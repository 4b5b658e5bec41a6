"""ETKDGv3 of RDKit: the reference generator, and where others start from."""

from __future__ import annotations

import collections
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import rdkit
import torch
from numpy.typing import NDArray
from rdkit import rdBase

from ..energies.relaxation import relax
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, ForceFieldError, GenerationError
from ..molecules.bond_windows import EMBEDDED
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.stereoisomers import stereo_settings
from ..status import Status
from ..version import __version__
from .base import Generator, check_request
from .embedding import ETKDG, Embedding, working_ways

_AT_ONCE = 8
"""Conformations that one call of RDKit makes: it works out the distance bounds once for them, and one that fails costs the others."""


class ETKDGGenerator(Generator):
    """Experimental-torsion knowledge distance geometry (Wang, Witek, Landrum & Riniker 2020), with specified stereo enforced.

    Parameters
    ----------
    mmff : bool
        Relax each conformation with MMFF94s, or with UFF where MMFF94s has no parameters, as ``relax(ensemble, "mmff")`` does.
    """

    def __init__(self, mmff: bool = False) -> None:
        self.mmff = mmff
        self.name = "etkdg+mmff" if mmff else "etkdg"

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`, in the order of the molecules. The device makes no difference: RDKit runs on the CPU."""
        return self._sample_each(molecules, check_request(molecules, n, seed), seed)

    def _sample_each(
        self, molecules: Sequence[MolecularGraph], counts: list[int], seed: int
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                ensemble = embed_etkdg(graph, count, seed)
                yield index, relax(ensemble, "mmff") if self.mmff else ensemble
            except (GenerationError, ForceFieldError) as error:
                yield index, error


def embed_etkdg(graph: MolecularGraph, n: int, seed: int, per_sample: int = 1) -> Ensemble:
    """ETKDGv3 conformations, not pruned. Sample k depends on the molecule, `seed`, `per_sample` and k alone.

    What ETKDG cannot embed is tried again in the other ways of `embedding.WAYS`; ``diagnostics["ways"]`` counts the samples of
    each. What fails in all is a row of NaN, with status NON_FINITE.

    Parameters
    ----------
    graph : MolecularGraph
    n : int
        Samples, at least 1.
    seed : int
        At least 0.
    per_sample : int
        Conformations of each sample, at least 1. Samples that do not have all are tried again in the second way, those of which none is
        OK in all ways.

    Returns
    -------
    Ensemble
        ``n * per_sample`` rows, sample by sample, with their status from `check_conformations`.

    Raises
    ------
    ConfGFError
        If a number is out of range.
    GenerationError
        If no way works, or two centres cannot have the specified hands at once (ImpossibleStereoError).
    """
    return embed(graph, n, seed, per_sample)[0]


def embed(graph: MolecularGraph, n: int, seed: int, per_sample: int = 1) -> tuple[Ensemble, list[Embedding]]:
    """As `embed_etkdg`, and the way in which each sample was made.

    Parameters
    ----------
    graph, n, seed, per_sample
        As in `embed_etkdg`.

    Returns
    -------
    ensemble : Ensemble
        As `embed_etkdg` gives it.
    ways : list of Embedding, (n,)
        Of each sample.

    Raises
    ------
    ConfGFError, GenerationError
        As in `embed_etkdg`.
    """
    check_request([graph], n, seed)
    if per_sample < 1:
        raise ConfGFError(f"per_sample is {per_sample}; ask for at least 1 conformation of each sample.")
    try:
        with rdBase.BlockLogs():
            positions, status, ways = _embed(graph, n, seed, per_sample)
    except (RuntimeError, ValueError) as error:
        raise GenerationError(f"RDKit cannot embed {graph.name!r}: {error}; check its valences and its stereo.") from error
    settings = {"rdkit": rdkit.__version__} | stereo_settings(graph)
    provenance = Provenance("etkdg", __version__, seed, settings=settings)
    counts = dict(collections.Counter(way.name for way in ways))
    return Ensemble(graph, positions, provenance, status, diagnostics={"ways": counts}), ways


def _embed(graph: MolecularGraph, n: int, seed: int, per_sample: int) -> tuple[NDArray[np.float64], NDArray[np.int8], list[Embedding]]:
    """Positions in nm (n * per_sample, N, 3), NaN where a conformation failed, their status, and the way of each sample."""
    positions = np.full((n, per_sample, len(graph), 3), np.nan)
    ways = working_ways(graph, seed)
    used = ways[:1] * n

    def fill(samples: range) -> None:
        # RDKit renumbers the conformers that it made, which hides those that failed: where any did, make each sample by itself
        made = 0
        for way in ways:
            frames = way.frames(graph, seed, samples.start * per_sample, len(samples) * per_sample)
            complete = len(frames) == len(samples) * per_sample
            if complete and way is ETKDG and len(samples) > 1:  # checked below, all at once
                positions[samples.start : samples.stop] = frames.reshape(-1, *positions.shape[1:])
                return
            good = check_conformations(graph, frames, EMBEDDED) == Status.OK
            if complete and good.reshape(len(samples), per_sample).any(axis=1).all() and (way is ETKDG or good.all()):
                positions[samples.start : samples.stop] = frames.reshape(-1, *positions.shape[1:])
                used[samples.start : samples.stop] = [way] * len(samples)
                return
            if len(samples) > 1:
                for k in samples:
                    fill(range(k, k + 1))
                return
            k = samples.start
            if good.sum() > made:
                made, used[k] = good.sum(), way
                positions[k, :made], positions[k, made:] = frames[good], np.nan
            elif way is ETKDG and not made:  # what is no conformation yet may become one
                positions[k, : len(frames)] = frames
            if made and way is not ETKDG:
                return

    step = 1 if ways[0].by_chance else max(1, _AT_ONCE // per_sample)
    pool = ThreadPoolExecutor(torch.get_num_threads())  # RDKit lets go of Python's lock
    try:
        collections.deque(pool.map(fill, [range(k, min(k + step, n)) for k in range(0, n, step)]), maxlen=0)
        status = check_conformations(graph, positions.reshape(-1, len(graph), 3), EMBEDDED)
        bad = np.flatnonzero((status.reshape(n, per_sample) != Status.OK).all(axis=1)) if step > 1 and len(ways) > 1 else np.empty(0, int)
        if len(bad):
            collections.deque(pool.map(fill, [range(k, k + 1) for k in bad.tolist()]), maxlen=0)
            status = check_conformations(graph, positions.reshape(-1, len(graph), 3), EMBEDDED)
    finally:
        pool.shutdown(cancel_futures=True)
        if threading.current_thread() is threading.main_thread():
            # RDKit's calls each put their own Ctrl-C handler in place and the earlier one back, which overlapping calls get wrong
            signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT) or signal.default_int_handler)
    return positions.reshape(-1, len(graph), 3), status, used
