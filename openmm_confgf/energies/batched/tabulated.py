"""OpenMM's tabulated functions as modules that expressions call."""

from __future__ import annotations

import numpy as np
import openmm
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from ...errors import UnsupportedForceError


class SplineTable(nn.Module):
    """A Continuous1DFunction: the natural, or periodic, cubic spline through equidistant points; zero outside of its range.

    Parameters
    ----------
    values : array_like, (K,)
    low, high : float
        Where the first and the last point lie, in the unit of the argument.
    periodic : bool
    """

    coefficients: Tensor

    def __init__(self, values: np.ndarray, low: float, high: float, periodic: bool = False) -> None:
        super().__init__()
        spline = CubicSpline(np.linspace(low, high, len(values)), values, bc_type="periodic" if periodic else "natural")
        self.low, self.high, self.periodic = low, high, periodic
        self.register_buffer("coefficients", torch.from_numpy(spline.c.T.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """The value of the spline.

        Parameters
        ----------
        x : Tensor, (...)

        Returns
        -------
        Tensor, (...)
        """
        inside = x if self.periodic else x.clamp(self.low, self.high)
        if self.periodic:
            inside = self.low + torch.remainder(inside - self.low, self.high - self.low)
        width = (self.high - self.low) / len(self.coefficients)
        interval = ((inside - self.low) / width).detach().floor().clamp(0, len(self.coefficients) - 1)
        offset = inside - self.low - interval * width
        a, b, c, d = self.coefficients[interval.nan_to_num().long()].unbind(-1)
        value = ((a * offset + b) * offset + c) * offset + d
        return value if self.periodic else torch.where((x < self.low) | (x > self.high), 0, value)


class LookupTable(nn.Module):
    """A Discrete1DFunction, Discrete2DFunction or Discrete3DFunction: the entry at the rounded arguments, and NaN outside.

    Parameters
    ----------
    values : array_like, (K,), (K, L) or (K, L, M)
    """

    values: Tensor

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(np.ascontiguousarray(values, np.float64)))

    def forward(self, *arguments: Tensor) -> Tensor:
        """The entry of the table; it has no derivative.

        Parameters
        ----------
        *arguments : Tensor, (...)
            One for each axis of the table; they broadcast.

        Returns
        -------
        Tensor, (...)
            NaN where an argument is outside of the table.
        """
        index = torch.broadcast_tensors(*((argument.detach() + 0.5).floor().nan_to_num(-1.0, -1.0, -1.0) for argument in arguments))
        inside = torch.stack([(k >= 0) & (k < size) for k, size in zip(index, self.values.shape, strict=True)]).all(0)
        return torch.where(inside, self.values[tuple(torch.where(inside, k, 0).long() for k in index)], torch.nan)


def read_table(function: openmm.TabulatedFunction, owner: str) -> nn.Module:
    """The module of one of OpenMM's tabulated functions.

    Parameters
    ----------
    function : openmm.TabulatedFunction
    owner : str
        The force's name, for messages.

    Returns
    -------
    SplineTable or LookupTable

    Raises
    ------
    UnsupportedForceError
        If it is a continuous function of two or three arguments.
    """
    match function:
        case openmm.Continuous1DFunction():
            values, low, high = function.getFunctionParameters()
            return SplineTable(np.array(values), low, high, function.getPeriodic())
        case openmm.Discrete1DFunction():
            return LookupTable(np.array(function.getFunctionParameters()))
        case openmm.Discrete2DFunction() | openmm.Discrete3DFunction():
            *shape, values = function.getFunctionParameters()
            # OpenMM's first argument varies fastest
            return LookupTable(np.array(values).reshape(shape[::-1]).T)
    raise UnsupportedForceError(
        f"{owner} uses a {type(function).__name__}, which BatchedEnergy cannot evaluate; use ContextEnergy for this System."
    )
