"""ETKDGv3 of RDKit: the reference generator, and where others start from."""

from __future__ import annotations

import collections
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import rdkit
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from .. import __version__
from ..checks import check_conformations
from ..ensemble import Ensemble, Provenance, Status
from ..errors import ConfGFError, ForceFieldError, GenerationError
from ..molecule import MolecularGraph
from ..relaxation import relax
from ..stereoisomers import stereo_settings
from ..units import NM_PER_ANGSTROM
from ._base import Generator, check_request

_ATTEMPTS = 20
"""Tries per conformation and way; most molecules need one or two. RDKit's own 10 N take a second for each conformation that fails."""

_AT_ONCE = 8
"""Conformations that one call of RDKit makes: it works out the distance bounds once for them, and one that fails costs the others."""

_REJECTIONS = 300
"""Tries per conformation when the stereo is left to chance; half to a twentieth of them have the right one."""

_REJECTED_AT_ONCE = 20
"""RDKit works out the distance bounds once for so many tries."""

_GIVE_UP_AFTER = 2
"""A molecule is given up when none of its first samples can be embedded: it probably cannot exist."""


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

    What RDKit cannot embed is tried again without RDKit's tests of the stereo, of which one, whether a centre lies within its neighbours,
    rejects nearly all true geometries of strained bicycles; then from random coordinates; then without those tests until the stereo is
    right by chance. What fails then is a row of NaN, with status NON_FINITE.

    Parameters
    ----------
    graph : MolecularGraph
    n : int
        Samples, at least 1.
    seed : int
        At least 0.
    per_sample : int
        Conformations of each sample, at least 1. Samples that do not have all are tried again without RDKit's tests, those that have none
        in all ways.

    Returns
    -------
    Ensemble
        ``n * per_sample`` rows, sample by sample, with their status from `check_conformations`.

    Raises
    ------
    ConfGFError
        If a number is out of range.
    GenerationError
        If none of the first samples can be embedded.
    """
    check_request([graph], n, seed)
    if per_sample < 1:
        raise ConfGFError(f"per_sample is {per_sample}; ask for at least 1 conformation of each sample.")
    try:
        with rdBase.BlockLogs():
            positions, rescued = _embed(graph, n, seed, per_sample)
    except (RuntimeError, ValueError) as error:
        raise GenerationError(f"RDKit cannot embed {graph.name!r}: {error}; check its valences and its stereo.") from error
    settings = {"rdkit": rdkit.__version__, "rescued": rescued} | stereo_settings(graph)
    return Ensemble(graph, positions, Provenance("etkdg", __version__, seed, settings=settings), check_conformations(graph, positions))


def _parameters(seed: int | tuple[int, int], first: int) -> Any:
    """RDKit's, for conformers `first`, `first` + 1, ... of this seed."""
    # RDKit seeds conformer k with (k + 1) * randomSeed, so that seed 0 makes n times the same one and seeds 1 and 2 share conformers;
    # sequential seeds from a hashed start do neither, and let conformer k be made again by itself
    params = cast(Any, rdDistGeom.ETKDGv3())  # RDKit's stubs take all its attributes for EmbedParameters
    params.randomSeed = int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**30) + first
    params.enableSequentialRandomSeeds = True
    params.enforceChirality = True
    params.maxIterations = _ATTEMPTS
    return params


_Way = Callable[[MolecularGraph, int, int, int], NDArray[np.float64]]
"""From a molecule, the seed, the number of the first conformer and how many are wanted to those that came out, (K, N, 3) in nm."""


