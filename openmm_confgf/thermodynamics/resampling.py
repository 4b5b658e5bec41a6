"""Samples of the target without weights, from weighted ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from .normalised import normalised_weights


def resample(log_w: ArrayLike, n: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of samples, each as often as its weight says: systematic resampling.

    One random number u shifts n equally spaced points ``(k + u) / n``, and each takes the sample whose share of the cumulated weights it
    falls into (Kitagawa 1996, doi:10.1080/10618600.1996.10474692): sample i comes ``n w_i`` times, rounded up or down. Of few effective
    samples, many are copies.

    Parameters
    ----------
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero.
    n : int
        How many are wanted, at least 1.
    seed : int

    Returns
    -------
    ndarray of int64, (n,)
        In increasing order.

    Raises
    ------
    ConfGFError
        If n is less than 1, or as `normalised_weights`.

    Examples
    --------
    >>> import numpy as np
    >>> resample(np.log([0.5, 0.25, 0.25]), 4).tolist()
    [0, 0, 1, 2]
    """
    if n < 1:
        raise ConfGFError(f"{n} samples cannot be drawn; ask for at least 1.")
    weights = normalised_weights(log_w)
    cumulated = weights.cumsum()
    points = (np.arange(n) + np.random.default_rng(seed).random()) / n
    # rounding may leave the sum a little below the last point
    chosen = np.searchsorted(cumulated / cumulated[-1], points, side="right")
    return np.minimum(chosen, np.flatnonzero(weights)[-1])
