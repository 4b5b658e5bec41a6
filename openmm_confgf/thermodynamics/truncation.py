"""Large weights made smaller: less variance for some bias, which nothing measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from .normalised import checked_log_weights


def truncated(log_w: ArrayLike, fraction: float) -> tuple[NDArray[np.float64], int]:
    """Weights of which the largest are lowered to the largest of the others (truncated importance sampling).

    Ionides 2008, doi:10.1198/106186008X320456, with a share of the samples in place of a bound. Averages are biased by it, and log Z is
    too low.

    Parameters
    ----------
    log_w : array_like, (B,)
        Logarithms of the weights; -inf where a weight is zero.
    fraction : float
        Of all samples, those with zero weight included: 0.001 lowers the largest thousandth. At least 0, and less than 1.

    Returns
    -------
    log_w : ndarray of float64, (B,)
    count : int
        How many were lowered: the whole part of ``fraction * B``, less those that are equal to the largest of the others.

    Raises
    ------
    ConfGFError
        If no sample has a weight or is left as it is, one is NaN or +inf, or the fraction is out of range.

    Examples
    --------
    >>> truncated([0.0, 3.0, 1.0, 2.0], 0.25)
    (array([0., 2., 1., 2.]), 1)
    """
    logs = checked_log_weights(log_w)
    if not 0 <= fraction < 1:
        raise ConfGFError(f"A fraction of {fraction:g} of the weights cannot be truncated; give one from 0 to below 1, such as 0.001.")
    # a fraction such as 0.29 is a little less in binary
    largest = int(fraction * len(logs) + 1e-9)
    if not largest:
        return logs.copy(), 0
    bound = np.sort(logs)[-largest - 1]
    if not np.isfinite(bound):
        raise ConfGFError(f"All samples with a weight are among the {largest} of {len(logs)} that would be truncated; truncate fewer.")
    return np.minimum(logs, bound), int((logs > bound).sum())
