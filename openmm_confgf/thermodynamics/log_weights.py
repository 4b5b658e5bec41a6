"""What samples of a known density count in the Boltzmann distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..status import Status
from ..units import in_md_units, kT


def log_weights(log_q: ArrayLike | None, energy: Any, status: ArrayLike, temperature: Any) -> NDArray[np.float64]:
    """Natural logarithm of the weight of each sample, not normalised: ``log w = -U / kT - log q``.

    Importance sampling of exp(-U / kT) from samples of q (Noé, Olsson, Köhler & Wu 2019, doi:10.1126/science.aaw1147). All samples of q
    take part, those whose status is not OK as well: a clash has its energy. The target is that of one molecule: a sample of another
    stereoisomer (WRONG_STEREO) has no density in it, nor has one without a finite energy. Weights of a selection are biased.

    Parameters
    ----------
    log_q : array_like, (B,)
        Natural log of the density that each sample was drawn from, on the mean-free subspace, in nm (`Ensemble.log_q`).
    energy : array_like or Quantity, (B,)
        Potential energy in kJ/mol as it was evaluated; +inf where it is not finite (`Ensemble.energy`).
    status : array_like of int, (B,)
        A `Status` each.
    temperature : float or Quantity
        K.

    Returns
    -------
    ndarray of float64, (B,)
        Without unit; -inf where the energy is +inf or the status WRONG_STEREO.

    Raises
    ------
    ConfGFError
        If log_q, the energies or the temperature are missing (None), shapes disagree, a sample has FAILED, an energy is NaN or -inf, or
        log_q of a sample with a finite energy is not finite.
    ValueError
        If the temperature is none, as in `kT`.

    Examples
    --------
    >>> from openmm_confgf.units import kT
    >>> log_weights([1.0, 0.5, 2.0], [0.0, kT(300), float("inf")], [0, 0, 1], 300)
    array([-1. , -1.5, -inf])
    """
    if log_q is None:
        raise ConfGFError("There is no log_q, and no weight without it; take samples of a generator with a density, and do not select any.")
    if energy is None:
        raise ConfGFError("There are no energies, and no weights without them; score the samples first.")
    if temperature is None:
        raise ConfGFError("There is no temperature to weigh at; give one in K.")
    density, cost, flags = np.asarray(log_q, np.float64), np.asarray(in_md_units(energy), np.float64), np.asarray(status)
    if density.ndim != 1 or not density.shape == cost.shape == flags.shape:
        raise ConfGFError(f"log_q, energy and status have shapes {density.shape}, {cost.shape} and {flags.shape}; give one value each.")
    if failed := int((flags == Status.FAILED).sum()):
        raise ConfGFError(
            f"{failed} of {len(flags)} samples have FAILED: they have no energy, and weights without them are biased; "
            "score all of them again on another platform (Reference)."
        )
    if wrong := int((np.isnan(cost) | (cost == -np.inf)).sum()):
        raise ConfGFError(f"{wrong} of {len(cost)} energies are NaN or -inf; give finite ones, and +inf where the density is zero.")
    possible = np.isfinite(cost) & (flags != Status.WRONG_STEREO)
    if wrong := int((~np.isfinite(density[possible])).sum()):
        raise ConfGFError(f"log_q of {wrong} samples with an energy is not finite, so that q did not draw them; evaluate it anew.")
    weights = np.full(len(cost), -np.inf)
    weights[possible] = -cost[possible] / kT(temperature) - density[possible]
    return weights
