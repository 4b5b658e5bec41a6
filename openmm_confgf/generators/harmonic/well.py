"""HarmonicWell: a density of internal coordinates around a minimum, Gaussian in what is stiff and wrapped around in what turns."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

_UNIFORM = 0.1
"""Share of samples whose torsions are uniform, so that no weight is large where a harmonic torsion seldom comes and the molecule does."""

_NEGLIGIBLE = 8.5
"""Standard deviations beyond which a Gaussian holds less than double precision resolves, 1e-16 of it."""


@dataclasses.dataclass(frozen=True)
class WrappedNormal:
    """A Gaussian of which some coordinates are angles of full turns.

    Attributes
    ----------
    centre : ndarray of float64, (d,)
    precision : ndarray of float64, (d, d)
        Inverse of the covariance, positive definite.
    turning : ndarray of bool, (d,)
        Which coordinates are angles that repeat after 2 pi; their standard deviations are at most 1.
    """

    centre: NDArray[np.float64]
    precision: NDArray[np.float64]
    turning: NDArray[np.bool_]

    @functools.cached_property
    def factor(self) -> NDArray[np.float64]:
        """Lower triangle G with ``G G^T`` = precision, (d, d); a LinAlgError if that is not positive definite."""
        return np.asarray(np.linalg.cholesky(self.precision))

    @functools.cached_property
    def widths(self) -> NDArray[np.float64]:
        """Standard deviation of each coordinate, (d,)."""
        return np.linalg.norm(solve_triangular(self.factor, np.eye(len(self.centre)), lower=True), axis=0)

    @property
    def log_volume(self) -> float:
        r""":math:`\log\sqrt{(2 \pi)^d / \det(\mathrm{precision})}`, the reciprocal of the density at the centre."""
        return 0.5 * len(self.centre) * math.log(2 * math.pi) - float(np.log(np.diagonal(self.factor)).sum())

    def sample(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """A sample made of noise; its angles are not wrapped.

        Parameters
        ----------
        noise : ndarray of float64, (d,)
            Standard normal.

        Returns
        -------
        ndarray of float64, (d,)
            In the units of `centre`.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the precision is not positive definite.
        """
        return self.centre + solve_triangular(self.factor.T, noise)

    def log_density(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithm of the density: of the sum over the turns of those angles whose Gaussian reaches around the circle.

        Parameters
        ----------
        values : ndarray of float64, (B, d)
            In the units of `centre`.

        Returns
        -------
        ndarray of float64, (B,)
            nats.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the precision is not positive definite.
        """
        away = values - self.centre
        away[:, self.turning] = np.remainder(away[:, self.turning] + math.pi, 2 * math.pi) - math.pi
        standard, wide = away @ self.factor, self.turning & (self.widths > math.pi / _NEGLIGIBLE)
        found = np.full(len(values), -np.inf)
        for turns in itertools.product((-1, 0, 1), repeat=int(wide.sum())):
            shifted = standard + 2 * math.pi * np.array(turns, float) @ self.factor[wide]
            found = np.logaddexp(found, -0.5 * np.square(shifted).sum(1))
        return found - self.log_volume


@dataclasses.dataclass(frozen=True)
class HarmonicWell:
    """The harmonic density of a minimum, a tenth of it with the torsions of single bonds uniform on their circles.

    Attributes
    ----------
    normal : WrappedNormal
        Of all coordinates.
    rotors : ndarray of bool, (d,)
        Which coordinates are those torsions.
    """

    normal: WrappedNormal
    rotors: NDArray[np.bool_]

    @classmethod
    def of(
        cls, centre: NDArray[np.float64], stiffness: NDArray[np.float64], turning: NDArray[np.bool_], rotors: NDArray[np.bool_]
    ) -> HarmonicWell | None:
        """The well of a minimum, or None if it is none.

        Parameters
        ----------
        centre : ndarray of float64, (d,)
            Coordinates of the minimum: nm and radians.
        stiffness : ndarray of float64, (d, d)
            Second derivatives of the energy over kT. Of rotors, 1 is added, so that their standard deviations are at most 1.
        turning, rotors : ndarray of bool, (d,)
            Which coordinates are dihedrals, and which of these are torsions of single bonds.
        """
        normal = WrappedNormal(centre, stiffness + np.diag(rotors.astype(float)), turning)
        try:
            wide = (normal.widths[turning] > 1).any()
        except np.linalg.LinAlgError:
            return None
        return None if wide else cls(normal, rotors)

    @functools.cached_property
    def _others(self) -> WrappedNormal:
        """Of the coordinates that are no rotors, with these at the minimum."""
        kept = ~self.rotors
        return WrappedNormal(self.normal.centre[kept], self.normal.precision[np.ix_(kept, kept)], self.normal.turning[kept])

    def sample(self, stream: np.random.Generator) -> NDArray[np.float64]:
        """Coordinates of one sample.

        Parameters
        ----------
        stream : numpy.random.Generator

        Returns
        -------
        ndarray of float64, (d,)
            nm and radians; angles are not wrapped.
        """
        uniform, noise = stream.random() < _UNIFORM, stream.standard_normal(len(self.rotors))
        if not (uniform and self.rotors.any()):
            return self.normal.sample(noise)
        values = np.empty(len(self.rotors))
        values[~self.rotors] = self._others.sample(noise[~self.rotors])
        values[self.rotors] = stream.uniform(-math.pi, math.pi, int(self.rotors.sum()))
        return values

    def log_density(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithm of the density with respect to nm and radians.

        Parameters
        ----------
        values : ndarray of float64, (B, d)
            nm and radians.

        Returns
        -------
        ndarray of float64, (B,)
            nats.
        """
        harmonic = self.normal.log_density(values)
        if not self.rotors.any():
            return harmonic
        uniform = self._others.log_density(values[:, ~self.rotors]) - math.log(2 * math.pi) * self.rotors.sum()
        return np.asarray(logsumexp([harmonic, uniform], axis=0, b=[[1 - _UNIFORM], [_UNIFORM]]))

    def stays_within(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
        """Whether no sample that double precision knows of is out of these limits.

        Parameters
        ----------
        low, high : ndarray of float64, (d,)
            nm and radians; infinite where there are none.
        """
        reach = _NEGLIGIBLE * self.normal.widths
        return bool(((self.normal.centre - low >= reach) & (high - self.normal.centre >= reach)).all())
