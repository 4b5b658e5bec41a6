"""How many samples of the target weighted ones are worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .normalised import checked_log_weights


def effective_sample_size(log_w: ArrayLike) -> float:
    """Kish's effective sample size, ``(sum w)^2 / sum w^2`` (Kish 1965, Survey Sampling, section 11.7).

    It sees the weights that were drawn, and no others: where the largest were not drawn yet, it is far too high. `pareto_k` tells.

    Parameters
    ----------
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero.

    Returns
    -------
    float
        Between 1 and B.

    Raises
    ------
    ConfGFError
        If no sample has a weight, or one is NaN or +inf.

    Examples
    --------
    >>> effective_sample_size([5.0, 5.0, 5.0, -float("inf")])
    3.0
    """
    logs = checked_log_weights(log_w)
    weights = np.exp(logs - logs.max())
    return float(weights.sum() ** 2 / np.square(weights).sum())
