"""Wasserstein-2 distances between weighted samples, by POT (Flamary et al. 2021, jmlr.org/papers/v22/20-451.html)."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from .sample_weights import sample_weights

MOST_SAMPLES = 1000
"""Of each side whose plan is looked for: it takes some seconds, and time grows with the third power."""

_MOST_ITERATIONS = 10_000_000


def wasserstein_on_line(
    values: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None, reference_weights: ArrayLike | None = None
) -> float:
    """Wasserstein-2 distance of two distributions of one number, exactly, of their quantile functions Q.

    ``W2 = sqrt(int_0^1 (Q(p) - Q_ref(p))^2 dp)`` (Peyré & Cuturi 2019, doi:10.1561/2200000073, remark 2.30).

    Parameters
    ----------
    values : array_like, (A,)
    reference : array_like, (B,)
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.

    Returns
    -------
    float
        In the unit of the values.

    Raises
    ------
    ConfGFError
        If a value is not finite, or as `sample_weights`.

    Examples
    --------
    >>> wasserstein_on_line([0, 1], [0, 3])  # sqrt((0 + 2^2) / 2)
    1.4142135623730951
    """
    import ot

    first, second = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if first.ndim != 1 or second.ndim != 1 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ConfGFError("Give one finite value of each sample; leave out the samples that have none.")
    ours, theirs = sample_weights(weights, len(first)), sample_weights(reference_weights, len(second))
    return math.sqrt(max(0.0, float(ot.wasserstein_1d(first, second, ours, theirs, p=2))))


def wasserstein(
    squared_distances: NDArray[np.float64], weights: NDArray[np.float64] | None = None, reference_weights: NDArray[np.float64] | None = None
) -> float:
    """Wasserstein-2 distance of two sets of samples in any space: ``W2^2 = min_P sum_ij P_ij d_ij^2`` (Peyré & Cuturi 2019, eq. 2.11).

    The plan P has the weights as its sums. It is the exact one, by the network simplex.

    Parameters
    ----------
    squared_distances : ndarray of float64, (A, B)
    weights, reference_weights : ndarray of float64, (A,) and (B,), optional
        As in `sample_weights`.

    Returns
    -------
    float
        In the unit of the distances.

    Raises
    ------
    ConfGFError
        If a distance is not finite, the plan is not found, or as `sample_weights`.

    Examples
    --------
    >>> wasserstein(np.array([[0.0, 9.0], [1.0, 4.0]]))
    1.4142135623730951
    """
    import ot

    costs = np.ascontiguousarray(squared_distances, np.float64)
    if costs.ndim != 2 or not np.isfinite(costs).all():
        raise ConfGFError("Give a finite squared distance from each sample to each of the reference.")
    ours, theirs = sample_weights(weights, costs.shape[0]), sample_weights(reference_weights, costs.shape[1])
    with warnings.catch_warnings():
        # what it warns of is in the log
        warnings.simplefilter("ignore")
        square, log = ot.emd2(ours, theirs, costs, numItermax=_MOST_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise ConfGFError(f"No plan of transport was found ({log['warning']}); take fewer samples.")
    return math.sqrt(max(0.0, float(square)))
