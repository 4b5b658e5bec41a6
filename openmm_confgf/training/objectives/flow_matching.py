"""Flow matching: the velocity that carries noise to molecules, from pairs of both. Tensors in, a tensor out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.egnn import masked_positions

JITTER = 0.01
"""Standard deviation of the noise about the straight path, in the network's unit of length."""

_ROUNDS = 20
"""Alignments and assignments in turn, each of which comes closer, until nothing changes; it takes some three."""


def flow_matching_loss(
    network: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor],
    t: Tensor,
    noise: Tensor,
    positions: Tensor,
    jitter: Tensor,
    features: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean squared error of a velocity on straight paths (Lipman et al. 2022, doi:10.48550/arXiv.2210.02747).

    ``|v(t, x_t) - (x_1 - x_0)|^2`` at ``x_t = (1 - t) x_0 + t x_1 + 0.01 jitter`` (Klein & Noe 2024, doi:10.48550/arXiv.2406.14426).

    Parameters
    ----------
    network : callable
        As `models.egnn.EGNN`.
    t : Tensor, (B,)
        Uniform in [0, 1).
    noise : Tensor, (B, N, 3)
        ``x_0``, standard normal without a mean.
    positions : Tensor, (B, N, 3)
        ``x_1``, in the network's unit of length, without a mean.
    jitter : Tensor, (B, N, 3)
        Standard normal.
    features : Tensor, (B, N, F) or (N, F)
    mask : Tensor of bool, (B, N), optional
        True for an atom, False for padding.

    Returns
    -------
    Tensor, ()
        Over the coordinates of all atoms of the batch.
    """
    time = t[:, None, None]
    on_path = (1 - time) * noise + time * positions + JITTER * jitter
    error = masked_positions(network(t, on_path, features, mask) - (positions - noise), mask)
    count = error.numel() if mask is None else 3 * mask.sum()
    return error.square().sum() / count


def optimal_coupling(noise: Tensor, positions: Tensor, classes: Tensor, mask: Tensor | None = None, *, reflections: bool = True) -> Tensor:
    """Noise turned, and permuted among atoms that are alike, so that it is as near to its molecule as can be found.

    Straight paths are shorter and cross less then (Klein, Kraemer & Noe 2023, doi:10.48550/arXiv.2306.15030). The best assignment
    (Hungarian) and the best rotation (Kabsch 1976, doi:10.1107/S0567739476001873) are found in turn until nothing changes. What is noise
    stays noise, as a flow sees it, only if its field turns and permutes with the positions: atoms of one class must have the same features.

    Parameters
    ----------
    noise, positions : Tensor, (B, N, 3)
        Without a mean, padding at 0.
    classes : Tensor of int64, (N,) or (B, N)
        Equal for atoms that can be exchanged.
    mask : Tensor of bool, (B, N), optional
        True for an atom, False for padding.
    reflections : bool
        Whether noise may be reflected too, as it may for a field that is equivariant under reflections, as an EGNN is.

    Returns
    -------
    Tensor, (B, N, 3)
    """
    given, clean = noise.detach().cpu().double().numpy(), positions.detach().cpu().double().numpy()
    kinds = classes.expand(noise.shape[:2]).cpu().numpy()
    real = np.ones(noise.shape[:2], dtype=bool) if mask is None else mask.cpu().numpy()
    found = np.zeros_like(given)
    for k, atoms in enumerate(real):
        found[k, atoms] = _nearest(given[k, atoms], clean[k, atoms], kinds[k, atoms], reflections)
    return torch.from_numpy(found).to(noise)


def _nearest(noise: NDArray[np.float64], clean: NDArray[np.float64], kinds: NDArray[np.int64], reflections: bool) -> NDArray[np.float64]:
    """Of one molecule, (n, 3)."""
    # trainings without this coupling need no scipy
    from scipy.optimize import linear_sum_assignment

    groups = [rows for kind in np.unique(kinds) if len(rows := np.flatnonzero(kinds == kind)) > 1]
    order, turn = np.arange(len(noise)), np.eye(3)
    for _ in range(_ROUNDS):
        before = order.copy()
        turned = noise @ turn.T
        for rows in groups:
            # least squares over permutations: the largest sum of scalar products
            order[rows] = rows[linear_sum_assignment(clean[rows] @ turned[rows].T, maximize=True)[1]]
        turn = _kabsch(noise[order], clean, reflections)
        if (order == before).all():
            break
    return noise[order] @ turn.T


def _kabsch(noise: NDArray[np.float64], clean: NDArray[np.float64], reflections: bool) -> NDArray[np.float64]:
    """The orthogonal matrix (3, 3) that brings noise nearest to positions."""
    left, _, right = np.linalg.svd(clean.T @ noise)
    if not reflections and np.linalg.det(left @ right) < 0:
        left[:, -1] *= -1
    return left @ right
