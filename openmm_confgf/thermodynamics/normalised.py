"""Weights that sum to one, and what is taken for logarithms of weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError


def checked_log_weights(log_w: ArrayLike) -> NDArray[np.float64]:
    """Logarithms of weights as an array, once they are known to be some.

    Parameters
    ----------
    log_w : array_like, (B,)
        With any constant added; -inf where a weight is zero.

    Returns
    -------
    ndarray of float64, (B,)

    Raises
    ------
    ConfGFError
        If they have another shape, no sample has a weight, or one is NaN or +inf.
    """
    logs = np.asarray(log_w, np.float64)
    if logs.ndim != 1:
        raise ConfGFError(f"Logarithms of weights have shape {logs.shape}; give one for each sample.")
    if wrong := int((np.isnan(logs) | (logs == np.inf)).sum()):
        raise ConfGFError(f"{wrong} of {len(logs)} logarithms of weights are NaN or +inf; give finite ones, and -inf for a weight of zero.")
    if not np.isfinite(logs).any():
        raise ConfGFError(f"None of {len(logs)} samples has a weight: none lies where the target has density; draw others, or more.")
    return logs


def normalised_weights(log_w: ArrayLike) -> NDArray[np.float64]:
    """Weights that sum to one.

    Parameters
    ----------
    log_w : array_like, (B,)
        As in `checked_log_weights`.

    Returns
    -------
    ndarray of float64, (B,)

    Raises
    ------
    ConfGFError
        As `checked_log_weights`.

    Examples
    --------
    >>> normalised_weights([1000.0, 1000.0, -float("inf")])
    array([0.5, 0.5, 0. ])
    """
    logs = checked_log_weights(log_w)
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())
