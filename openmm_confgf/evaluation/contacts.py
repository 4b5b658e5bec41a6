"""Contacts of a peptide's residues that come and go."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from .sample_weights import sample_weights

CUTOFF = 0.8
"""nm between alpha carbons."""

BROKEN = 0.1
"""The share of an ensemble in which a weak contact is broken, at least."""


def contact_frequencies(carbons: NDArray[np.float64], weights: ArrayLike | None = None, cutoff: float = CUTOFF) -> NDArray[np.float64]:
    """In which share of an ensemble two residues are in contact.

    Parameters
    ----------
    carbons : ndarray of float64, (B, R, 3)
        Alpha carbons in nm.
    weights : array_like, (B,), optional
        As in `sample_weights`.
    cutoff : float
        nm; nearer alpha carbons are in contact.

    Returns
    -------
    ndarray of float64, (R, R)
    """
    counted = sample_weights(weights, len(carbons))
    found = np.zeros((carbons.shape[1],) * 2)
    for frame, weight in zip(carbons, counted.tolist(), strict=True):  # all frames together would not fit in memory
        found += weight * (np.linalg.norm(frame[:, None] - frame, axis=-1) < cutoff)
    return found


def weak_contact_jaccard(
    carbons: NDArray[np.float64],
    reference: NDArray[np.float64],
    start: NDArray[np.float64],
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
    *,
    cutoff: float = CUTOFF,
    broken: float = BROKEN,
) -> float:
    """Jaccard index of the weak contacts of both ensembles (AlphaFlow: Jing et al. 2024, doi:10.48550/arXiv.2402.04845).

    A contact is weak if it is there in the starting structure and broken in more than a tenth of the ensemble. The index is the number
    that both have over the number that one or both have.

    Parameters
    ----------
    carbons : ndarray of float64, (A, R, 3)
        Alpha carbons in nm.
    reference : ndarray of float64, (B, R, 3)
        nm.
    start : ndarray of float64, (R, 3)
        nm, of the structure that the reference started from: there, a crystal structure.
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.
    cutoff : float
        nm.
    broken : float
        Share of an ensemble.

    Returns
    -------
    float
        0 to 1; NaN where neither has weak contacts, as in peptides of few residues.

    Raises
    ------
    ConfGFError
        If the residues are not as many in all, a position is not finite, or as `sample_weights`.
    """
    ours, theirs, first = (np.asarray(given, np.float64) for given in (carbons, reference, start))
    if ours.ndim != 3 or theirs.ndim != 3 or not ours.shape[1:] == theirs.shape[1:] == first.shape or first.shape[-1] != 3:
        raise ConfGFError(f"The alpha carbons have shapes {ours.shape}, {theirs.shape} and {first.shape}; give those of the same residues.")
    if not all(np.isfinite(given).all() for given in (ours, theirs, first)):
        raise ConfGFError("A position is not finite; leave out the conformations whose status is not OK.")
    made = contact_frequencies(first[None], cutoff=cutoff) > 0
    # rounding of a sum of weights makes no contact weak
    limit = 1 - broken - 1e-12
    weak = made & (contact_frequencies(ours, weights, cutoff) < limit)
    weak_reference = made & (contact_frequencies(theirs, reference_weights, cutoff) < limit)
    either = int((weak | weak_reference).sum())
    return int((weak & weak_reference).sum()) / either if either else float("nan")
