"""How different two distributions over classes are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from ..errors import ConfGFError
from .sample_weights import sample_weights


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """Jensen-Shannon divergence (Lin 1991, doi:10.1109/18.61115).

    ``1/2 sum_i [p_i ln(p_i / m_i) + q_i ln(q_i / m_i)]`` with ``m = (p + q) / 2``: 0 for equal distributions, ln 2 = 0.693 for those that
    have no class in common. Frequencies of n and m samples of one distribution are ``(K - 1) (1 / n + 1 / m) / 8`` apart on average, where
    K classes are taken often.

    Parameters
    ----------
    first, second : array_like, (K,)
        Probabilities, frequencies or counts, of any sum.

    Returns
    -------
    float
        nats.

    Raises
    ------
    ConfGFError
        If they are of different lengths, or are no frequencies.

    Examples
    --------
    >>> round(jensen_shannon([1, 0], [0, 1]), 6), round(jensen_shannon([1, 0], [1, 1]), 6)
    (0.693147, 0.215762)
    """
    ours, theirs = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ConfGFError(f"The frequencies have shapes {ours.shape} and {theirs.shape}; give those of the same classes.")
    p, q = sample_weights(ours, len(ours)), sample_weights(theirs, len(ours))
    mean = (p + q) / 2
    return max(0.0, float(rel_entr(p, mean).sum() + rel_entr(q, mean).sum()) / 2)
