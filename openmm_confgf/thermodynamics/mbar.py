"""Free energies between states that have samples each: BAR and MBAR, by pymbar."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

from ..errors import ConfGFError

LEAST_OVERLAP = 0.03
"""Below it two states have nothing in common that a free energy could be told from."""


@dataclasses.dataclass(frozen=True)
class MBARResult:
    """Free energies of K states.

    Attributes
    ----------
    free_energies : ndarray of float64, (K,)
        In kT, relative to the first state.
    errors : ndarray of float64, (K,)
        Asymptotic standard errors of these in kT, for independent samples.
    overlap : ndarray of float64, (K, K)
        Symmetric: 1 for states that are the same, 0 for states without a common region.
    log_mixture : ndarray of float64, (B,)
        Logarithm of the density that all samples together were drawn from, ``sum_k N_k / N exp(f_k - u_k)``, in the unit of that of the
        first state, whose free energy is taken for 0. ``-u - log_mixture`` are log-weights of the pool for any other state u.
    """

    free_energies: NDArray[np.float64]
    errors: NDArray[np.float64]
    overlap: NDArray[np.float64]
    log_mixture: NDArray[np.float64]


def mbar(reduced: ArrayLike, counts: Sequence[int]) -> MBARResult:
    """The multistate Bennett acceptance ratio (Shirts & Chodera 2008, doi:10.1063/1.2978177); of two states it is BAR.

    A state is what its samples were drawn from: a density q that is known (``-log q``, so that its free energy is 0), or a System at a
    temperature (``U / kT``). Frames of MD are correlated: take every g-th, or multiply the errors by the root of g, g their
    `statistical_inefficiency`.

    The overlap of states i and j is ``N sum_n W_ni W_nj``, W the weights (N, K) of all samples in each state: pymbar's overlap matrix
    (Klimovich, Shirts & Mobley 2015, doi:10.1007/s10822-015-9840-9), divided by what it would be if the states were the same.

    Parameters
    ----------
    reduced : array_like, (K, B)
        Reduced energy of every sample in every state, without unit; +inf where the state has no density. The samples of the first state
        come first.
    counts : sequence of int, (K,)
        How many samples each state has, at least 1; they sum to B.

    Returns
    -------
    MBARResult

    Raises
    ------
    ConfGFError
        If shapes disagree, an energy is NaN or -inf, or that of a sample in its own state is not finite; if states do not overlap, by
        way of others neither (`LEAST_OVERLAP`).
    """
    energies, numbers = np.asarray(reduced, np.float64), np.asarray(counts)
    if energies.ndim != 2 or numbers.shape != energies.shape[:1] or numbers.sum() != energies.shape[1] or (numbers < 1).any():
        raise ConfGFError(
            f"Reduced energies of shape {energies.shape} do not fit states of {numbers.tolist()} samples; give every sample's in each "
            "state, and each state at least one sample."
        )
    if wrong := int((np.isnan(energies) | (energies == -np.inf)).any(axis=0).sum()):
        raise ConfGFError(f"{wrong} samples have a reduced energy of NaN or -inf; give finite ones, and +inf where a state has no density.")
    own = energies[np.repeat(np.arange(len(numbers)), numbers), np.arange(energies.shape[1])]
    if wrong := int(np.isinf(own).sum()):
        raise ConfGFError(f"{wrong} samples have no density in the state that they come from; leave them out, or evaluate them anew.")
    # states without any common region have no equations to solve
    _refuse_apart(np.array([[np.isfinite(part).any() for part in np.split(row, numbers.cumsum()[:-1])] for row in energies]).astype(float))
    # the solver that never leaves the region where it converges
    found = quiet_pymbar().MBAR(energies, numbers, solver_protocol="robust")
    weights = found.weights()
    overlap = numbers.sum() * weights.T @ weights
    _refuse_apart(overlap)
    differences = found.compute_free_energy_differences()
    free = differences["Delta_f"][0]
    log_mixture = logsumexp(free[:, None] - energies, axis=0, b=(numbers / numbers.sum())[:, None])
    return MBARResult(free, differences["dDelta_f"][0], overlap, log_mixture)


def quiet_pymbar() -> Any:
    """The module pymbar, without its notice of several lines that jax is missing, which it can do without."""
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import pymbar
    finally:
        logger.setLevel(level)
    return pymbar


def _refuse_apart(overlap: NDArray[np.float64]) -> None:
    near = np.minimum(overlap, overlap.T) >= LEAST_OVERLAP
    groups, member = connected_components(near, directed=False)
    if groups > 1:
        apart = " and ".join(str([int(state) for state in np.flatnonzero(member == group)]) for group in range(groups))
        largest = max(float(overlap[i, j]) for i in range(len(member)) for j in range(len(member)) if member[i] != member[j])
        raise ConfGFError(
            f"The samples of states {apart} do not overlap ({largest:.2g} where at least {LEAST_OVERLAP} is needed), and no free energy "
            "between them can be told; add states between them, or bring the generator closer to its target."
        )
