"""OpenMM units at the border: Quantities come in, bare md floats (nm, kJ/mol, ps, K) go on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import unit

NM_PER_ANGSTROM: float = unit.angstrom.conversion_factor_to(unit.nanometer)
NM_PER_BOHR: float = unit.bohr.conversion_factor_to(unit.nanometer)
KJ_PER_HARTREE: float = (1 * unit.hartree * unit.AVOGADRO_CONSTANT_NA).value_in_unit(unit.kilojoule_per_mole)
KJ_PER_EV: float = (1 * unit.elementary_charge * unit.volt * unit.AVOGADRO_CONSTANT_NA).value_in_unit(unit.kilojoule_per_mole)
KJ_PER_KCAL: float = unit.kilocalorie.conversion_factor_to(unit.kilojoule)
GAS_CONSTANT: float = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)


def in_md_units(value: Any) -> Any:
    """Strip a Quantity, or each of a list of them, to OpenMM's md unit system; pass bare numbers and arrays through.

    Parameters
    ----------
    value : Quantity, list, tuple or anything else
        Lists and tuples may be nested.

    Returns
    -------
    number, ndarray or list
        In nm, ps, Da, K, e, radians, and kJ/mol for energies; a list for a list or a tuple.
    """
    if isinstance(value, (list, tuple)):
        return [in_md_units(entry) for entry in value]
    return value.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(value) else value


def positions_in_nm(positions: Any) -> NDArray[np.float64]:
    """Positions of one conformation ``(N, 3)`` or many ``(B, N, 3)`` as a float64 array of the same shape in nm.

    Parameters
    ----------
    positions : array_like or Quantity, (N, 3) or (B, N, 3)
        Bare numbers are nm; Quantities (also lists of ``openmm.Vec3``) are converted.

    Raises
    ------
    ValueError
        If the last axis is not 3 or there are not 2 or 3 axes.
    """
    array = np.asarray(in_md_units(positions), dtype=np.float64)
    if array.ndim not in (2, 3) or array.shape[-1] != 3:
        raise ValueError(f"Positions have shape {array.shape}; give (N, 3) or (B, N, 3) in nm.")
    return array


def kT(temperature: Any = 300.0) -> float:
    """Thermal energy ``R T`` in kJ/mol, with the molar gas constant R of OpenMM.

    Parameters
    ----------
    temperature : float or Quantity
        K.

    Raises
    ------
    ValueError
        If it is not finite and above 0 K.

    Examples
    --------
    >>> round(kT(300.0), 4)
    2.4943
    """
    kelvin = float(in_md_units(temperature))
    if not 0 < kelvin < math.inf:
        raise ValueError(f"The temperature is {kelvin} K; give a finite one above 0 K.")
    return GAS_CONSTANT * kelvin
