"""Distances between atoms, distributed as in the reference? One by one, two by two, and all together: the third task of ConfGF's paper."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from .sample_weights import sample_weights, thinned

MOST_SAMPLES = 200
"""Of each side: all pairs of samples are looked at for each pair of distances."""

MOST_PAIRS = 300
"""Pairs of distances that are looked at."""

FARTHEST_BONDS = 3
"""Bonds between the two atoms of a distance, at most: the edges of ConfGF's graph."""

_BANDWIDTHS = 5


@dataclasses.dataclass(frozen=True)
class DistanceMMD:
    """Squared maximum mean discrepancies of the distances between heavy atoms, at most three bonds apart.

    Attributes
    ----------
    single, pair : float
        Means over the distances, and over pairs of them.
    all : float
        Of all distances as one vector.
    """

    single: float
    pair: float
    all: float


def squared_mmd(
    values: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None, reference_weights: ArrayLike | None = None
) -> float:
    """Squared maximum mean discrepancy, ``<k(x, x')> + <k(y, y')> - 2 <k(x, y)>``.

    Gretton et al. 2012 (jmlr.org/papers/v13/gretton12a.html), eq. 5. With the kernel of ConfGF's published code, a sum of five Gaussians
    ``k(x, y) = sum_{j=-2..2} exp(-|x - y|^2 / (2^j s))``, where s is the mean of ``|x - y|^2`` over all pairs of different samples of both
    sides. The means hold the pairs of a sample with itself, so that n and m samples of one distribution give about
    ``(1 / n + 1 / m) (5 - <k>)``, and not 0.

    Parameters
    ----------
    values : array_like, (A, D)
    reference : array_like, (B, D)
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.

    Returns
    -------
    float
        0 to 10.

    Raises
    ------
    ConfGFError
        If shapes disagree, a value is not finite, or as `sample_weights`.

    Examples
    --------
    >>> round(squared_mmd([[0.0]], [[7.0]]), 6)  # 2 (5 - e^-4 - e^-2 - e^-1 - e^-1/2 - e^-1/4)
    6.186276
    """
    ours, theirs = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if ours.ndim != 2 or theirs.ndim != 2 or ours.shape[1] != theirs.shape[1]:
        raise ConfGFError(f"The values have shapes {ours.shape} and {theirs.shape}; give the same of the samples of each side.")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ConfGFError("A value is not finite; leave out the samples that have none.")
    signed = np.concatenate([sample_weights(weights, len(ours)), -sample_weights(reference_weights, len(theirs))])
    both = np.concatenate([ours, theirs])
    squares = np.square(both[:, None] - both).sum(-1) if both.shape[1] < 3 else _squares(both)
    scale = squares.sum() / (len(both) ** 2 - len(both))
    if scale == 0:
        return 0.0
    # the broadest kernel first; each narrower one is the square of the last
    kernel = np.exp(-squares / (scale * 2.0 ** (_BANDWIDTHS // 2)))
    total = 0.0
    for _ in range(_BANDWIDTHS):
        total += float(signed @ kernel @ signed)
        kernel *= kernel
    return max(0.0, total)


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of all pairs, (n, n), of many columns."""
    centred = values - values.mean(axis=0)
    norms = np.square(centred).sum(-1)
    found = np.maximum(norms[:, None] + norms - 2 * centred @ centred.T, 0)
    np.fill_diagonal(found, 0)
    return np.asarray(found)


def distance_pairs(graph: MolecularGraph) -> NDArray[np.int64]:
    """The atoms whose distances are compared: heavy, and at most three bonds apart.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    ndarray of int64, (P, 2)
        Each pair once, i < j.
    """
    heavy = graph.heavy_atoms
    near = graph.topological_distances[np.ix_(heavy, heavy)] <= FARTHEST_BONDS
    rows, columns = np.nonzero(np.triu(near, 1))
    return np.column_stack([heavy[rows], heavy[columns]]).astype(np.int64)


def distance_mmd(
    graph: MolecularGraph,
    positions: NDArray[np.float64],
    reference: NDArray[np.float64],
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
    *,
    most: int = MOST_SAMPLES,
    seed: int = 0,
) -> DistanceMMD:
    """`squared_mmd` of the distances of a molecule (Simm & Hernández-Lobato 2020, doi:10.48550/arXiv.1909.11459; ConfGF, table 4).

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (A, N, 3)
        nm.
    reference : ndarray of float64, (B, N, 3)
        nm.
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.
    most : int
        Samples of each side that are compared, drawn where there are more.
    seed : int
        Of this draw, and of that of `MOST_PAIRS` pairs of distances where there are more.

    Returns
    -------
    DistanceMMD

    Raises
    ------
    ConfGFError
        If the molecule has fewer than three heavy atoms, and so no two distances, or as `squared_mmd`.
    """
    pairs = distance_pairs(graph)
    if len(pairs) < 2:
        raise ConfGFError(f"{graph.name!r} has fewer than two distances between heavy atoms; leave their distributions out.")
    rows, ours_w = thinned(sample_weights(weights, len(positions)), most, seed)
    columns, theirs_w = thinned(sample_weights(reference_weights, len(reference)), most, seed)
    ours, theirs = (
        np.linalg.norm(frames[:, pairs[:, 0]] - frames[:, pairs[:, 1]], axis=-1)
        for frames in (np.asarray(positions)[rows], np.asarray(reference)[columns])
    )
    twos = np.column_stack(np.triu_indices(len(pairs), 1))
    if len(twos) > MOST_PAIRS:
        twos = np.random.default_rng(seed).choice(twos, MOST_PAIRS, replace=False)
    single = [squared_mmd(ours[:, [k]], theirs[:, [k]], ours_w, theirs_w) for k in range(len(pairs))]
    pair = [squared_mmd(ours[:, two], theirs[:, two], ours_w, theirs_w) for two in twos]
    return DistanceMMD(float(np.mean(single)), float(np.mean(pair)), squared_mmd(ours, theirs, ours_w, theirs_w))
