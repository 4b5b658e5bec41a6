"""From noise to conformations: the samplers, as functions of a score or a denoiser. Lengths in Angstrom."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

SCORE_LIMIT = 1000.0
"""Largest norm of an atom's score in `annealed_langevin` (released ConfGF code)."""


def annealed_langevin(
    score: Callable[[Tensor, Tensor], Tensor],
    positions: Tensor,
    sigmas: Tensor,
    step_sizes: Tensor,
    steps_per_level: int,
    noise: Callable[[], Tensor],
) -> Tensor:
    """Annealed Langevin dynamics, ``R <- R + a_i s(R, sigma_i) + sqrt(2 a_i) z``.

    Algorithm 1 of Shi et al. 2021 (doi:10.48550/arXiv.2105.03902); the limit of the score is that of its released code.

    Parameters
    ----------
    score : callable of (positions, sigma)
        Gives s, (..., D) in 1/Angstrom.
    positions : Tensor, (..., D)
        Where to start, in Angstrom. Positions of atoms, or distances with D = 1: `SCORE_LIMIT` is on the norm over the last axis.
    sigmas, step_sizes : Tensor, (L,)
        Noise levels in Angstrom, largest first, and the step size a_i of each in Angstrom^2.
    steps_per_level : int
    noise : callable
        A new standard normal tensor of the shape of ``positions`` at each call.

    Returns
    -------
    Tensor, (..., D)
        Angstrom.
    """
    for sigma, step in zip(sigmas, step_sizes, strict=True):
        for _ in range(steps_per_level):
            drift = score(positions, sigma)
            norm = torch.linalg.vector_norm(drift, dim=-1, keepdim=True)
            drift = drift * (SCORE_LIMIT / norm.clamp_min(SCORE_LIMIT))
            positions = positions + step * drift + torch.sqrt(2 * step) * noise()
    return positions


def probability_flow(denoise: Callable[[Tensor, Tensor], Tensor], positions: Tensor, sigmas: Tensor) -> Tensor:
    """Solve ``dx / dsigma = (x - D(x, sigma)) / sigma`` down the noise levels with Euler steps, and denoise the last.

    The probability-flow ODE of noise with standard deviation sigma (Karras et al. 2022, eqs. 1 and 3, doi:10.48550/arXiv.2206.00364): with
    the exact denoiser, a start that is distributed like the noised conformations at the first level arrives distributed like the
    conformations. One call per level.

    Parameters
    ----------
    denoise : callable of (positions, sigma)
        Gives D, (..., N, 3) in Angstrom.
    positions : Tensor, (..., N, 3)
        Angstrom, at noise level ``sigmas[0]``.
    sigmas : Tensor, (L,)
        Angstrom, largest first.

    Returns
    -------
    Tensor, (..., N, 3)
        Angstrom.
    """
    for sigma, following in itertools.pairwise(sigmas):
        positions = positions + (following - sigma) / sigma * (positions - denoise(positions, sigma))
    return denoise(positions, sigmas[-1])


def mode_ascent(denoise: Callable[[Tensor, Tensor], Tensor], positions: Tensor, sigmas: Tensor, momentum: float = 0.8) -> Tensor:
    """Climb to a mode of the noised density: ``x <- D(y, sigma)`` with ``y = x + momentum (x - x_before)``.

    Since ``D(x, sigma) = x + sigma^2 grad log p_sigma(x)`` (Tweedie's formula; Efron 2011, doi:10.1198/jasa.2011.tm11181), this is gradient
    ascent with the step sigma^2 and heavy-ball momentum (Polyak 1964, doi:10.1016/0041-5553(64)90137-5), evaluated ahead (Nesterov 1983).
    The last step is taken without momentum. It moves samples to the conformation that they belong to, as a minimiser does in a force field,
    and keeps no density.

    Parameters
    ----------
    denoise : callable of (positions, sigma)
        Gives D, (..., N, 3) in Angstrom.
    positions : Tensor, (..., N, 3)
        Angstrom.
    sigmas : Tensor, (L,)
        Noise level of each step in Angstrom: the smaller, the sharper the modes and the slower the climb.
    momentum : float

    Returns
    -------
    Tensor, (..., N, 3)
        Angstrom.
    """
    velocity = torch.zeros_like(positions)
    for k, sigma in enumerate(sigmas):
        ahead = positions + momentum * velocity if k < len(sigmas) - 1 else positions
        climbed = denoise(ahead, sigma)
        velocity, positions = climbed - positions, climbed
    return positions


def embed_distances(distances: Tensor, start: Tensor, edges: Tensor, steps: int = 1000, learning_rate: float = 0.1) -> Tensor:
    """Positions whose distances are the given ones: the second stage of ConfGFDist (Shi et al. 2021, doi:10.48550/arXiv.2105.03902).

    Minimises ``sum (d_ij(R) - d_ij)^2`` with Adam (Kingma & Ba 2014, doi:10.48550/arXiv.1412.6980).

    Parameters
    ----------
    distances : Tensor, (K, E)
        d_ij in Angstrom.
    start : Tensor, (K, A, 3)
        Angstrom.
    edges : Tensor of int64, (E, 2)
        The atoms i and j of each distance.
    steps : int
    learning_rate : float

    Returns
    -------
    Tensor, (K, A, 3)
        Angstrom.
    """
    from ..molecules.geometry import distances as distances_of

    positions = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([positions], learning_rate)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            ((distances_of(positions, edges) - distances) ** 2).sum().backward()
            optimizer.step()
    return positions.detach()
