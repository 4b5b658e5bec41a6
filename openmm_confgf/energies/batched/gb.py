"""Generalized Born implicit solvent with the OBC model: pure functions of any layout that broadcasts. nm, kJ/mol, e.

The formulas are those of OpenMM's GBSAOBCForce: Hawkins, Cramer, Truhlar 1995 (pairwise descreening), Onufriev, Bashford, Case 2004
(model II), Still et al. 1990 (energy), Schaefer, Bartels, Karplus 1998 (ACE surface area).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .formulas import COULOMB_CONSTANT

DIELECTRIC_OFFSET = 0.009
"""Subtracted from each radius (nm) before it enters the descreening integral."""

PROBE_RADIUS = 0.14
"""Of a water molecule (nm), in the surface area."""

ALPHA, BETA, GAMMA = 1.0, 0.8, 4.85


def descreening(r: Tensor, radius: Tensor, scaled: Tensor) -> Tensor:
    """What an atom of scaled radius s at distance r takes from the integral of an atom of offset radius rho.

    ``I = [1/L - 1/U + (r - s^2/r) (1/U^2 - 1/L^2) / 4 + ln(L/U) / (2 r)] / 2`` with ``L = max(rho, |r - s|)`` and ``U = r + s``, plus
    ``1/rho - 1/L`` where the other atom engulfs this one (rho < s - r), and zero where it lies inside of it (rho >= U).

    Parameters
    ----------
    r : Tensor
    radius, scaled : Tensor
        rho and s.
    """
    upper, lower = r + scaled, torch.maximum(radius, (r - scaled).abs())
    # few divisions: compiled, they and the logarithm are most of the work
    inverse, outer, inner = 1 / r, 1 / upper, 1 / lower
    slope = 0.125 * (r - scaled * scaled * inverse)
    integral = 0.5 * (inner - outer) + slope * (outer * outer - inner * inner) + 0.25 * inverse * torch.log(lower * outer)
    integral = integral + torch.where(radius < scaled - r, 1 / radius - inner, 0)
    return torch.where(radius < upper, integral, 0)


def born_radii(integral: Tensor, radius: Tensor) -> Tensor:
    """``1 / B = 1/rho - tanh(psi - 0.8 psi^2 + 4.85 psi^3) / R`` with ``psi = rho I`` and ``rho = R - 0.009 nm``.

    Parameters
    ----------
    integral : Tensor
        Sum of `descreening` over the other atoms, in 1/nm.
    radius : Tensor
        R.
    """
    offset = radius - DIELECTRIC_OFFSET
    psi = offset * integral
    return 1 / (1 / offset - torch.tanh(psi * (ALPHA - psi * (BETA - GAMMA * psi))) / radius)


def polarization_pair(r: Tensor, born_product: Tensor, charge_product: Tensor, contrast: float) -> Tensor:
    """``-q_i q_j (1/eps_in - 1/eps_out) / (4 pi eps_0) / f`` with ``f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))``.

    Parameters
    ----------
    r, born_product, charge_product : Tensor
    contrast : float
        ``1/eps_in - 1/eps_out``.
    """
    square = r * r
    return -COULOMB_CONSTANT * contrast * charge_product * torch.rsqrt(square + born_product * torch.exp(-0.25 * square / born_product))


def polarization_self(born: Tensor, charge: Tensor, contrast: float) -> Tensor:
    """``-q_i^2 (1/eps_in - 1/eps_out) / (4 pi eps_0) / (2 B_i)``."""
    return -0.5 * COULOMB_CONSTANT * contrast * charge * charge / born


def surface_area(born: Tensor, radius: Tensor, tension: float) -> Tensor:
    """``4 pi tension (R + 0.14 nm)^2 (R / B)^6``, tension in kJ/mol/nm^2."""
    return 4 * torch.pi * tension * (radius + PROBE_RADIUS) ** 2 * (radius / born) ** 6
