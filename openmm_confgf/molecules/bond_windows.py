"""How long a bond of its elements and order can be: ranges in relaxed molecules, and what heat adds."""

from __future__ import annotations

import math

from rdkit import Chem

from ..units import GAS_CONSTANT, KJ_PER_HARTREE, NM_PER_ANGSTROM, NM_PER_BOHR

HOTTEST = 500.0
"""K: conformations of unknown origin may be frames of simulations up to this."""

EMBEDDED = 200.0
"""K: embeddings that nothing relaxed are as rough as this; 3 of 380 of ETKDG, of molecules of the test archives, are rougher."""

LEVEL_TEMPERATURE = 30.0
"""K: relaxed molecules of other levels of theory and of generators differ from those of the table as if they were this warm."""

AMPLITUDES = 4.5
"""A bond, or an angle, of middling size is allowed this many standard deviations of its thermal motion: one in 100,000 is farther out."""

AMPLITUDES_AT_END = 3.3
"""What is at an end of its range in relaxed molecules, as one in hundreds of molecules is, is allowed as many beyond it: one frame in
2,000 is farther out, so that 99.9 % of a molecule's are not. With 3, it would be one in 740."""

RADII_RANGE = {"-": (0.75, 1.35), ">": (0.75, 1.35), ":": (0.75, 1.15), "=": (0.72, 1.15), "#": (0.68, 1.0)}
"""Lengths of bonds without data, over the sum of their covalent radii (Cordero et al. 2008, doi:10.1039/b801115j): what the bonds with
data have, and 5 %."""

_YLIDES = ("C=P", "C=S", "N=P", "N=S", "C=Se", "N=Se")
"""Double bonds that can be as long as single ones, as S(+)-N(-) is in acylated sulfoximines."""

_HYDROGEN_BOND = 0.08 * NM_PER_ANGSTROM
"""A strong hydrogen bond makes that of its donor longer; seen: O-H of 1.10 A, N-H of 1.11 A."""

_SOFTER = 1.4
_SOFTEST = {"N-S": 1.7, "C-Cl": 1.55}
"""Force fields hold single bonds, and those beyond neon, more loosely than Badger's rule. Amplitudes in OpenFF 2.2.1 at 300 and 500 K, over
its: C-C 1.3 to 1.4, C-N 1.2, C-O 1.3 to 1.4, N-O 1.4, C-S 1.4, C-Br 1.3, S=O 1.3, C-Cl 1.5, N-S 1.65 to 1.75; C:C 1.2, C-H 1.1, C#C 0.9.
The range of C-C is wide enough for its motion."""

_LONGEST_ARYNE = 1.275 * NM_PER_ANGSTROM
"""Of C#C in a ring of six or less; the GFN2-xTB minima of benzyne, 2,3-naphthalyne and cyclohexyne have 1.269, 1.257 and 1.221 A."""

_SIGNS = {
    Chem.BondType.SINGLE: "-",
    Chem.BondType.DOUBLE: "=",
    Chem.BondType.TRIPLE: "#",
    Chem.BondType.AROMATIC: ":",
    Chem.BondType.DATIVE: ">",
}

_BADGER_STRENGTH = 1.734
_BADGER_SHORTEST = ((-0.244, 0.352, 0.660), (0.352, 1.085, 1.522), (0.660, 1.522, 2.068))
"""Force constants ``A / (r - B)**3`` in atomic units, B by the rows of the elements (Schlegel 1984, doi:10.1007/BF00554788)."""

