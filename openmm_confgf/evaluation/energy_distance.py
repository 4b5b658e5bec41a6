"""How far the energies of an ensemble are distributed from those of its reference."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ..units import in_md_units
from .transport import wasserstein_on_line


def energy_w2(energy: Any, reference: Any, weights: ArrayLike | None = None, reference_weights: ArrayLike | None = None) -> float:
    """E-W2: the Wasserstein-2 distance of the energies of an ensemble from those of its reference.

    As in Tan et al. 2025 (doi:10.48550/arXiv.2502.18462). Both are absolute, at one level of theory: a shift of all energies is as far as
    it is large. One sample in a clash of energy E adds ``E / sqrt(A)``, so that bad samples belong out, or the distance says no more than
    that there are some.

    Parameters
    ----------
    energy : array_like or Quantity, (A,)
        kJ/mol, finite.
    reference : array_like or Quantity, (B,)
        kJ/mol, finite.
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`: `boltzmann_weights` of reference minima, for example.

    Returns
    -------
    float
        kJ/mol; divide by `kT` for the unit of the literature.

    Raises
    ------
    ConfGFError
        As `wasserstein_on_line`.

    Examples
    --------
    >>> energy_w2([0.0, 2.0], [0.0, 2.0], weights=[3, 1])  # a quarter of the samples is 2 kJ/mol off
    1.0
    """
    return wasserstein_on_line(in_md_units(energy), in_md_units(reference), weights, reference_weights)
