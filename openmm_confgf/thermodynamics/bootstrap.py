"""Errors of estimates that are functions of sums over samples, by drawing the samples again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATES = 400
"""Enough for an error to a few per cent, and for the ends of an interval of 95 % to be ten replicates in."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap error and interval. Arrays where several were estimated at once, numbers otherwise.

    Attributes
    ----------
    value : float or ndarray of float64
        From all samples.
    error : float or ndarray of float64
        Standard deviation over the replicates; +inf where one of them has no finite value.
    low, high : float or ndarray of float64
        Ends of the percentile interval of `level`.
    level : float
        The probability that the interval is made for.
    """

    value: Any
    error: Any
    low: Any
    high: Any
    level: float


def resampled_sums(terms: Any, replicates: int = REPLICATES, seed: int = 0) -> NDArray[np.float64]:
    """Sums over as many samples as there are, drawn from them with replacement (Efron 1979, doi:10.1214/aos/1176344552).

    Estimates that are ratios of sums, such as self-normalised averages, have their replicates from one call. Samples must be independent.

    Parameters
    ----------
    terms : ndarray of float64, (B, K), or scipy.sparse array
        What each sample adds to K sums.
    replicates : int
        R.
    seed : int

    Returns
    -------
    ndarray of float64, (R, K)
        In the unit of the terms.
    """
    stream, samples = np.random.default_rng(seed), terms.shape[0]
    sums = np.empty((replicates, terms.shape[1]))
    transposed = terms.T
    for replicate in sums:
        drawn = np.bincount(stream.integers(samples, size=samples), minlength=samples)
        replicate[:] = transposed @ drawn
    return sums


def estimate(value: NDArray[np.float64], replicates: NDArray[np.float64], level: float = 0.95) -> Estimate:
    """An estimate with the percentile interval of its replicates (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

    Parameters
    ----------
    value : ndarray of float64, (...)
        From all samples.
    replicates : ndarray of float64, (R, ...)
    level : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        Of numbers where `value` has no axis.
    """
    finite = np.isfinite(replicates)
    known = np.where(finite, replicates, 0.0).std(axis=0, ddof=1)
    error = np.where(finite.all(axis=0), known, np.inf)
    # between neighbours there is nothing to interpolate where one is infinite
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2], axis=0, method="nearest")
    if np.ndim(value):
        return Estimate(value, error, low, high, level)
    return Estimate(float(value), float(error), float(low), float(high), level)