# Angstrom; printed by devtools/checks/bond_ranges.py, which tells from what. "*": conjugated.
_RANGES = """
Al-C 1.894 2.096; As-C 1.866 2.046; As-F 1.664 1.865; As-O 1.647 1.862; As=O 1.487 1.697; B-C 1.530 1.732; B-F 1.250 1.461
B-H 1.129 1.264; B-N 1.372 1.703; B-O 1.311 1.660; B:C 1.340 1.540; Br-Br 2.181 2.381; Br-C 1.797 2.007; Br-H 1.301 1.502
Br-N 1.741 1.973; Br-O 1.520 1.720; Br-P 2.123 2.324; C#C 1.194 1.210; C#C* 1.196 1.233; C#N 1.139 1.161; C#N* 1.139 1.176
C#O 1.020 1.198; C#P 1.447 1.647; C-C 1.406 1.694; C-C* 1.329 1.641; C-Cl 1.685 1.802; C-F 1.297 1.392; C-Ge 1.887 2.087; C-H 1.048 1.120
C-Hg 2.247 2.448; C-I 2.061 2.504; C-Li 1.816 2.017; C-Mg 2.025 2.226; C-N 1.393 1.627; C-N* 1.299 1.522; C-O 1.356 1.519
C-O* 1.200 1.434; C-P 1.790 1.968; C-S 1.698 2.004; C-Se 1.902 2.032; C-Si 1.835 1.976; C-Sn 2.094 2.295; C-Te 2.061 2.261
C-Zn 1.942 2.142; C:C 1.324 1.550; C:N 1.252 1.466; C:O 1.291 1.531; C:P 1.634 1.834; C:S 1.691 1.808; C:Se 1.754 1.954; C=C 1.295 1.389
C=C* 1.257 1.476; C=N* 1.184 1.368; C=O 1.175 1.232; C=O* 1.159 1.260; C=P 1.591 1.773; C=S* 1.527 1.696; C=Se* 1.688 1.889
C=Si 1.652 1.853; Cl-Cl 1.917 2.117; Cl-F 1.582 1.782; Cl-H 1.177 1.377; Cl-I 2.248 2.554; Cl-N 1.671 1.826; Cl-O 1.319 1.753
Cl-P 1.935 2.369; Cl-Pd 2.211 2.413; Cl-Pt 2.165 2.374; Cl-S 1.965 2.547; Cl-Si 1.914 2.114; Cl>Pd 2.211 2.412; F-F 1.303 1.503
F-H 0.832 1.032; F-I 1.773 2.039; F-N 1.288 1.472; F-O 1.285 1.485; F-P 1.509 1.694; F-S 1.552 1.791; F-Sb 1.818 2.019; F-Se 1.622 1.938
F-Si 1.466 1.666; F-Xe 1.847 2.051; H-H 0.677 0.877; H-I 1.471 1.672; H-N 0.997 1.070; H-O 0.953 1.018; H-P 1.334 1.459; H-S 1.300 1.433
H-Si 1.390 1.537; I-I 2.564 2.764; I-O 1.745 2.174; I=O 1.654 1.854; N#N 1.022 1.169; N#N* 1.005 1.205; N-N 1.349 1.496; N-N* 1.248 1.393
N-O 1.301 1.469; N-O* 1.187 1.435; N-P 1.607 1.770; N-S 1.625 1.769; N-Si 1.643 1.843; N:N 1.201 1.431; N:O 1.313 1.677; N:S 1.558 1.744
N=N 1.153 1.303; N=N* 1.072 1.301; N=O 1.110 1.310; N=O* 1.140 1.258; N=S 1.465 1.589; N>Pt 1.975 2.224; O-O 1.363 1.541; O-P 1.475 1.801
O-S 1.531 1.703; O-Si 1.571 1.713; O-Te 1.814 2.015; O=P 1.436 1.497; O=S 1.398 1.470; O=Se 1.500 1.700; P-S 2.017 2.174; P:P 2.100 2.271
P=S 1.865 1.997; S-S 1.977 2.151; S=S 1.800 2.000; Se-Se 2.192 2.392; Si-Si 2.234 2.420
"""


def bond_kind(bond: Chem.Bond) -> str:
    """What the range of a bond's length depends on: elements, order and conjugation, such as ``"C=C*"``.

    Parameters
    ----------
    bond : rdkit.Chem.Bond
        Of a sanitised molecule.

    Returns
    -------
    str
        The elements in alphabetical order about ``-``, ``=``, ``#``, ``:`` (aromatic) or ``>`` (dative); ``*`` where it is conjugated and
        not aromatic.
    """
    first, last = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
    return f"{first}{_SIGNS.get(bond.GetBondType(), '-')}{last}{'*' * (bond.GetIsConjugated() and not bond.GetIsAromatic())}"


def bond_window(bond: Chem.Bond, temperature: float = HOTTEST) -> tuple[float, float]:
    """The shortest and the longest that a bond can be in a conformation of its molecule.

    Heat adds multiples of the standard deviation ``sqrt(R T / k)`` of a harmonic bond, whose force constant k is that of Badger's rule with
    the parameters of Schlegel 1984 (doi:10.1007/BF00554788), softened to what force fields have.

    Parameters
    ----------
    bond : rdkit.Chem.Bond
        Of a sanitised molecule.
    temperature : float
        K, of the simulation that the conformation may come from; 0 for minima and conformers.

    Returns
    -------
    tuple of (float, float)
        nm.
    """
    low, high = _relaxed_range(bond)
    half_range = (high - low) / 2
    return low - _allowance(bond, low, half_range, temperature), high + _allowance(bond, high, half_range, temperature)


