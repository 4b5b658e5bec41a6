"""The energies of OpenMM's standard forces: pure functions, one for each, of any shapes (...) that broadcast. nm, kJ/mol, radians, e.

In `Term` modules coordinates are (T, B) and parameters (T, 1): interactions, then conformations. The formulas are those of the OpenMM
User Guide, "Standard Forces" (Eastman et al. 2017, doi:10.1371/journal.pcbi.1005659).
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
    """Energy of a spring, ``k (x - x_0)^2 / 2``, of a distance or an angle.

    Parameters
    ----------
    x : Tensor, (...)
        nm or radians.
    equilibrium : Tensor, (...)
        x_0 in the unit of `x`.
    k : Tensor, (...)
        kJ/mol/nm^2 or kJ/mol/rad^2.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    A bond of 1000 kJ/mol/nm^2, stretched by 0.1 nm:

    >>> import torch
    >>> harmonic(*torch.tensor([0.25, 0.15, 1000.0]))
    tensor(5.0000)
    """
    return 0.5 * k * (x - equilibrium) ** 2


def periodic_torsion(angle: Tensor, periodicity: Tensor, phase: Tensor, k: Tensor) -> Tensor:
    """Energy of a torsion, ``k [1 + cos(n phi - phi_0)]``.

    Parameters
    ----------
    angle : Tensor, (...)
        phi in radians.
    periodicity : Tensor, (...)
        n.
    phase : Tensor, (...)
        phi_0 in radians.
    k : Tensor, (...)
        kJ/mol, half of the barrier.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    A threefold torsion at 20 degrees, a third of the way from its barrier of 12 kJ/mol to its minimum:

    >>> import torch
    >>> periodic_torsion(*torch.tensor([torch.pi / 9, 3.0, 0.0, 6.0]))
    tensor(9.)
    """
    return k * (1 + torch.cos(periodicity * angle - phase))


def ryckaert_bellemans(angle: Tensor, *coefficients: Tensor) -> Tensor:
    """Energy of a torsion, ``sum_n C_n cos^n(phi - 180 deg)``, n from 0 to 5 (Ryckaert & Bellemans 1978, doi:10.1039/DC9786600095).

    Parameters
    ----------
    angle : Tensor, (...)
        phi in radians; 0 is cis.
    *coefficients : Tensor, (...)
        C_0, C_1, ... in kJ/mol.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    Butane's barrier at cis, where the cosine is -1:

    >>> import torch
    >>> ryckaert_bellemans(*torch.tensor([0.0, 9.28, 12.16, -13.12, -3.06, 26.24, -31.5]))
    tensor(44.8000)
    """
    cosine = -torch.cos(angle)
    total = torch.zeros_like(angle)
    for coefficient in reversed(coefficients):
        total = total * cosine + coefficient
    return total


def lennard_jones(r: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
    """Lennard-Jones energy of a pair, ``4 eps [(sigma/r)^12 - (sigma/r)^6]``.

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    sigma : Tensor, (...)
        nm.
    epsilon : Tensor, (...)
        kJ/mol.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    The minimum of -eps lies at 2^(1/6) sigma:

    >>> import torch
    >>> lennard_jones(*torch.tensor([0.34 * 2 ** (1 / 6), 0.34, 0.4]))
    tensor(-0.4000)
    """
    ratio = sigma * (1 / r)
    sixth = (ratio * ratio) ** 3
    return 4 * epsilon * sixth * (sixth - 1)


def coulomb(r: Tensor, charge_product: Tensor) -> Tensor:
    """Coulomb energy of a pair in vacuum, ``q_1 q_2 / (4 pi eps_0 r)``.

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    charge_product : Tensor, (...)
        q_1 q_2 in e^2.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    Two opposite elementary charges 1 nm apart:

    >>> import torch
    >>> coulomb(*torch.tensor([1.0, -1.0]))
    tensor(-138.9355)
    """
    return COULOMB_CONSTANT * charge_product * (1 / r)


def reaction_field(r: Tensor, charge_product: Tensor, cutoff: float, dielectric: float) -> Tensor:
    """Coulomb energy of a pair in a sphere within a dielectric, ``q_1 q_2 / (4 pi eps_0) (1/r + k r^2 - c)``, zero at the cutoff.

    ``k = (eps - 1) / (2 eps + 1) / r_c^3`` and ``c = 3 eps / (2 eps + 1) / r_c`` of the solvent's dielectric constant (Tironi et al. 1995,
    doi:10.1063/1.469273). What lies beyond the cutoff is for the caller to leave out.

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    charge_product : Tensor, (...)
        q_1 q_2 in e^2.
    cutoff : float
        r_c in nm.
    dielectric : float
        eps.

    Returns
    -------
    Tensor, (...)
        kJ/mol.

    Examples
    --------
    Elementary charges at half of a cutoff of 1 nm in water, ``138.9355 (2 + 0.4905 / 4 - 1.4905)``:

    >>> import torch
    >>> reaction_field(*torch.tensor([0.5, 1.0]), cutoff=1.0, dielectric=78.3)
    tensor(87.8264)
    """
    k = (dielectric - 1) / (2 * dielectric + 1) / cutoff**3
    c = 3 * dielectric / (2 * dielectric + 1) / cutoff
    return COULOMB_CONSTANT * charge_product * (1 / r + k * r * r - c)


def switching(r: Tensor, start: float, cutoff: float) -> Tensor:
    """A factor that falls from 1 at `start` to 0 at `cutoff`: ``1 - 10 x^3 + 15 x^4 - 6 x^5`` with ``x = (r - r_start) / (r_c - r_start)``.

    Its first and second derivatives are zero at both ends.

    Parameters
    ----------
    r : Tensor, (...)
        Distance in nm.
    start, cutoff : float
        r_start and r_c in nm.

    Returns
    -------
    Tensor, (...)
        1 below `start`, 0 beyond `cutoff`.

    Examples
    --------
    >>> import torch
    >>> switching(torch.tensor([0.7, 0.9, 1.1]), start=0.8, cutoff=1.0)
    tensor([1.0000, 0.5000, 0.0000])
    """
    x = ((r - start) / (cutoff - start)).clamp(0, 1)
    return 1 + x**3 * (-10 + x * (15 - 6 * x))
