"""Properties of an ensemble as a whole: the second task of ConfGF's paper (Shi et al. 2021, doi:10.48550/arXiv.2105.03902, table 3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..units import in_md_units
from .sample_weights import sample_weights


@dataclasses.dataclass(frozen=True)
class EnsembleProperties:
    """Energies and HOMO-LUMO gaps of an ensemble, or how far they are from those of another.

    Attributes
    ----------
    mean_energy, lowest_energy : float or None
        kJ/mol; None where there are no energies.
    mean_gap, lowest_gap, highest_gap : float or None
        kJ/mol; None where there are no gaps.
    """

    mean_energy: float | None = None
    lowest_energy: float | None = None
    mean_gap: float | None = None
    lowest_gap: float | None = None
    highest_gap: float | None = None

    def errors(self, reference: EnsembleProperties) -> EnsembleProperties:
        """Absolute differences from the properties of a reference ensemble, None where one of both has none.

        Parameters
        ----------
        reference : EnsembleProperties
        """
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(reference)
        return EnsembleProperties(**{key: _difference(mine[key], theirs[key]) for key in mine})


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else abs(first - second)


def ensemble_properties(energy: Any = None, gaps: Any = None, weights: ArrayLike | None = None) -> EnsembleProperties:
    """Mean and lowest energy, and mean, lowest and highest HOMO-LUMO gap.

    Parameters
    ----------
    energy : array_like or Quantity, (B,), optional
        kJ/mol, finite. One sample in a clash decides the mean.
    gaps : array_like or Quantity, (B,), optional
        kJ/mol, such as those of `GFN2Energy.gaps`; NaN where there is none.
    weights : array_like, (B,), optional
        As in `sample_weights`, for the means; a sample without weight has no part in what is lowest and highest, either.

    Returns
    -------
    EnsembleProperties

    Raises
    ------
    ConfGFError
        If an energy is not finite, there are gaps of another number of samples, or as `sample_weights`.

    Examples
    --------
    >>> ensemble_properties([1.0, 3.0], [900.0, 1000.0]).errors(ensemble_properties([0.0]))
    EnsembleProperties(mean_energy=2.0, lowest_energy=1.0, mean_gap=None, lowest_gap=None, highest_gap=None)
    """
    found = EnsembleProperties()
    if energy is not None:
        energies = np.asarray(in_md_units(energy), np.float64)
        if energies.ndim != 1 or not np.isfinite(energies).all():
            raise ConfGFError("Give one finite energy of each sample; leave out the samples that have none.")
        mean, lowest, _ = _spread(energies, sample_weights(weights, len(energies)))
        found = EnsembleProperties(mean, lowest)
    if gaps is None:
        return found
    levels = np.asarray(in_md_units(gaps), np.float64)
    if levels.ndim != 1 or (energy is not None and levels.shape != energies.shape):
        raise ConfGFError(f"There are gaps of shape {levels.shape} for the samples; give one each, NaN where there is none.")
    counted = sample_weights(weights, len(levels)) * np.isfinite(levels)
    if not counted.any():
        return found
    mean, lowest, highest = _spread(np.nan_to_num(levels), counted / counted.sum())
    return dataclasses.replace(found, mean_gap=mean, lowest_gap=lowest, highest_gap=highest)


def _spread(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, lowest and highest of those that have a weight."""
    present = values[weights > 0]
    return float(weights @ values), float(present.min()), float(present.max())
