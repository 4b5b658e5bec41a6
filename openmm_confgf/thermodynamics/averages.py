"""Averages over the target, from weighted samples of something else."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from .bootstrap import REPLICATES, Estimate, estimate, resampled_sums
from .normalised import normalised_weights


def average(values: ArrayLike, log_w: ArrayLike, *, level: float = 0.95, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """The self-normalised average ``sum w f / sum w`` with a bootstrap interval.

    Its bias is of the order 1 / ESS, less than its error (Owen 2013, Monte Carlo theory, methods and examples, section 9.2).

    Parameters
    ----------
    values : array_like, (B,) or (B, K)
        One observable of each sample, or K, in any unit. Where the weight is zero they do not matter, and may be NaN.
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero.
    level, replicates, seed
        As in `estimate` and `resampled_sums`.

    Returns
    -------
    Estimate
        In the unit of the values: numbers, or arrays (K,).

    Raises
    ------
    ConfGFError
        If shapes disagree, a value of a sample with a weight is not finite, or as `normalised_weights`.

    Examples
    --------
    >>> average([0.0, 1.0, 5.0], [0.0, 0.0, -float("inf")]).value
    0.5
    """
    weights, observed = normalised_weights(log_w), np.asarray(values, np.float64)
    columns = weighted_values(observed.reshape(len(observed), -1) if observed.ndim else observed, weights)
    value = columns.sum(axis=0)
    sums = resampled_sums(np.column_stack([columns, weights]), replicates, seed)
    drawn = _ratio(sums[:, :-1], sums[:, -1:])
    return estimate(value if observed.ndim > 1 else value[0], drawn if observed.ndim > 1 else drawn[:, 0], level)


def weighted_values(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values times their weights; 0 where the weight is, whatever the value.

    Parameters
    ----------
    values : ndarray of float64, (B, K)
    weights : ndarray of float64, (B,)

    Returns
    -------
    ndarray of float64, (B, K)

    Raises
    ------
    ConfGFError
        If shapes disagree, or a value with a weight is not finite.
    """
    if values.ndim != 2 or len(values) != len(weights):
        raise ConfGFError(f"There are values of shape {values.shape} for {len(weights)} weights; give each sample its own.")
    counts = weights > 0
    if wrong := int((~np.isfinite(values[counts])).any(axis=1).sum()):
        raise ConfGFError(f"The observable of {wrong} samples with a weight is NaN or infinite; give one that is defined for all of them.")
    found = np.zeros(values.shape)
    found[counts] = values[counts] * weights[counts, None]
    return found


def _ratio(sums: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where no sample with a weight was drawn."""
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)