def _allowance(bond: Chem.Bond, length: float, half_range: float, temperature: float) -> float:
    """What other levels and heat add at an end of a range, nm; more at the upper end, since longer bonds are softer."""
    levels, heat = (_thermal_amplitude(bond, length, t) for t in (LEVEL_TEMPERATURE, LEVEL_TEMPERATURE + temperature))
    # another level moves all molecules of a kind, those at the ends of the range too
    return max(AMPLITUDES * levels, thermal_allowance(_softness(bond) * heat, half_range))


def thermal_allowance(amplitude: float, half_range: float) -> float:
    """What heat adds at either end of a range of relaxed molecules, from the standard deviation of the motion.

    Where in the range a molecule lies and how far it moves are independent, so that their squares add up: the larger of
    ``sqrt(h^2 + (AMPLITUDES s)^2) - h`` and ``AMPLITUDES_AT_END s``, with the motion s and half of the range h. Source: derived here.

    Parameters
    ----------
    amplitude : float
        Standard deviation of the motion.
    half_range : float
        Half of what lies between the ends of the range; both in one unit, which is that of the result.

    Examples
    --------
    >>> round(thermal_allowance(0.002, 0.004), 4), round(thermal_allowance(0.002, 0.0), 4)
    (0.0066, 0.009)
    """
    return max(math.hypot(half_range, AMPLITUDES * amplitude) - half_range, AMPLITUDES_AT_END * amplitude)


def _relaxed_range(bond: Chem.Bond) -> tuple[float, float]:
    """Shortest and longest in relaxed molecules, nm."""
    kind = bond_kind(bond)
    low, high = _known_range(kind) or _range_of_radii(bond)
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    other = None
    if "-" in kind and min(end.GetFormalCharge() for end in ends) < 0:
        # what is written with a charge is often drawn with a double bond too: S(=O)(=O)[O-], [P+][CH2-]
        other = _known_range(kind.replace("-", "="))
    elif kind.rstrip("*") in _YLIDES:
        other = _known_range(kind.replace("=", "-"))
    low, high = (min(low, other[0]), max(high, other[1])) if other else (low, high)
    if kind in ("C#C", "C#C*") and any(bond.IsInRingSize(size) for size in (3, 4, 5, 6)):
        high = max(high, _LONGEST_ARYNE)
    return low, high + _HYDROGEN_BOND * (kind in ("H-N", "H-O", "F-H"))


def _known_range(kind: str) -> tuple[float, float] | None:
    other = kind.removesuffix("*") if kind.endswith("*") else f"{kind}*"
    return _TABLE.get(kind) or _TABLE.get(other)


def _range_of_radii(bond: Chem.Bond) -> tuple[float, float]:
    table = Chem.GetPeriodicTable()
    touching = NM_PER_ANGSTROM * sum(table.GetRcovalent(atom.GetAtomicNum()) for atom in (bond.GetBeginAtom(), bond.GetEndAtom()))
    low, high = RADII_RANGE[_SIGNS.get(bond.GetBondType(), "-")]
    return low * touching, high * touching


def _thermal_amplitude(bond: Chem.Bond, length: float, temperature: float) -> float:
    """Standard deviation (nm) of the length of a harmonic bond, ``sqrt(R T / k)``."""
    rows = [min(2, sum(atom.GetAtomicNum() > z for z in (2, 10))) for atom in (bond.GetBeginAtom(), bond.GetEndAtom())]
    # bonds that are shorter than expected would become infinitely stiff
    beyond = max(length / NM_PER_BOHR - _BADGER_SHORTEST[rows[0]][rows[1]], 0.5)
    force_constant = _BADGER_STRENGTH / beyond**3 * KJ_PER_HARTREE / NM_PER_BOHR**2
    return math.sqrt(GAS_CONSTANT * temperature / force_constant)


def _softness(bond: Chem.Bond) -> float:
    """How many times as wide as Badger's rule has it the motion of a bond is in force fields."""
    numbers = sorted((bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()))
    loose = numbers[1] > 10 or (numbers[0] > 1 and numbers[1] > 6 and bond.GetBondType() == Chem.BondType.SINGLE)
    return _SOFTEST.get(bond_kind(bond).rstrip("*"), _SOFTER if loose else 1.0)


def _parsed(table: str) -> dict[str, tuple[float, float]]:
    rows = (entry.split() for entry in table.replace("\n", ";").split(";") if entry.strip())
    return {kind: (float(low) * NM_PER_ANGSTROM, float(high) * NM_PER_ANGSTROM) for kind, low, high in rows}


_TABLE = _parsed(_RANGES)
