"""Correction maps of two torsions (CMAP): bicubic interpolation as OpenMM's CMAPTorsionForce does it.

The term is of MacKerell, Feig, Brooks 2004 (doi:10.1002/jcc.20065).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

_HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], np.float64)
"""From values and slopes at both ends of a unit interval to the coefficients of the cubic polynomial."""


def bicubic_patches(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the bicubic polynomials between the points of a periodic map.

    Slopes are those of periodic cubic splines through the rows and columns; the mixed one is that of a spline through slopes
    (OpenMM's CMAPTorsionForceImpl; Numerical Recipes, section 3.6).

    Parameters
    ----------
    grid : ndarray, (S, S)
        Energies in kJ/mol; the first index is that of the first angle, from 0 to 2 pi.

    Returns
    -------
    ndarray, (S, S, 4, 4)
        ``c_ab`` in kJ/mol of ``sum c_ab t^a u^b``, t and u in units of the spacing.
    """
    size = len(grid)
    knots = np.arange(size + 1)

    def slopes(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        closed = np.concatenate([values, values.take([0], axis)], axis)
        return np.asarray(CubicSpline(knots, closed, axis, bc_type="periodic")(knots[:-1], 1))

    first, second = slopes(grid, 0), slopes(grid, 1)
    mixed = slopes(first, 1)

    def corners(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 2, S, S): the value at this point and at the next, along both angles."""
        ahead = np.roll(values, -1, 0)
        return np.array([[values, np.roll(values, -1, 1)], [ahead, np.roll(ahead, -1, 1)]])

    known = np.empty((4, 4, size, size))
    known[:2, :2], known[:2, 2:], known[2:, :2], known[2:, 2:] = corners(grid), corners(second), corners(first), corners(mixed)
    return np.einsum("ap,pqxy,bq->xyab", _HERMITE, known, _HERMITE)


def cmap_energy(patches: Tensor, start: Tensor, size: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Energy of each pair of torsions, ``sum c_ab t^a u^b`` in the cell of the map that they lie in.

    Parameters
    ----------
    patches : Tensor, (K, 4, 4)
        `bicubic_patches` of all maps in kJ/mol, one after the other, row by row.
    start, size : Tensor of int64, (T, 1)
        Where the map of each pair begins in `patches`, and how many points it has along one angle.
    first, second : Tensor, (T, B)
        Angles in radians.

    Returns
    -------
    Tensor, (T, B)
        kJ/mol.
    """

    def place(angle: Tensor) -> tuple[Tensor, Tensor]:
        scaled = torch.remainder(angle, 2 * torch.pi) * (size.to(angle) / (2 * torch.pi))
        cell = scaled.detach().floor().nan_to_num().long()
        return cell % size, scaled - cell

    row, t = place(first)
    column, u = place(second)
    c = patches[start + row * size + column]
    rows = [c[..., a, 0] + u * (c[..., a, 1] + u * (c[..., a, 2] + u * c[..., a, 3])) for a in range(4)]
    return rows[0] + t * (rows[1] + t * (rows[2] + t * rows[3]))
