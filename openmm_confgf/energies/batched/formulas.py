"""The energies of OpenMM's standard forces: pure functions, one for each, of any layout that broadcasts. nm, kJ/mol, radians, e.

The formulas are those of the OpenMM User Guide, "Standard Forces".
"""

from __future__ import annotations

import math

import torch
from openmm import unit
from torch import Tensor

_VACUUM_PERMITTIVITY = 8.8541878128e-12  # F/m, CODATA 2018, as in OpenMM's own source
_COULOMB = (1.0 * unit.elementary_charge).value_in_unit(unit.coulomb)
COULOMB_CONSTANT: float = _COULOMB**2 * unit.AVOGADRO_CONSTANT_NA.value_in_unit(unit.mole**-1) / (4 * math.pi * _VACUUM_PERMITTIVITY) * 1e6
"""``1 / (4 pi eps_0)`` in kJ/mol nm/e^2."""


def harmonic(x: Tensor, equilibrium: Tensor, k: Tensor) -> Tensor:
    """``k (x - x_0)^2 / 2`` of a distance or an angle."""
    return 0.5 * k * (x - equilibrium) ** 2


def periodic_torsion(angle: Tensor, periodicity: Tensor, phase: Tensor, k: Tensor) -> Tensor:
    """``k [1 + cos(n phi - phi_0)]``."""
    return k * (1 + torch.cos(periodicity * angle - phase))


def ryckaert_bellemans(angle: Tensor, *coefficients: Tensor) -> Tensor:
    """``sum_n C_n cos^n(phi - 180 deg)``, n from 0 to 5."""
    cosine = -torch.cos(angle)
    total = torch.zeros_like(angle)
    for coefficient in reversed(coefficients):
        total = total * cosine + coefficient
    return total


def lennard_jones(r: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
    """``4 eps [(sigma/r)^12 - (sigma/r)^6]``."""
    ratio = sigma * (1 / r)
    sixth = (ratio * ratio) ** 3
    return 4 * epsilon * sixth * (sixth - 1)


def coulomb(r: Tensor, charge_product: Tensor) -> Tensor:
    """``q_1 q_2 / (4 pi eps_0 r)``."""
    return COULOMB_CONSTANT * charge_product * (1 / r)


def reaction_field(r: Tensor, charge_product: Tensor, cutoff: float, dielectric: float) -> Tensor:
    """``q_1 q_2 / (4 pi eps_0) (1/r + k r^2 - c)``, zero at the cutoff (Tironi et al. 1995).

    ``k = (eps - 1) / (2 eps + 1) / r_c^3`` and ``c = 3 eps / (2 eps + 1) / r_c`` of the solvent's dielectric constant.
    """
    k = (dielectric - 1) / (2 * dielectric + 1) / cutoff**3
    c = 3 * dielectric / (2 * dielectric + 1) / cutoff
    return COULOMB_CONSTANT * charge_product * (1 / r + k * r * r - c)


def switching(r: Tensor, start: float, cutoff: float) -> Tensor:
    """``1 - 10 x^3 + 15 x^4 - 6 x^5``, which falls from 1 at `start` to 0 at `cutoff`; ``x = (r - r_start) / (r_c - r_start)``."""
    x = ((r - start) / (cutoff - start)).clamp(0, 1)
    return 1 + x**3 * (-10 + x * (15 - 6 * x))
