"""Energy: what evaluates conformations; EnergyResult: what it says of them; and what it takes for one to be evaluated at all."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..status import Status
from ..units import in_md_units, positions_in_nm

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 1e4
"""Largest coordinate (nm) that is evaluated. Beyond it an explosion threw the atoms apart: single precision cannot resolve a bond there."""

Array = TypeVar("Array", bound=Any)


@dataclasses.dataclass(frozen=True)
class EnergyResult:
    """Energies of conformations, in their order.

    Attributes
    ----------
    energy : ndarray of float64, (B,)
        Potential energy in kJ/mol; +inf where the status is not OK.
    forces : ndarray of float64, (B, N, 3), or None
        Forces in kJ/mol/nm where they were asked for; NaN where the status is not OK.
    status : ndarray of int8, (B,)
        A `Status` each: OK, NON_FINITE or FAILED.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64] | None
    status: NDArray[np.int8]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which energies are real, (B,)."""
        return np.asarray(self.status == Status.OK)


class Energy(Protocol):
    """What evaluates conformations of one molecule, or of one System, whatever computes them.

    A class of your own needs no more than `evaluate`; ``openmm_confgf.testing.EnergySuite`` is the tests that it must pass.
    """

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm; an empty list is no conformation.
        forces : bool
            Whether to return forces as well; a conformation whose forces are not finite is then NON_FINITE too.

        Returns
        -------
        EnergyResult
            B = 1 where one conformation is given.

        Raises
        ------
        ValueError
            If N is another number than that of the atoms; the message names both.
        """


class DifferentiableEnergy(Energy, Protocol):
    """An energy that torch can take derivatives of."""

    def energy(self, positions: Tensor) -> Tensor:
        """Energies as a differentiable function of positions.

        Parameters
        ----------
        positions : Tensor, (B, N, 3)
            nm, on any device, in any floating-point type.

        Returns
        -------
        Tensor, (B,)
            kJ/mol, on the device and in the type of the positions; +inf, with gradient zero, where there is none that is finite.
        """


def frames_of(positions: Any, n_atoms: int, owner: str = "the System", parts: str = "particles") -> NDArray[np.float64]:
    """Positions as (B, N, 3) in nm, once N is known to be right.

    Parameters
    ----------
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm; an empty list is no conformation.
    n_atoms : int
        N.
    owner, parts : str
        Who has N of what, for the message.

    Raises
    ------
    ValueError
        If the number of atoms is another.
    """
    given = np.asarray(in_md_units(positions))
    if given.size == 0 and given.shape[-1:] != (3,):
        return np.empty((0, n_atoms, 3))
    array = positions_in_nm(given)
    array = array[None] if array.ndim == 2 else array
    if array.shape[1] != n_atoms:
        raise ValueError(
            f"The positions have {array.shape[1]} atoms, but {owner} has {n_atoms} {parts}; give (B, {n_atoms}, 3) in the order of these."
        )
    return np.ascontiguousarray(array)


def can_be_evaluated(frames: Array) -> Array:
    """Which conformations hold only numbers whose size is below `FARTHEST`; NaN and infinities are none.

    Parameters
    ----------
    frames : ndarray or Tensor, (B, N, 3)
        nm.

    Returns
    -------
    ndarray or Tensor of bool, (B,)
        Of the kind that was given.
    """
    return (abs(frames) < FARTHEST).all(-1).all(-1)
