"""How many steps of a simulation make one independent sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfGFError
from .mbar import quiet_pymbar


def statistical_inefficiency(chains: NDArray[np.float64]) -> float:
    """How many frames are worth one independent sample, ``g = 1 + 2 sum_t (1 - t / T) C(t)``, by pymbar.

    The normalised autocorrelation C is averaged over chains, and summed until it first crosses zero (Chodera et al. 2007,
    doi:10.1021/ct0502864).

    Parameters
    ----------
    chains : ndarray of float64, (C, T)
        C chains of T values each, in their order; of any unit. Take the slowest observable, and the cosine or sine of an angle.

    Returns
    -------
    float
        At least 1.

    Raises
    ------
    ConfGFError
        If a value is not finite, or they do not vary.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((10, 1000))
    >>> statistical_inefficiency(noise) < 1.2 < statistical_inefficiency(np.repeat(noise, 5, axis=1))
    True
    """
    if chains.ndim != 2 or not np.isfinite(chains).all() or not np.ptp(chains) > 0:
        raise ConfGFError(f"Values of shape {chains.shape} have no autocorrelation; give finite ones that vary, (chains, frames).")
    return float(quiet_pymbar().timeseries.statistical_inefficiency_multiple(chains))
