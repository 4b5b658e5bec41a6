"""ETKDGv3 of RDKit: the reference generator, and where others start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import rdkit
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from .. import __version__
from ..checks import check_conformations
from ..ensemble import Ensemble, Provenance, Status
from ..errors import ConfGFError, ForceFieldError, GenerationError
from ..molecule import MolecularGraph
from ..relaxation import relax
from ..units import NM_PER_ANGSTROM
from ._base import Generator, check_request

_ATTEMPTS = 20
"""Tries per conformation and stage; most molecules need one or two. RDKit's own 10 N take a second for each conformation that fails."""

_REJECTIONS = 300
"""Tries per conformation when the stereo is left to chance; half to a twentieth of them have the right one."""

_REJECTED_AT_ONCE = 20
"""RDKit works out the distance bounds once for so many tries."""

_GIVE_UP_AFTER = 2
"""A molecule is given up when none of its first conformations can be embedded: it probably cannot exist."""


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


def embed_etkdg(graph: MolecularGraph, n: int, seed: int) -> Ensemble:
    """ETKDGv3 conformations, not pruned. Sample k depends on the molecule, `seed` and k alone.

    What RDKit cannot embed is tried again from random coordinates, then without enforcing the stereo until it is right by chance: RDKit's
    test whether a centre lies within its neighbours rejects nearly all true geometries of strained bicycles. What fails then is a row of
    NaN, with status NON_FINITE.

    Parameters
    ----------
    graph : MolecularGraph
    n : int
        At least 1.
    seed : int
        At least 0.

    Returns
    -------
    Ensemble
        `n` rows with their status from `check_conformations`.

    Raises
    ------
    ConfGFError
        If `n` or the seed is out of range.
    GenerationError
        If none of the first conformations can be embedded.
    """
    check_request([graph], n, seed)
    try:
        with rdBase.BlockLogs():
            positions, rescued = _embed(graph, n, seed)
    except (RuntimeError, ValueError) as error:
        raise GenerationError(f"RDKit cannot embed {graph.name!r}: {error}; check its valences and its stereo.") from error
    settings = {"rdkit": rdkit.__version__, "rescued": rescued}
    return Ensemble(graph, positions, Provenance("etkdg", __version__, seed, settings=settings), check_conformations(graph, positions))


def _parameters(seed: int) -> Any:
    # RDKit seeds conformer k with (k + 1) * randomSeed, so that seed 0 makes n times the same one and seeds 1 and 2 share conformers;
    # sequential seeds from a hashed start do neither, and let conformer k be made again by itself
    params = cast(Any, rdDistGeom.ETKDGv3())  # RDKit's stubs take all its attributes for EmbedParameters
    params.randomSeed = int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**30)
    params.enableSequentialRandomSeeds = True
    params.enforceChirality = True
    params.maxIterations = _ATTEMPTS
    params.numThreads = 0
    return params


def _embed(graph: MolecularGraph, n: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """Positions in nm (n, N, 3), NaN where a conformation failed; and how many did not come by plain embedding."""
    mol, params = Chem.Mol(graph.mol), _parameters(seed)
    if rdDistGeom.EmbedMolecule(mol, params) >= 0 and len(rdDistGeom.EmbedMultipleConfs(mol, n, params)) == n:
        return np.array([c.GetPositions() for c in mol.GetConformers()]) * NM_PER_ANGSTROM, 0
    # RDKit renumbers the conformers that it made, which hides those that failed: make each by itself
    positions, rescued = np.full((n, len(graph), 3), np.nan), 0
    ways = [_embed_plain, _embed_from_random_coordinates, _embed_by_rejection]
    for k in range(n):
        for way in tuple(ways):
            frame = way(graph, seed, k)
            if frame is not None:
                positions[k] = frame
                rescued += way is not _embed_plain
                if k == 0:  # what worked for the first sample, which is the same for any n, is likeliest to work for the others
                    ways = [way, *(other for other in ways if other is not way)]
                break
        if k + 1 == min(n, _GIVE_UP_AFTER) and np.isnan(positions[: k + 1]).all():
            raise GenerationError(f"RDKit cannot embed {graph.name!r}; check that its rings, and the stereo in them, can exist in 3D.")
    return positions, rescued


def _embed_plain(graph: MolecularGraph, seed: int, k: int, random_coordinates: bool = False) -> NDArray[np.float64] | None:
    """Conformer k by itself."""
    params = _parameters(seed)
    params.randomSeed += k
    params.useRandomCoords = random_coordinates
    mol = Chem.Mol(graph.mol)
    if rdDistGeom.EmbedMolecule(mol, params) < 0:
        return None
    return np.asarray(mol.GetConformer().GetPositions()) * NM_PER_ANGSTROM


def _embed_from_random_coordinates(graph: MolecularGraph, seed: int, k: int) -> NDArray[np.float64] | None:
    return _embed_plain(graph, seed, k, random_coordinates=True)


def _embed_by_rejection(graph: MolecularGraph, seed: int, k: int) -> NDArray[np.float64] | None:
    """Conformer k with the stereo left to chance, until it is right."""
    if not len(graph.stereocentres) + len(graph.stereobonds):
        return None
    params = _parameters(seed)
    params.enforceChirality = False
    params.randomSeed = int(np.random.SeedSequence((seed, k)).generate_state(1)[0] % 2**30)
    mol = Chem.Mol(graph.mol)
    for _ in range(0, _REJECTIONS, _REJECTED_AT_ONCE):
        rdDistGeom.EmbedMultipleConfs(mol, _REJECTED_AT_ONCE, params)
        frames = np.array([c.GetPositions() for c in mol.GetConformers()]).reshape(-1, len(graph), 3) * NM_PER_ANGSTROM
        right = np.flatnonzero(check_conformations(graph, frames) == Status.OK)
        if len(right):
            return frames[right[0]]
        params.randomSeed += _REJECTED_AT_ONCE
    return None
