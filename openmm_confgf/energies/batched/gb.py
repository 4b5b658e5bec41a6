"""Generalized Born implicit solvent with the OBC model: pure functions of any shapes (...) that broadcast. nm, kJ/mol, e.

The formulas are those of OpenMM's GBSAOBCForce: pairwise descreening (Hawkins, Cramer, Truhlar 1995, doi:10.1016/0009-2614(95)01082-K),
Born radii of model II (Onufriev, Bashford, Case 2004, doi:10.1002/prot.20033), the energy (Still et al. 1990, doi:10.1021/ja00172a038)
and the ACE surface area (Schaefer, Bartels, Karplus, J. Mol. Biol. 1998, 284, 835).
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
    ``1/rho - 1/L`` where the other atom engulfs this one (rho < s - r), and zero where it lies inside of it (rho >= U): the integral of
    ``1 / (4 pi x^4)`` over the other atom's sphere, x being the distance from this atom (Hawkins, Cramer, Truhlar 1995).

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    radius : Tensor, (...)
        rho in nm: this atom's radius less `DIELECTRIC_OFFSET`.
    scaled : Tensor, (...)
        s in nm: the other atom's radius less `DIELECTRIC_OFFSET`, times its scale factor.

    Returns
    -------
    Tensor, (...)
        1/nm.

    Examples
    --------
    From afar it is the sphere's volume over ``4 pi r^4``, ``s^3 / (3 r^4)``, here 1/3 of a thousandth:

    >>> import torch
    >>> round(1e3 * descreening(*torch.tensor([1.0, 0.1, 0.1], dtype=torch.float64)).item(), 3)
    0.337
    """
    upper, lower = r + scaled, torch.maximum(radius, (r - scaled).abs())
    # few divisions: compiled, they and the logarithm are most of the work
    inverse, outer, inner = 1 / r, 1 / upper, 1 / lower
    slope = 0.125 * (r - scaled * scaled * inverse)
    integral = 0.5 * (inner - outer) + slope * (outer * outer - inner * inner) + 0.25 * inverse * torch.log(lower * outer)
    integral = integral + torch.where(radius < scaled - r, 1 / radius - inner, 0)
    return torch.where(radius < upper, integral, 0)


def born_radii(integral: Tensor, radius: Tensor) -> Tensor:
    """Effective Born radii, ``1 / B = 1/rho - tanh(psi - 0.8 psi^2 + 4.85 psi^3) / R`` with ``psi = rho I`` and ``rho = R - 0.009 nm``.

    Model II of Onufriev, Bashford, Case 2004.

    Parameters
    ----------
    integral : Tensor, (...)
        I in 1/nm: the sum of `descreening` over the other atoms.
    radius : Tensor, (...)
        R in nm.

    Returns
    -------
    Tensor, (...)
        nm.

    Examples
    --------
    An atom of 0.15 nm alone has the radius rho, and a larger one among others (``psi = 0.141``):

    >>> import torch
    >>> born_radii(torch.tensor([0.0, 1.0]), torch.tensor(0.15))
    tensor([0.1410, 0.1620])
    """
    offset = radius - DIELECTRIC_OFFSET
    psi = offset * integral
    return 1 / (1 / offset - torch.tanh(psi * (ALPHA - psi * (BETA - GAMMA * psi))) / radius)


def polarization_pair(r: Tensor, born_product: Tensor, charge_product: Tensor, contrast: float) -> Tensor:
    """Solvation energy of a pair, ``-q_i q_j (1/eps_in - 1/eps_out) / (4 pi eps_0) / f``.

    ``f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))`` (Still et al. 1990). Each pair counts once.

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    born_product : Tensor, (...)
        B_i B_j in nm^2.
    charge_product : Tensor, (...)
        q_i q_j in e^2.
    contrast : float
        ``1/eps_in - 1/eps_out``.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    Opposite charges in water, far apart: what their Coulomb energy of -138.9355 kJ/mol loses to the solvent.

    >>> import torch
    >>> polarization_pair(*torch.tensor([1.0, 0.04, -1.0]), contrast=1 - 1 / 78.5)
    tensor(137.1603)
    """
    square = r * r
    return -COULOMB_CONSTANT * contrast * charge_product * torch.rsqrt(square + born_product * torch.exp(-0.25 * square / born_product))


def polarization_self(born: Tensor, charge: Tensor, contrast: float) -> Tensor:
    """Solvation energy of an atom's charge, ``-q_i^2 (1/eps_in - 1/eps_out) / (4 pi eps_0) / (2 B_i)``.

    Still et al. 1990: `polarization_pair` of the atom with itself, half of it.

    Parameters
    ----------
    born : Tensor, (...)
        B_i in nm.
    charge : Tensor, (...)
        q_i in e.
    contrast : float
        ``1/eps_in - 1/eps_out``.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    An ion of 0.2 nm in water, by Born's formula ``-138.9355 (1 - 1/78.5) / 0.4``:

    >>> import torch
    >>> polarization_self(*torch.tensor([0.2, 1.0]), contrast=1 - 1 / 78.5)
    tensor(-342.9139)
    """
    return -0.5 * COULOMB_CONSTANT * contrast * charge * charge / born


def surface_area(born: Tensor, radius: Tensor, tension: float) -> Tensor:
    """Nonpolar energy of an atom, ``4 pi tension (R + 0.14 nm)^2 (R / B)^6`` (Schaefer, Bartels, Karplus 1998).

    Parameters
    ----------
    born : Tensor, (...)
        B in nm.
    radius : Tensor, (...)
        R in nm.
    tension : float
        kJ/mol/nm^2.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    The tension of GBSAOBCForce by default, on the sphere that a probe of 0.14 nm rolls about an atom of 0.15 nm, ``4 pi 0.29^2 nm^2``:

    >>> import torch
    >>> surface_area(*torch.tensor([0.15, 0.15]), tension=2.25936)
    tensor(2.3878)
    """
    return 4 * torch.pi * tension * (radius + PROBE_RADIUS) ** 2 * (radius / born) ** 6
