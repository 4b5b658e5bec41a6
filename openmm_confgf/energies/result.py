"""EnergyResult: what an energy says of many conformations."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..ensemble import Status


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
