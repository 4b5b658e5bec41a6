"""RDKit's ways to embed a molecule, which of them works for it, and the refusal of what none of them embeds. Positions in nm."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ..energies.relaxation import relax
from ..ensemble import Ensemble, Provenance
from ..errors import ForceFieldError, GenerationError, ImpossibleStereoError
from ..molecules.bicycles import turned_inside
from ..molecules.bond_windows import EMBEDDED
from ..molecules.checks import check_conformations, stereo_against_specified
from ..molecules.graph import MolecularGraph
from ..molecules.stereo import centre_and_neighbours, tetrahedral_hands
from ..status import Status
from ..units import NM_PER_ANGSTROM
from ..version import __version__

ATTEMPTS = 20
"""Tries per conformer; most molecules need one or two. RDKit's own 10 N take a second for each conformer that fails."""

_TRIAL_ATTEMPTS = 10
"""Tries per conformer while it is open which way works."""

_TRIAL_ROUNDS = 2
"""Conformers that every way tries before a molecule is refused."""

_TRIAL_SECONDS = 4.0
"""Computing time after which no further round is begun and no costly way is tried. It decides between samples and a refusal, never which
samples; molecules that RDKit can embed take a tenth of it."""

_REJECTIONS = 300
"""Tries per conformer when the stereo is left to chance; half to a twentieth of them have the right one."""

_TESTED_CENTRES, _UNTESTED = (6, 7), 14
"""Elements whose centres in fused rings RDKit tests, and one that it does not."""

_REJECTED_AT_ONCE = 20
"""RDKit works out the distance bounds once for so many tries."""

_OPEN_EMBEDDINGS = 80
"""Embeddings that leave the stereo open, before a pair of centres is called impossible: a relation that one in twenty has is missed once
in sixty times. Pairs that do not constrain each other are through after ten."""

_OPEN_AT_ONCE = 10

