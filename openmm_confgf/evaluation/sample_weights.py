"""How much each sample counts in a metric, and fewer of them where all would be too many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..thermodynamics.normalised import normalised_weights
from ..thermodynamics.resampling import resample
from ..units import in_md_units, kT


def sample_weights(weights: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Weights that sum to one: those that were given, or equal ones.

    Parameters
    ----------
    weights : array_like, (B,), optional
        Of any sum, none below 0.
    count : int
        B.

    Returns
    -------
    ndarray of float64, (B,)

    Raises
    ------
    ConfGFError
        If there are no samples, another number of weights, or one is negative or not finite, or all are 0.

    Examples
    --------
    >>> sample_weights([1, 3], 2), sample_weights(None, 2)
    (array([0.25, 0.75]), array([0.5, 0.5]))
    """
    if count < 1:
        raise ConfGFError("There are no samples to compare; leave the molecule out, or draw samples until some are OK.")
    if weights is None:
        return np.full(count, 1 / count)
    given = np.asarray(weights, np.float64)
    if given.shape != (count,):
        raise ConfGFError(f"There are weights of shape {given.shape} for {count} samples; give one each.")
    if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise ConfGFError("Weights of samples are finite, not negative and not all 0; exp(log w - max log w) makes such of logarithms.")
    return np.asarray(given / given.sum())


def boltzmann_weights(energy: Any, temperature: Any) -> NDArray[np.float64]:
    """Boltzmann populations of states that have an energy each, such as minima: ``exp(-E_i / kT) / sum_j exp(-E_j / kT)``.

    Parameters
    ----------
    energy : array_like or Quantity, (K,)
        kJ/mol; +inf for a state that is never taken.
    temperature : float or Quantity
        K.

    Returns
    -------
    ndarray of float64, (K,)

    Raises
    ------
    ConfGFError
        If no energy is finite, or one is NaN or -inf.
    ValueError
        If the temperature is none, as in `kT`.

    Examples
    --------
    >>> boltzmann_weights([0.0, kT(300) * np.log(3), np.inf], 300).round(6)
    array([0.75, 0.25, 0.  ])
    """
    return normalised_weights(-np.asarray(in_md_units(energy), np.float64) / kT(temperature))


def thinned(weights: NDArray[np.float64], most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All samples, or `most` of them where there are more: some of those that count alike, else as often as their weights say.

    Parameters
    ----------
    weights : ndarray of float64, (B,)
        As of `sample_weights`.
    most : int
    seed : int

    Returns
    -------
    indices : ndarray of int64, (n,)
        At most `most`, increasing.
    weights : ndarray of float64, (n,)
        Theirs, which sum to one.
    """
    count = len(weights)
    if count <= most:
        return np.arange(count), weights
    if (weights == weights[0]).all():
        indices = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    else:
        with np.errstate(divide="ignore"):
            indices = resample(np.log(weights), most, seed)
    return indices, np.full(most, 1 / most)
