"""Losses of a density that can be evaluated exactly, from conformations and their energies. Tensors in, a tensor out."""

from __future__ import annotations

import torch
from torch import Tensor

FARTHEST = 6.0
"""kT: a log-weight farther than that from the median counts as that far, so that one clash does not decide a step."""

LOWEST = 2.5
"""kT below the median, as far as which `log_variance` tells small weights apart: what is drawn too often costs effective samples as often
as it is drawn, what is drawn too seldom costs them by the square of its weight, and what pushes the former away pushes the latter, too."""

TEMPERED = 0.6
"""Share of the samples that must be effective after tempering."""

TRUNCATED = 0.005
"""Share of the weights that are lowered to the largest of the others, where samples to learn from are chosen by their weights."""

TRUSTED = 1.0
"""nats by which log q of a sample may move from where it was drawn."""

_BISECTIONS = 40
"""Halvings of the range of the power."""


def weighted_likelihood(log_q: Tensor, weights: Tensor) -> Tensor:
    """Maximum likelihood: the cross-entropy of the density with a weighted sample, ``-sum_k w_k log q(x_k) / sum_k w_k``.

    Parameters
    ----------
    log_q : Tensor, (B,)
    weights : Tensor, (B,)
        Not negative; they need not be normalised.

    Returns
    -------
    Tensor, ()
    """
    return -(weights * log_q).sum() / weights.sum()


def tempered_weights(log_weights: Tensor, share: float) -> Tensor:
    """Weights ``w^a`` with the largest a, up to 1, at which their effective sample size is a share of all.

    The power is found by bisection, as steps of annealed importance sampling are (Del Moral, Doucet & Jasra 2012,
    doi:10.1007/s11222-011-9271-y).

    Parameters
    ----------
    log_weights : Tensor, (B,)
        -inf where a weight is zero.
    share : float
        Between 0 and 1.

    Returns
    -------
    Tensor, (B,)
        Normalised; those that are zero stay so.
    """
    # -inf times 0 is none
    powers = lambda power: torch.softmax(torch.where(log_weights.isfinite(), power * log_weights, -torch.inf), 0)  # noqa: E731
    low, high = 0.0, 1.0
    if effective_share(powers(high)) >= share:
        return powers(high)
    for _ in range(_BISECTIONS):
        power = 0.5 * (low + high)
        low, high = (power, high) if effective_share(powers(power)) >= share else (low, power)
    return powers(low)


def effective_share(weights: Tensor) -> float:
    """Kish's effective sample size of normalised weights (B,), as a share of B."""
    return float(1 / (weights.square().sum() * len(weights)))


def log_variance(log_q: Tensor, log_target: Tensor, centre: Tensor, drawn: Tensor | None = None) -> Tensor:
    """Variance of the log-weights ``log p - log q``, cut off at both ends (Richter et al. 2020, arXiv:2010.10436).

    It is 0 where q is proportional to p, whatever distribution the sample is of. What is farther than `LOWEST` below the centre or than
    `FARTHEST` above it has the gradient of what is just as far as that: clashes are unlearnt, and what q nearly lacks is learnt, at a
    bounded pace. That pace has no end by itself, so that samples that are learnt from again and again can be pushed down until the density
    breaks: one whose log q has moved by `TRUSTED` since it was drawn, in the direction in which it is pushed, has no gradient (the clipped
    ratio of Schulman et al. 2017, arXiv:1707.06347, section 3).

    Parameters
    ----------
    log_q, log_target : Tensor, (B,)
        The latter not normalised; -inf where it is zero.
    centre : Tensor, ()
        A typical log-weight, such as the median of many.
    drawn : Tensor, (B,), optional
        log q of the density that the sample was drawn from; by default nothing is held back, nor where it is NaN.

    Returns
    -------
    Tensor, ()
    """
    away = (log_target - log_q - centre).detach().clamp(-LOWEST, FARTHEST)
    away = away - away.mean()
    # the gradient of a log-weight with respect to log q is -1, clamped or not
    moving = log_q - log_q.detach()
    if drawn is not None:
        moved = log_q.detach() - drawn
        moving = torch.where(torch.where(away < 0, moved < -TRUSTED, moved > TRUSTED), 0.0, moving)
    return (away - moving).square().mean()
