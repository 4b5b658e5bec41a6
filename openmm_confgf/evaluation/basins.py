"""To which minima of the reference samples belong, and whether as often as Boltzmann says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import DUPLICATE_RMSD, rmsd_matrix
from ..units import in_md_units
from .divergence import jensen_shannon
from .sample_weights import boltzmann_weights, sample_weights

WITHIN = 0.05
"""nm; a sample that is farther from every minimum is in no basin."""

OUTSIDE = -1
"""The basin of a sample that is in none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Basins:
    """Minima of a molecule, and which of them heavy atoms tell apart.

    Attributes
    ----------
    graph : MolecularGraph
    minima : ndarray of float64, (M, N, 3)
        nm.
    basin : ndarray of int64, (M,)
        Of each minimum, from 0 to K - 1, the lowest in energy first. Minima that differ in the place of a hydroxyl's hydrogen are one.
    populations : ndarray of float64, (K,)
        Boltzmann's, which sum to one.
    """

    graph: MolecularGraph
    minima: NDArray[np.float64]
    basin: NDArray[np.int64]
    populations: NDArray[np.float64]

    @classmethod
    def of(cls, graph: MolecularGraph, minima: Any, energy: Any, temperature: Any, same: Any = DUPLICATE_RMSD) -> Basins:
        """Basins of minima, each with the sum of ``exp(-E / kT)`` of its minima.

        Parameters
        ----------
        graph : MolecularGraph
        minima : array_like or Quantity, (M, N, 3)
            nm.
        energy : array_like or Quantity, (M,)
            kJ/mol, of any zero.
        temperature : float or Quantity
            K.
        same : float or Quantity
            nm; a minimum that is at most so far from the lowest of a basin, as `rmsd_matrix` measures it, belongs to it.

        Raises
        ------
        ConfGFError
            If there is no minimum, or not one finite energy of each.
        ValueError
            If the temperature is none, as in `kT`.
        """
        frames, energies = graph.frames(minima), np.asarray(in_md_units(energy), np.float64)
        if not len(frames) or energies.shape != (len(frames),) or not np.isfinite(energies).all():
            raise ConfGFError(f"{graph.name!r} has {len(frames)} minima and energies of shape {energies.shape}; give a finite one of each.")
        populations, limit = boltzmann_weights(energies, temperature), float(in_md_units(same))
        distances = rmsd_matrix(graph, frames, frames)
        lowest: list[int] = []
        basin = np.empty(len(frames), np.int64)
        for k in np.argsort(energies, kind="stable").tolist():
            near = [number for number, leader in enumerate(lowest) if distances[k, leader] <= limit]
            if not near:
                lowest.append(k)
            basin[k] = min(near, key=lambda number: distances[k, lowest[number]]) if near else len(lowest) - 1
        return cls(graph, frames, basin, np.bincount(basin, populations).astype(np.float64))

    def __len__(self) -> int:
        return len(self.populations)

    def assign(self, positions: Any, within: Any = WITHIN) -> NDArray[np.int64]:
        """The basin of each conformation: that of the nearest minimum, by `rmsd_matrix`.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3)
            nm.
        within : float or Quantity
            nm; what is farther from every minimum is `OUTSIDE`.

        Returns
        -------
        ndarray of int64, (B,)

        Raises
        ------
        ConfGFError
            If `within` is negative or NaN.
        ValueError
            If a position is not finite, or the number of atoms is another.
        """
        limit = float(in_md_units(within))
        if not limit >= 0:
            raise ConfGFError(f"A sample cannot be within {limit:g} nm of a minimum; give an RMSD of at least 0.")
        distances = rmsd_matrix(self.graph, self.minima, positions)
        return np.where(distances.min(axis=0) <= limit, self.basin[distances.argmin(axis=0)], OUTSIDE)


@dataclasses.dataclass(frozen=True, eq=False)
class BasinPopulations:
    """How often samples are in each basin, and how often they should be.

    Attributes
    ----------
    expected : ndarray of float64, (K,)
        Boltzmann's populations.
    found : ndarray of float64, (K,)
        Shares of the samples.
    outside : float
        The share that is in no basin.
    js : float
        `jensen_shannon` divergence in nats, 0 to 0.693, of the shares from the populations; outside is a class that is never expected.
    total_variation : float
        Half the sum of the absolute differences: the share of samples that would have to be elsewhere, 0 to 1.
    """

    expected: NDArray[np.float64]
    found: NDArray[np.float64]
    outside: float
    js: float
    total_variation: float


def basin_populations(basin: ArrayLike, expected: ArrayLike, weights: ArrayLike | None = None) -> BasinPopulations:
    """Compare the basins that samples fall into with populations.

    Parameters
    ----------
    basin : array_like of int, (B,)
        As `Basins.assign` gives them.
    expected : array_like, (K,)
        Populations, as `Basins.populations`.
    weights : array_like, (B,), optional
        As in `sample_weights`.

    Returns
    -------
    BasinPopulations

    Raises
    ------
    ConfGFError
        If there is no such basin, or as `sample_weights`.

    Examples
    --------
    >>> found = basin_populations([0, 0, 0, 1, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE], [0.75, 0.25])
    >>> found.found, found.outside, found.total_variation
    (array([0.375, 0.125]), 0.5, 0.5)
    """
    labels, target = np.asarray(basin), np.asarray(expected, np.float64)
    populations = sample_weights(target, len(target))
    if labels.ndim != 1 or not ((labels >= OUTSIDE) & (labels < len(target))).all():
        raise ConfGFError(f"Basins are numbered from 0 to {len(target) - 1}, and {OUTSIDE} is outside; give one of these for each sample.")
    shares = np.bincount(labels + 1, sample_weights(weights, len(labels)), len(target) + 1).astype(np.float64)
    wanted = np.concatenate([[0.0], populations])
    return BasinPopulations(
        populations, shares[1:], float(shares[0]), jensen_shannon(shares, wanted), float(np.abs(shares - wanted).sum() / 2)
    )
