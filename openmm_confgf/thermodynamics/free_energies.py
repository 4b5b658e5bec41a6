"""How much more often the target is in one state than in another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfGFError
from ..units import kT
from .bootstrap import REPLICATES, Estimate, estimate, resampled_sums
from .normalised import checked_log_weights, normalised_weights


def free_energy_difference(
    first: ArrayLike,
    second: ArrayLike,
    log_w: ArrayLike,
    temperature: Any,
    *,
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """``F(second) - F(first) = -kT ln(sum of w in second / sum of w in first)``, with a bootstrap error.

    Parameters
    ----------
    first, second : array_like of bool, (B,)
        Which samples are in each state.
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero.
    temperature : float or Quantity
        K.
    level, replicates, seed
        As in `estimate` and `resampled_sums`.

    Returns
    -------
    Estimate
        kJ/mol. The error is infinite where a replicate has no sample in one of the states, which are then too few.

    Raises
    ------
    ConfGFError
        If a mask has another length or none of its samples has a weight, or as `normalised_weights`.
    ValueError
        If the temperature is none, as in `kT`.

    Examples
    --------
    >>> import numpy as np
    >>> right = np.array([True, True, True, False])
    >>> round(free_energy_difference(right, ~right, np.zeros(4), 300).value / kT(300), 6)  # ln 3
    1.098612
    """
    weights = normalised_weights(log_w)
    masks = [np.asarray(mask) for mask in (first, second)]
    for name, mask in zip(("first", "second"), masks, strict=True):
        if mask.dtype != bool or mask.shape != weights.shape:
            raise ConfGFError(
                f"The {name} state is {mask.dtype} of shape {mask.shape}; give True or False for each of {len(weights)} samples."
            )
        if not weights[mask].any():
            raise ConfGFError(
                f"No sample with a weight is in the {name} state, which has no free energy then; draw more samples, or widen it."
            )
    terms = weights[:, None] * np.column_stack(masks)
    thermal = kT(temperature)
    sums = np.vstack([terms.sum(axis=0), resampled_sums(terms, replicates, seed)])
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = -thermal * (np.log(sums[:, 1]) - np.log(sums[:, 0]))
    return estimate(differences[0], differences[1:], level)


def free_energy_between(
    first: ArrayLike, second: ArrayLike, temperature: Any, *, level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> Estimate:
    """``F(second) - F(first) = -kT ln(sum of w in second / sum of w in first)`` of two targets that the same samples are weighed for.

    Where the samples are those of the first target, it is the formula of Zwanzig (1954, doi:10.1063/1.1740409). Both sums have the same
    samples in each replicate of the bootstrap, so that what they have in common cancels.

    Parameters
    ----------
    first, second : array_like, (B,)
        Logarithms of the weights for either target, with one constant added to both; -inf where a weight is zero.
    temperature : float or Quantity
        K.
    level, replicates, seed
        As in `estimate` and `resampled_sums`.

    Returns
    -------
    Estimate
        kJ/mol.

    Raises
    ------
    ConfGFError
        If they are not of the same number of samples, or as `checked_log_weights`.
    ValueError
        If the temperature is none, as in `kT`.

    Examples
    --------
    A spring that becomes four times as stiff costs kT ln 2:

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal(100_000)
    >>> found = free_energy_between(np.zeros(100_000), -1.5 * x**2, 300)
    >>> round(found.value / kT(300), 2)
    0.69
    """
    logs = [checked_log_weights(one) for one in (first, second)]
    if len(logs[0]) != len(logs[1]):
        raise ConfGFError(f"There are weights of {len(logs[0])} and of {len(logs[1])} samples; give both of the same samples.")
    largest = np.array([one.max() for one in logs])
    terms, thermal = np.exp(np.column_stack(logs) - largest), kT(temperature)
    sums = np.vstack([terms.sum(axis=0), resampled_sums(terms, replicates, seed)])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(sums) + largest
        differences = -thermal * (found[:, 1] - found[:, 0])
    return estimate(differences[0], differences[1:], level)
