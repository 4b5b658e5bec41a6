"""How long a bond of its elements and order can be: ranges in relaxed molecules, and what heat adds."""

from __future__ import annotations

import math

from rdkit import Chem

from .units import GAS_CONSTANT, KJ_PER_HARTREE, NM_PER_ANGSTROM, NM_PER_BOHR

HOTTEST = 500.0
"""K: conformations of unknown origin may be frames of simulations up to this."""

LEVEL_TEMPERATURE = 30.0
"""K: relaxed molecules of other levels of theory and of generators differ from those of the table as if they were this warm."""

AMPLITUDES = 4.5
"""A bond is allowed this many standard deviations of its thermal motion beyond its range in relaxed molecules: one in 100,000 is farther
out."""

RADII_RANGE = {"-": (0.75, 1.35), ">": (0.75, 1.35), ":": (0.75, 1.15), "=": (0.72, 1.15), "#": (0.68, 1.0)}
"""Lengths of bonds without data, over the sum of their covalent radii (Cordero et al. 2008): what the bonds with data have, and 5 %."""

_SIGNS = {
    Chem.BondType.SINGLE: "-",
    Chem.BondType.DOUBLE: "=",
    Chem.BondType.TRIPLE: "#",
    Chem.BondType.AROMATIC: ":",
    Chem.BondType.DATIVE: ">",
}

_BADGER_STRENGTH = 1.734
_BADGER_SHORTEST = ((-0.244, 0.352, 0.660), (0.352, 1.085, 1.522), (0.660, 1.522, 2.068))
"""Force constants ``A / (r - B)**3`` in atomic units, B by the rows of the elements (Schlegel 1984, Theor. Chim. Acta 66, 333)."""

# Angstrom; printed by devtools/checks/bond_ranges.py, which tells from what. "*": conjugated.
_RANGES = """
B-C 1.530 1.732; B-F 1.284 1.492; B-H 1.111 1.241; B-N 1.375 1.595; B-O 1.310 1.660; Br-C 1.797 2.007; Br-N 1.741 1.973; C#C 1.191 1.207
C#C* 1.190 1.224; C#N 1.135 1.154; C#N* 1.131 1.162; C-C 1.390 1.729; C-C* 1.346 1.660; C-Cl 1.685 1.802; C-F 1.314 1.396
C-H 1.046 1.120; C-I 2.061 2.504; C-N 1.371 1.595; C-N* 1.249 1.469; C-O 1.345 1.466; C-O* 1.206 1.417; C-P 1.789 1.900; C-S 1.698 1.915
C-Si 1.860 1.986; C:C 1.329 1.575; C:N 1.250 1.468; C:O 1.295 1.482; C:S 1.691 1.808; C=C 1.311 1.365; C=C* 1.315 1.427; C=N* 1.229 1.370
C=O 1.177 1.221; C=O* 1.175 1.254; C=S* 1.598 1.697; Cl-S 2.360 2.597; H-N 0.995 1.074; H-O 0.950 1.102; H-P 1.325 1.475; H-S 1.299 1.434
N-N 1.348 1.452; N-N* 1.246 1.396; N-O 1.302 1.470; N-O* 1.194 1.429; N-P 1.607 1.770; N-S 1.625 1.769; N:N 1.197 1.394; N:O 1.306 1.434
N:S 1.558 1.774; N=N* 1.082 1.308; N=O* 1.187 1.252; N=S 1.425 1.628; O-O 1.348 1.584; O-P 1.475 1.671; O-S 1.530 1.703; O-Si 1.550 1.734
O=P 1.436 1.497; O=S 1.398 1.467; P-S 2.017 2.174; P=S 1.852 2.003; S-S 1.953 2.162
"""


def bond_kind(bond: Chem.Bond) -> str:
    """What the range of a bond's length depends on: elements, order and conjugation, such as ``"C=C*"``."""
    first, last = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
    return f"{first}{_SIGNS.get(bond.GetBondType(), '-')}{last}{'*' * (bond.GetIsConjugated() and not bond.GetIsAromatic())}"


def bond_window(mol: Chem.Mol, bond: Chem.Bond, temperature: float = HOTTEST) -> tuple[float, float]:
    """The shortest and the longest that a bond can be in a conformation of this molecule.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised.
    bond : rdkit.Chem.Bond
        One of its bonds.
    temperature : float
        K, of the simulation that the conformation may come from; 0 for minima and conformers.

    Returns
    -------
    tuple of float
        nm.
    """
    low, high = _relaxed_range(bond)
    more = AMPLITUDES * _thermal_amplitude(bond, (low + high) / 2, temperature)
    return low - more, high + more


def _relaxed_range(bond: Chem.Bond) -> tuple[float, float]:
    """Shortest and longest in relaxed molecules, nm."""
    kind = bond_kind(bond)
    low, high = _known_range(kind) or _range_of_radii(bond)
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    if "-" in kind and min(end.GetFormalCharge() for end in ends) < 0:
        # what is written with a charge is often drawn with a double bond too: S(=O)(=O)[O-], [P+][CH2-]
        if double := _known_range(kind.replace("-", "=")):
            low, high = min(low, double[0]), max(high, double[1])
    return low, high


def _known_range(kind: str) -> tuple[float, float] | None:
    other = kind.removesuffix("*") if kind.endswith("*") else f"{kind}*"
    return _TABLE.get(kind) or _TABLE.get(other)


def _range_of_radii(bond: Chem.Bond) -> tuple[float, float]:
    table = Chem.GetPeriodicTable()
    touching = NM_PER_ANGSTROM * sum(table.GetRcovalent(atom.GetAtomicNum()) for atom in (bond.GetBeginAtom(), bond.GetEndAtom()))
    low, high = RADII_RANGE[_SIGNS.get(bond.GetBondType(), "-")]
    return low * touching, high * touching


def _thermal_amplitude(bond: Chem.Bond, length: float, temperature: float) -> float:
    """Standard deviation (nm) of the length of a harmonic bond, ``sqrt(R T / k)``, at the temperature and the `LEVEL_TEMPERATURE`."""
    rows = [min(2, sum(atom.GetAtomicNum() > z for z in (2, 10))) for atom in (bond.GetBeginAtom(), bond.GetEndAtom())]
    # bonds that are shorter than expected would become infinitely stiff
    beyond = max(length / NM_PER_BOHR - _BADGER_SHORTEST[rows[0]][rows[1]], 0.5)
    force_constant = _BADGER_STRENGTH / beyond**3 * KJ_PER_HARTREE / NM_PER_BOHR**2
    return math.sqrt(GAS_CONSTANT * (temperature + LEVEL_TEMPERATURE) / force_constant)


def _parsed(table: str) -> dict[str, tuple[float, float]]:
    rows = (entry.split() for entry in table.replace("\n", ";").split(";") if entry.strip())
    return {kind: (float(low) * NM_PER_ANGSTROM, float(high) * NM_PER_ANGSTROM) for kind, low, high in rows}


_TABLE = _parsed(_RANGES)
