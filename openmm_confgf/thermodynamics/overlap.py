"""How much two targets have in common that the same samples are weighed for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfGFError
from .mbar import LEAST_OVERLAP
from .normalised import normalised_weights


def overlap(first: ArrayLike, second: ArrayLike) -> float:
    """``sum 2 a b / (a + b)`` over samples with the normalised weights a and b: 1 for targets that are the same, 0 for distant ones.

    It estimates ``2 integral p_a p_b / (p_a + p_b)``, which the entry of the overlap matrix of `mbar` tends to that has as many samples of
    either target (Klimovich, Shirts & Mobley 2015, doi:10.1007/s10822-015-9840-9). Where few samples decide the weights it is small as
    well, since these are as seldom in the other target.

    Parameters
    ----------
    first, second : array_like, (B,)
        Logarithms of the weights for either target, with any constant added; -inf where a weight is zero.

    Raises
    ------
    ConfGFError
        If they are not of the same number of samples, or as `normalised_weights`.

    Examples
    --------
    >>> round(overlap([0.0, 0.0, -np.inf], [0.0, 0.0, 0.0]), 3)  # 2 (2/3 and 1/3 of it)
    0.8
    """
    a, b = normalised_weights(first), normalised_weights(second)
    if len(a) != len(b):
        raise ConfGFError(f"There are weights of {len(a)} and of {len(b)} samples; give both of the same samples.")
    both = a + b
    return float(np.divide(2 * a * b, both, out=np.zeros_like(a), where=both > 0).sum())


def check_overlap(first: ArrayLike, second: ArrayLike, names: str) -> float:
    """The overlap, once it is known to be enough for a number.

    Parameters
    ----------
    first, second : array_like, (B,)
        As in `overlap`.
    names : str
        What the targets are called, for the message.

    Raises
    ------
    ConfGFError
        If it is below `LEAST_OVERLAP`, or as `overlap`.
    """
    found = overlap(first, second)
    if found < LEAST_OVERLAP:
        raise ConfGFError(
            f"The weights of {names} do not overlap ({found:.2g} where at least {LEAST_OVERLAP} is needed), and these samples say "
            "nothing of the one that they were not made for; draw more of them, go by levels between, or sample the other one."
        )
    return found
