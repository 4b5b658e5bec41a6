"""How much more often the target is in one state than in another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfGFError
from ..units import kT
from .bootstrap import REPLICATES, Estimate, estimate, resampled_sums
from .normalised import normalised_weights


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