_NO_TESTS = {"enforceChirality": False}
_NO_KNOWLEDGE = {"useBasicKnowledge": False}
DISTANCE_GEOMETRY: Mapping[str, Any] = MappingProxyType(
    {**_NO_KNOWLEDGE, "useExpTorsionAnglePrefs": False, "useSmallRingTorsions": False, "useMacrocycleTorsions": False}
)
"""RDKit's options that leave the distance bounds alone: no knowledge of torsions, of flat rings and straight triple bonds."""


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A way to embed.

    Attributes
    ----------
    name : str
        As in the provenance.
    options : mapping
        RDKit's options besides those of ETKDGv3.
    tested : bool
        Whether RDKit tests the stereo. One of its tests, whether a centre lies within its neighbours, rejects nearly all true geometries of
        strained bicycles; without it, cages whose stereo cannot be come out turned inside out.
    by_chance : bool
        At most one conformer, the least inverted one that is OK of as many tries as it takes, without any of RDKit's tests.
    """

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tested: bool = True
    by_chance: bool = False

    def frames(self, graph: MolecularGraph, seed: int, first: int, count: int, attempts: int = ATTEMPTS) -> NDArray[np.float64]:
        """Those of some conformers that RDKit can embed; they may still be wrong.

        Parameters
        ----------
        graph : MolecularGraph
        seed, first, count : int
            The conformers are number `first`, ``first + 1``, ... of this seed, `count` of them; `by_chance`, number `first` alone.
        attempts : int
            Tries per conformer.

        Returns
        -------
        ndarray of float64, (K, N, 3)
            nm; K is at most `count`.
        """
        if not self.by_chance:
            return embedded(graph.mol, count, parameters(seed, first, attempts, **self.options))
        untested, centres = _untested(graph.mol)
        bounds = rdDistGeom.GetMoleculeBoundsMatrix(graph.mol)
        for tried in range(0, _REJECTIONS, _REJECTED_AT_ONCE):
            params = parameters((seed, first), tried, attempts, **self.options)
            params.SetBoundsMat(bounds)
            some = embedded(untested, _REJECTED_AT_ONCE, params)
            right = some[check_conformations(graph, some, EMBEDDED) == Status.OK]
            if len(right):
                inverted = (tetrahedral_hands(right / NM_PER_ANGSTROM, centres, most_inverted=0.0) == 0).sum(-1)
                return right[[inverted.argmin()]]
        return np.empty((0, len(graph), 3))


ETKDG = Embedding("etkdg")

WAYS = (
    ETKDG,
    Embedding("etkdg without stereo tests", _NO_TESTS, tested=False),
    Embedding("etkdg from random coordinates", {"useRandomCoords": True}),
    Embedding("etkdg without basic knowledge", _NO_KNOWLEDGE),
    Embedding("distance geometry", {**DISTANCE_GEOMETRY, **_NO_TESTS}, tested=False),
    Embedding("distance geometry by chance", {**DISTANCE_GEOMETRY, **_NO_TESTS, "useRandomCoords": True}, tested=False, by_chance=True),
)
"""In the order in which they are tried."""


def parameters(seed: int | tuple[int, int], first: int = 0, attempts: int = ATTEMPTS, **options: Any) -> Any:
    """RDKit's parameters for conformers number `first`, ``first + 1``, ... of a seed.

    Those of ETKDGv3 (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025), but for the number of tries and for `options`.

    Parameters
    ----------
    seed : int or tuple of two int
    first : int
    attempts : int
        Tries per conformer.
    **options
        Attributes of RDKit's EmbedParameters, in place of ETKDGv3's.

    Returns
    -------
    rdkit.Chem.rdDistGeom.EmbedParameters
    """
    # RDKit seeds conformer k with (k + 1) * randomSeed, so that seed 0 makes n times the same one and seeds 1 and 2 share conformers;
    # sequential seeds from a hashed start do neither, and let conformer k be made again by itself
    params = cast(Any, rdDistGeom.ETKDGv3())  # RDKit's stubs take all its attributes for EmbedParameters
    params.randomSeed = int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**30) + first
    params.enableSequentialRandomSeeds = True
    params.enforceChirality = True
    params.maxIterations = attempts
    for name, value in options.items():
        setattr(params, name, value)
    return params


def embedded(mol: Chem.Mol, count: int, params: Any) -> NDArray[np.float64]:
    """Positions of those conformers that RDKit embeds.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        With explicit hydrogens; it is not changed.
    count : int
        How many to try.
    params : rdkit.Chem.rdDistGeom.EmbedParameters
        Of `parameters`.

    Returns
    -------
    ndarray of float64, (K, N, 3)
        nm; K is at most `count`.
    """
    mol = Chem.Mol(mol)
    rdDistGeom.EmbedMultipleConfs(mol, count, params)
    return np.array([c.GetPositions() for c in mol.GetConformers()]).reshape(-1, mol.GetNumAtoms(), 3) * NM_PER_ANGSTROM


def _untested(mol: Chem.Mol) -> tuple[Chem.Mol, NDArray[np.int64]]:
    """A molecule as RDKit embeds it without a test of whether centres of fused rings lie within their neighbours, and those centres.

    The test goes by element and no option leaves it out; nearly all true geometries of small cages fail it.

    Parameters
    ----------
    mol : rdkit.Chem.Mol

    Returns
    -------
    mol : rdkit.Chem.Mol
        For distance geometry alone, and with the bounds of the true one.
    centres : ndarray of int64, (C, 5)
        As `tetrahedral_hands` wants them.
    """
    mol, rings = Chem.Mol(mol), mol.GetRingInfo()
    centres = [
        a for a in mol.GetAtoms() if a.GetAtomicNum() in _TESTED_CENTRES and a.GetDegree() == 4 and rings.NumAtomRings(a.GetIdx()) > 1
    ]
    for centre in centres:
        centre.SetAtomicNum(_UNTESTED)
        centre.SetFormalCharge(0)
    return mol, np.array([centre_and_neighbours(centre) for centre in centres], np.int64).reshape(-1, 5)


def working_ways(graph: MolecularGraph, seed: int) -> list[Embedding]:
    """The ways to embed a molecule, that which works first in front; the others are for conformers that it cannot make.

    ETKDG alone where it makes frames and nothing makes a conformation of the molecule. Where two centres never have their hands together in
    embeddings that leave the stereo open, a conformation that RDKit does not test must outlast relaxation: trans-fused small rings do,
    bridgeheads that are turned inside out do not.

    Parameters
    ----------
    graph : MolecularGraph
    seed : int
        Of the trial conformers.

    Returns
    -------
    list of Embedding
        Some of `WAYS`, at least one.

    Raises
    ------
    ImpossibleStereoError
        If two centres cannot have the specified hands at once.
    GenerationError
        If no way works.
    """
    begun, ways, frames_by_etkdg = time.thread_time(), list(WAYS), False
    if forbidden := turned_inside(graph):
        raise _impossible(graph, forbidden, "in so small a bicycle one of the atoms {} would have to point inwards")
    for conformer in range(_TRIAL_ROUNDS):
        for way in WAYS:
            if way not in ways or ((conformer or way.by_chance) and time.thread_time() - begun > _TRIAL_SECONDS):
                continue
            frames = way.frames(graph, seed, conformer, 1, _TRIAL_ATTEMPTS)
            if forbidden and not way.tested:
                frames = _relaxed(graph, frames)
            if (check_conformations(graph, frames, EMBEDDED) == Status.OK).any():
                return sorted(ways, key=lambda other: other is not way)
            if way is ETKDG:
                frames_by_etkdg |= len(frames) > 0
                if conformer == 0 and (forbidden := _forbidden_pair(graph, seed)):
                    ways = [other for other in ways if not other.by_chance]
    if frames_by_etkdg:
        return [ETKDG]
    raise _refusal(graph, seed, ways, forbidden)


def _refusal(graph: MolecularGraph, seed: int, tried: list[Embedding], forbidden: tuple[int, int] | None) -> GenerationError:
    if forbidden:
        found = f"of {_OPEN_EMBEDDINGS} embeddings that leave it open, none gives the atoms {{}} their hands together"
        return _impossible(graph, forbidden, f"{found}, and what forces them on it does not last")
    names = ", ".join(way.name for way in tried)
    if len(graph.stereocentres) and len(_open_frames(graph, seed, 0)):
        return GenerationError(
            f"RDKit embeds {graph.name!r} without its stereo, but not with it (tried: {names}); leave centres open that are not sure, "
            "or take --generator confgf-noise, which needs no embedding."
        )
    return GenerationError(f"RDKit cannot embed {graph.name!r} (tried: {names}); take --generator confgf-noise, which needs no embedding.")


def _impossible(graph: MolecularGraph, centres: tuple[int, int], why: str) -> ImpossibleStereoError:
    atoms = " and ".join(f"{graph.mol.GetAtomWithIdx(atom).GetSymbol()}{atom + 1}" for atom in centres)
    return ImpossibleStereoError(
        f"{graph.name!r} cannot have the stereo that is specified: {why.format(f'{atoms} (counted from 1)')}; correct one of the two."
    )


def _relaxed(graph: MolecularGraph, frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformations relaxed in MMFF94s or UFF; as they are where neither has parameters."""
    given = Ensemble(graph, frames, Provenance("embedding", __version__))
    with contextlib.suppress(ForceFieldError):
        return relax(given, "mmff").positions
    return frames


def _open_frames(graph: MolecularGraph, seed: int, first: int) -> NDArray[np.float64]:
    """Some distance-geometry embeddings with all tetrahedral centres left open."""
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    return embedded(mol, _OPEN_AT_ONCE, parameters(seed, first, 2, **DISTANCE_GEOMETRY, **_NO_TESTS))


def _forbidden_pair(graph: MolecularGraph, seed: int) -> tuple[int, int] | None:
    """Two centres whose specified hands never come together (nor both reversed, which is the mirror image) where the stereo is left open.

    None where there is no such pair or nothing can be embedded.
    """
    centres = graph.stereocentres[:, 0]
    together, embeddings = np.eye(len(centres), dtype=bool), 0
    for first in range(0, _OPEN_EMBEDDINGS, _OPEN_AT_ONCE):
        if together.all():
            return None
        frames = _open_frames(graph, seed, first)
        hands, _ = stereo_against_specified(graph, frames)
        together |= (hands[:, :, None] * hands[:, None, :] >= 0).any(0)  # a hand that is not clear speaks for neither
        embeddings += len(frames)
    if together.all() or embeddings < _OPEN_EMBEDDINGS // 2:
        return None
    one, other = np.argwhere(~together)[0]
    return int(centres[one]), int(centres[other])
