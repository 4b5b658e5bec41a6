"""Whether chains have forgotten where they started."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

AGREEMENT = 1.01
"""R-hat above which chains do not agree yet (Vehtari et al. 2021, doi:10.1214/20-BA1221)."""


def r_hat(chains: NDArray[np.float64]) -> float:
    """Split R-hat: 1 where the halves of all chains agree in their mean, above 1.01 where they do not yet.

    ``sqrt([(n - 1) / n W + B / n] / W)`` of the variances within and between half chains of length n (Gelman et al. 2013, section 11.4).

    Parameters
    ----------
    chains : ndarray of float64, (C, T)
        C chains of T values each, in their order; of any unit, which makes no difference.

    Returns
    -------
    float
        NaN for fewer than four values each.
    """
    half = chains.shape[1] // 2
    if half < 2:
        return math.nan
    halves = np.concatenate([chains[:, :half], chains[:, -half:]])
    within = halves.var(1, ddof=1).mean()
    between = half * halves.mean(1).var(ddof=1)
    return float(np.sqrt(((half - 1) / half * within + between / half) / within))
