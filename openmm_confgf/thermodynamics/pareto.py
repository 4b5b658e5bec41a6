"""Pareto's k: whether the weights that were drawn tell of those that were not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .normalised import checked_log_weights

FEWEST_SAMPLES = 100
"""Samples with a weight below which the tail of the weights has too few of them to be told."""

_NOTHING = 1e-150
"""Of a weight beside the largest."""


def pareto_k(log_w: ArrayLike) -> float | None:
    """The shape of a generalised Pareto distribution fitted to the largest weights, k-hat, by ArviZ.

    Weights have finite moments up to the order 1 / k: a variance for k < 1/2, a mean for k < 1. Above `k_hat_threshold` estimates from so
    many samples cannot be relied upon, nor their error bars (Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3,
    doi:10.48550/arXiv.1507.02646).

    Parameters
    ----------
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero: these have no part in it.

    Returns
    -------
    float or None
        None for fewer than `FEWEST_SAMPLES` with a weight; -inf where the largest weights are all equal, so that there is no tail; +inf
        where a quarter of the tail is nothing beside the largest weight in double precision.

    Raises
    ------
    ConfGFError
        If no sample has a weight, or one is NaN or +inf.
    """
    logs = checked_log_weights(log_w)
    logs = logs[np.isfinite(logs)]
    if len(logs) < FEWEST_SAMPLES:
        return None
    # ArviZ's tail, and how far the weights in it exceed those before it
    tail = np.sort(logs)[-math.ceil(min(0.2 * len(logs), 3 * math.sqrt(len(logs)))) - 1 :]
    if tail[-1] - tail[0] < 1e-9:
        return -math.inf
    excess = np.exp(tail[1:] - tail[-1]) - np.exp(tail[0] - tail[-1])
    if excess[len(excess) // 4 - 1] < _NOTHING:
        # the fit divides by the lower quartile, and would answer a harmless 0
        return math.inf
    # loads for most of a second
    from arviz_stats.base.array import array_stats

    # it takes the logarithms of inverse weights, as leave-one-out validation has them
    return float(array_stats.psislw(logs.max() - logs)[1])


def k_hat_threshold(samples: int) -> float:
    """Up to which k-hat estimates from so many weighted samples can be relied upon, ``min(1 - 1 / log10 S, 0.7)``.

    Vehtari et al. 2024, section 3.2.4.

    Parameters
    ----------
    samples : int
        S, those with a weight; at least 2.

    Examples
    --------
    >>> round(k_hat_threshold(1000), 3), k_hat_threshold(100_000)
    (0.667, 0.7)
    """
    return min(1 - 1 / math.log10(samples), 0.7)
