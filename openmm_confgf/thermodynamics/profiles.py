"""Free energies along torsions, in one dimension or two."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ..errors import ConfGFError
from ..units import in_md_units, kT
from .bootstrap import REPLICATES, estimate, resampled_sums
from .normalised import normalised_weights


@dataclasses.dataclass(frozen=True)
class TorsionProfile:
    """Free energy in bins of one torsion or two.

    Attributes
    ----------
    edges : ndarray of float64, (bins + 1,)
        Radians, from -pi to pi; those of both torsions where there are two.
    probability : ndarray of float64, (bins,) or (bins, bins)
        Share of the weights in each bin; they sum to one. The first axis is the first torsion.
    free_energy : ndarray of float64, (bins,) or (bins, bins)
        ``-kT ln probability`` in kJ/mol, above the lowest; +inf in bins without weight.
    error : ndarray of float64, (bins,) or (bins, bins)
        Its bootstrap error in kJ/mol: of the bin's own probability, the zero held fixed. +inf where samples are so few that a replicate has
        none in the bin, NaN in bins without weight.
    low, high : ndarray of float64, (bins,) or (bins, bins)
        Ends of the bootstrap interval in kJ/mol; NaN in bins without weight.
    temperature : float
        K.
    """

    edges: NDArray[np.float64]
    probability: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    temperature: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the bins in radians, (bins,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def free_energy_kT(self) -> NDArray[np.float64]:
        """The free energy in kT, in the shape of `free_energy`."""
        return self.free_energy / kT(self.temperature)


def torsion_profile(
    angles: ArrayLike,
    log_w: ArrayLike,
    temperature: Any,
    *,
    bins: int = 36,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> TorsionProfile:
    """The free energy along one torsion, or over the plane of two, with bootstrap errors.

    Parameters
    ----------
    angles : array_like, (B,) or (B, 2)
        Radians, of any turn. Where the weight is zero they do not matter, and may be NaN.
    log_w : array_like, (B,)
        Logarithms of the weights, with any constant added; -inf where a weight is zero, and zeros for samples of the target itself.
    temperature : float or Quantity
        K.
    bins : int
        Of each torsion.
    groups : array_like of int, (B,), optional
        Samples of one group depend on one another, as frames of one replica do: the bootstrap draws whole groups. Default: all are
        independent.
    level, replicates, seed
        As in `estimate` and `resampled_sums`.

    Returns
    -------
    TorsionProfile

    Raises
    ------
    ConfGFError
        If shapes disagree, an angle of a sample with a weight is not finite, there is no bin, or as `normalised_weights`.
    ValueError
        If the temperature is none, as in `kT`.

    Examples
    --------
    >>> torsion_profile([0.1, 0.2, 3.0, -3.0], [0.0] * 4, 300, bins=2).probability
    array([0.25, 0.75])
    """
    weights, turned, thermal = normalised_weights(log_w), np.asarray(angles, np.float64), kT(temperature)
    if turned.ndim not in (1, 2) or len(turned) != len(weights) or turned[:1].size not in (1, 2):
        raise ConfGFError(f"Angles have shape {turned.shape} for {len(weights)} weights; give one torsion or two of each sample.")
    if bins < 1:
        raise ConfGFError(f"{bins} bins hold no profile; take at least 1.")
    columns, counts = turned.reshape(len(turned), -1), weights > 0
    if wrong := int((~np.isfinite(columns[counts])).any(axis=1).sum()):
        raise ConfGFError(f"A torsion of {wrong} samples with a weight is NaN or infinite: three of its atoms are in line; take another.")
    place = np.zeros(columns.shape, np.int64)
    place[counts] = np.floor((columns[counts] / (2 * math.pi) + 0.5) % 1.0 * bins)
    # a little below a full turn, the remainder may be rounded up to one
    cell = np.minimum(place, bins - 1) @ bins ** np.arange(columns.shape[1])[::-1]
    rows = np.arange(len(weights)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if rows.shape != weights.shape:
        raise ConfGFError(f"There are groups of {len(rows)} samples for {len(weights)} weights; give the group of each.")
    terms = sparse.csr_array((weights, (rows, cell)), shape=(int(rows.max()) + 1, bins ** columns.shape[1]))
    sums = np.vstack([np.bincount(cell, weights, terms.shape[1]), resampled_sums(terms, replicates, seed)])
    with np.errstate(divide="ignore", invalid="ignore"):
        energies = -thermal * (np.log(sums) - np.log(sums.sum(axis=1, keepdims=True)))
    energies -= energies[0].min()
    found = estimate(energies[0], energies[1:], level)
    empty = np.isinf(energies[0])
    error, low, high = (np.where(empty, np.nan, values) for values in (found.error, found.low, found.high))
    shape = (bins,) * columns.shape[1]
    return TorsionProfile(
        edges=np.linspace(-math.pi, math.pi, bins + 1),
        probability=sums[0].reshape(shape),
        free_energy=energies[0].reshape(shape),
        error=error.reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
        temperature=float(in_md_units(temperature)),
    )
