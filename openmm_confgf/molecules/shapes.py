"""Shapes of conformations as vectors: which of many starts are unlike those already chosen, without superposing all pairs of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ..units import NM_PER_ANGSTROM, positions_in_nm
from .geometry import distances, signed_volumes
from .graph import MolecularGraph

_LENGTH_PER_VOLUME = 0.5
"""Angstrom per cubic Angstrom: chains have volumes of 0 when trans and 2.5 when gauche, and their ends move by 1."""


def shape_vectors(graph: MolecularGraph, positions: Any) -> NDArray[np.float64]:
    """Vectors that are equal for superposable conformations and otherwise differ by about as much as the heavy atoms' places.

    All distances of heavy atoms, and the signed volumes of all chains of four of them, which tell a conformation from its mirror
    image. Sorted among pairs and chains that the molecule's symmetry cannot tell apart. Molecules of fewer than 3 heavy atoms: all atoms.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    ndarray of float64, (B, D)
        A column for each pair and each chain, scaled so that the Euclidean distance of two rows is a root mean square over pairs of atoms,
        in nm.

    Raises
    ------
    ValueError
        As `positions_in_nm`.
    """
    frames = torch.from_numpy(positions_in_nm(positions) / NM_PER_ANGSTROM)
    ranks = np.array(Chem.CanonicalRankAtoms(graph.mol, breakTies=False))
    heavy = graph.heavy_atoms if len(graph.heavy_atoms) > 2 else np.arange(len(graph))
    pairs = np.array(list(itertools.combinations(heavy, 2)), np.int64).reshape(-1, 2)
    chains = _chains(graph, heavy)
    lengths = distances(frames, torch.from_numpy(pairs)).numpy()
    volumes = _LENGTH_PER_VOLUME * signed_volumes(frames, torch.from_numpy(chains)).numpy()
    sorted_parts = [
        _sorted_alike(lengths, [tuple(sorted(ranks[pair])) for pair in pairs]),
        _sorted_alike(volumes, [min(tuple(ranks[c]), tuple(ranks[c[::-1]])) for c in chains]),
    ]
    return np.concatenate(sorted_parts, axis=1) * NM_PER_ANGSTROM / np.sqrt(max(len(pairs), 1))


def novel_picks(vectors: NDArray[np.float64], per_pick: int) -> NDArray[np.int64]:
    """Of every `per_pick` vectors in turn, that which is farthest from its nearest among those picked before.

    Best-candidate sampling (Mitchell, SIGGRAPH 1991, "Spectrally optimal sampling for distribution ray tracing"). The picks from the first
    vectors are the first picks from all of them.

    Parameters
    ----------
    vectors : ndarray of float64, (n * per_pick, D)
        In any unit.
    per_pick : int
        At least 1.

    Returns
    -------
    ndarray of int64, (n,)
        Pick k is one of ``k * per_pick`` to ``(k + 1) * per_pick - 1``, the first of them where nothing tells them apart; a row of NaN only
        where there is no other.
    """
    nearest = np.where(np.isfinite(vectors).all(axis=1), np.inf, np.nan)
    picks = np.empty(len(vectors) // per_pick, np.int64)
    for k in range(len(picks)):
        candidates = slice(k * per_pick, (k + 1) * per_pick)
        picks[k] = candidates.start + np.argmax(np.nan_to_num(nearest[candidates], nan=-1.0, posinf=np.inf))
        rest = slice(candidates.stop, None)
        nearest[rest] = np.fmin(nearest[rest], np.linalg.norm(vectors[rest] - vectors[picks[k]], axis=1))
    return picks


def _chains(graph: MolecularGraph, atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """All bonded chains a-b-c-d of these atoms, (Q, 4), each in one direction."""
    bonded = {int(a): [int(b) for b in atoms if graph.topological_distances[a, b] == 1] for a in atoms}
    chains = [(a, b, c, d) for b in bonded for c in bonded[b] if b < c for a in bonded[b] for d in bonded[c] if len({a, b, c, d}) == 4]
    return np.array(chains, np.int64).reshape(-1, 4)


def _sorted_alike(values: NDArray[np.float64], kinds: list[tuple[Any, ...]]) -> NDArray[np.float64]:
    """The columns of `values` (B, D) regrouped by kind, and each row sorted within a kind."""
    columns: dict[tuple[Any, ...], list[int]] = {}
    for column, kind in enumerate(kinds):
        columns.setdefault(kind, []).append(column)
    return np.concatenate([np.empty((len(values), 0)), *(np.sort(values[:, c], axis=1) for c in columns.values())], axis=1)