def _embed(graph: MolecularGraph, n: int, seed: int, per_sample: int) -> tuple[NDArray[np.float64], int]:
    """Positions in nm (n * per_sample, N, 3), NaN where a conformation failed; and how many samples did not come by plain embedding."""
    positions = np.full((n, per_sample, len(graph), 3), np.nan)
    ways: list[_Way] = [_embed_plain, _embed_unchecked, _embed_from_random_coordinates, _embed_by_rejection]
    used = ways[:1] * n

    def fill(samples: range) -> None:
        # RDKit renumbers the conformers that it made, which hides those that failed: where any did, make each sample by itself
        made = 0
        for way in ways:
            frames = way(graph, seed, samples.start * per_sample, len(samples) * per_sample)
            complete = len(frames) == len(samples) * per_sample
            if complete or (len(samples) == 1 and len(frames) > made):
                made = len(frames)
                positions[samples.start : samples.stop].reshape(-1, len(graph), 3)[:made] = frames
                used[samples.start : samples.stop] = [way] * len(samples)
            if complete or (made and way is not _embed_plain):
                return
            if len(samples) > 1:
                for k in samples:
                    fill(range(k, k + 1))
                return

    for k in range(min(n, _GIVE_UP_AFTER)):
        fill(range(k, k + 1))
        # what worked for the first sample, which is the same for any n, is likeliest to work for the others
        ways.sort(key=lambda way: way is not used[0])
    if np.isnan(positions[:_GIVE_UP_AFTER]).all():
        raise GenerationError(f"RDKit cannot embed {graph.name!r}; check that its rings, and the stereo in them, can exist in 3D.")
    step = 1 if ways[0] is _embed_by_rejection else max(1, _AT_ONCE // per_sample)
    pool = ThreadPoolExecutor(torch.get_num_threads())  # RDKit lets go of Python's lock
    try:
        collections.deque(pool.map(fill, [range(k, min(k + step, n)) for k in range(_GIVE_UP_AFTER, n, step)]), maxlen=0)
    finally:
        pool.shutdown(cancel_futures=True)
        if threading.current_thread() is threading.main_thread():
            # RDKit's calls each put their own Ctrl-C handler in place and the earlier one back, which overlapping calls get wrong
            signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT) or signal.default_int_handler)
    return positions.reshape(-1, len(graph), 3), sum(way is not _embed_plain for way in used)


def _embed_plain(graph: MolecularGraph, seed: int, first: int, count: int, random_coordinates: bool = False) -> NDArray[np.float64]:
    """Those of `count` conformers from number `first` on that RDKit can embed."""
    params = _parameters(seed, first)
    params.useRandomCoords = random_coordinates
    return _frames(graph, count, params)


def _embed_from_random_coordinates(graph: MolecularGraph, seed: int, first: int, count: int) -> NDArray[np.float64]:
    return _embed_plain(graph, seed, first, count, random_coordinates=True)


def _embed_unchecked(graph: MolecularGraph, seed: int | tuple[int, int], first: int, count: int) -> NDArray[np.float64]:
    """Those of `count` conformers that are conformations of the molecule by `check_conformations` instead of RDKit's own tests."""
    params = _parameters(seed, first)
    params.enforceChirality = False
    frames = _frames(graph, count, params)
    return frames[check_conformations(graph, frames) == Status.OK]


def _embed_by_rejection(graph: MolecularGraph, seed: int, first: int, count: int) -> NDArray[np.float64]:
    """At most one conformer: the stereo is left to chance, until it is right."""
    if len(graph.stereocentres) + len(graph.stereobonds):
        for tried in range(0, _REJECTIONS, _REJECTED_AT_ONCE):
            right = _embed_unchecked(graph, (seed, first), tried, _REJECTED_AT_ONCE)
            if len(right):
                return right[:1]
    return np.empty((0, len(graph), 3))


def _frames(graph: MolecularGraph, count: int, params: Any) -> NDArray[np.float64]:
    """Positions of those of `count` conformers that RDKit embeds, (K, N, 3) in nm."""
    mol = Chem.Mol(graph.mol)
    rdDistGeom.EmbedMultipleConfs(mol, count, params)
    return np.array([c.GetPositions() for c in mol.GetConformers()]).reshape(-1, mol.GetNumAtoms(), 3) * NM_PER_ANGSTROM
