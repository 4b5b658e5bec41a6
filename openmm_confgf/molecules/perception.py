"""Bond orders from connectivity, charges and bond lengths, and what makes a perceived molecule implausible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from ..errors import MoleculeError
from ..units import NM_PER_ANGSTROM
from .bond_windows import bond_window

Orders = dict[tuple[int, int], int]
"""The order of the bond of atoms i < j."""

_RDKIT_ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}

_LIKELY_CHARGES = ((0,), (1, -1), (2, -2), (3, -3))

_MOST_ORDERINGS = 5000
"""Bond orderings that are tried at one charge, so that a molecule which has none does not take minutes."""

_MOST_SOLUTIONS = 100
"""Kekule structures that are compared by their bond lengths; the search begins with the shortest bonds."""

_LONGEST = {
    **{("C", "C", 1.5): 1.52, ("C", "C", 2.0): 1.45, ("C", "C", 3.0): 1.28},
    **{("C", "N", 1.5): 1.49, ("C", "N", 2.0): 1.40, ("C", "N", 3.0): 1.22},
    **{("C", "O", 1.5): 1.46, ("C", "O", 2.0): 1.33, ("C", "S", 2.0): 1.74},
    **{("N", "N", 1.5): 1.45, ("N", "N", 2.0): 1.33, ("N", "N", 3.0): 1.22, ("N", "O", 2.0): 1.30},
    **{("O", "P", 2.0): 1.55, ("O", "S", 2.0): 1.54},
}
"""The longest bond (A) that is taken for one of this order; `bond_window`, which lets known molecules move, is wider. In the relaxed
molecules of the archives (GFN2-xTB, B3LYP; every third one) the longest are C=C 1.403, C=N 1.354, C=O 1.251, C=S 1.66, N=N 1.27, N=O
1.24, P=O 1.49, S=O 1.48, C#C 1.214, C#N 1.151, and in aromatic rings C-C 1.520, C-N 1.483, C-O 1.442, N-N 1.444; thermal motion adds
about 0.05. Single bonds of sp3 atoms are longer: C-C 1.53, C-N 1.46, C-O 1.41."""

_SHORTEST = {("C", "C", 2.0): 1.24}
"""The shortest bond (A) that is taken for one of this order; butatriene has 1.26 in its middle, and triple bonds 1.20."""

_LONGEST_ANION = {"C": 1.31, "N": 1.33, "P": 1.56, "S": 1.53}
"""The longest bond (A) of an O(-) to this element whose charge is not given; a longer one lacks its hydrogen. Carboxylates have 1.27 and
phenolates 1.28, acids 1.35; phosphates 1.51 and 1.61, sulfonates 1.47 and 1.63, N-oxides 1.31 and hydroxylamines 1.40."""

_MOST_BENT_SP = 140.0
"""Angle (degrees) at an sp atom below which it is none: strained alkynes in eight-rings have 156, sp2 atoms 120."""

_SMALLEST_SP_RING = 8

ADD_HYDROGENS = (
    "add them (Chem.AddHs(mol, addCoords=True) after AllChem.AssignBondOrdersFromTemplate with the molecule's SMILES, or PDBFixer for "
    "standard residues), or give an SDF file"
)
"""The cure for missing hydrogens."""

BARE = f"The molecule has no hydrogens, and without them it is none that can be; {ADD_HYDROGENS}."

_CURE = (
    "check that all hydrogens are present, tell bond orders and charges (Bond.order and formalCharge of a Topology; repeated CONECT "
    "records and columns 79-80 of a PDB file), or read the molecule from an SDF file"
)


def with_perceived_orders(mol: Chem.RWMol, charges: Sequence[int | None], known: Mapping[tuple[int, int], int | None]) -> Chem.Mol:
    """The molecule with bond orders that its connectivity, its charges and its bond lengths tell.

    Parameters
    ----------
    mol : rdkit.Chem.RWMol
        All atoms and bonds, and one conformer in Angstrom.
    charges : sequence of (int or None), (N,)
        Formal charges in e; None where unknown. If the charge of any atom is given, those that are not are 0.
    known : mapping of (int, int) to (int or None)
        Orders of bonds (atoms i < j) that are known; None or missing for the others.

    Returns
    -------
    rdkit.Chem.Mol
        A sanitised copy, with the conformer.

    Raises
    ------
    MoleculeError
        If there is no plausible molecule, or more than one.
    """
    if is_bare(mol) and all(charge is None for charge in charges):
        raise MoleculeError(f"The molecule has no hydrogens, and its bond orders cannot be told without them; {ADD_HYDROGENS}.")
    given = [charge is not None for charge in charges]
    fixed: Orders = {pair: order for pair, order in known.items() if order is not None}
    reasons: list[str] = []
    found = _at_charges(mol, _certain_charges(mol, charges), fixed)
    if found is not None:
        problem = implausible(found, given)
        if problem is None:
            return found
        reasons.append(problem)
    if not any(given):
        for total in _LIKELY_CHARGES:
            trials = [trial for trial in (_perceived(mol, charge, fixed) for charge in total) if trial is not None]
            problems = [implausible(trial, given) for trial in trials]
            plausible = [trial for trial, problem in zip(trials, problems, strict=True) if problem is None]
            if len(plausible) == 1:
                return plausible[0]
            reasons.extend(problem for problem in problems if problem is not None)
            if plausible:
                break
    if is_bare(mol):
        raise MoleculeError(BARE)
    why = f" ({reasons[0]})" if reasons else ""
    raise MoleculeError(f"The atoms and bonds do not tell the bond orders{why}; {_CURE}.")


def is_bare(mol: Chem.Mol) -> bool:
    """Whether a molecule with carbon has no hydrogens: few such are complete.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
    """
    numbers = {atom.GetAtomicNum() for atom in mol.GetAtoms()}
    return 6 in numbers and 1 not in numbers


def apply_orders(mol: Chem.RWMol, orders: Mapping[tuple[int, int], int], charges: Sequence[int]) -> None:
    """Set bond orders and formal charges in place.

    Parameters
    ----------
    mol : rdkit.Chem.RWMol
        Has all these bonds.
    orders : mapping of (int, int) to int
        1, 2 or 3 for the bond of two atoms; others stay as they are.
    charges : sequence of int, (N,)
        Formal charges in e.

    Raises
    ------
    MoleculeError
        If an order is none of these.
    """
    for pair, order in orders.items():
        if order not in _RDKIT_ORDERS:
            raise MoleculeError(f"There is a bond of order {order} between atoms {pair[0]} and {pair[1]}; give 1, 2 or 3.")
        mol.GetBondBetweenAtoms(*pair).SetBondType(_RDKIT_ORDERS[order])
    for atom, charge in zip(mol.GetAtoms(), charges, strict=True):
        atom.SetFormalCharge(int(charge))


def implausible(mol: Chem.Mol, given: Sequence[bool]) -> str | None:
    """Why this is no molecule that these coordinates show, or None.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised, with one conformer in Angstrom.
    given : sequence of bool, (N,)
        Whether the formal charge of an atom is known, not guessed.
    """
    positions = mol.GetConformer().GetPositions()
    shapes = (_odd_shape(atom, positions) for atom in mol.GetAtoms())
    bonds = (_odd_bond(bond, positions) for bond in mol.GetBonds())
    return odd_charge(mol, given) or next(filter(None, itertools.chain(shapes, bonds)), None)


def odd_charge(mol: Chem.Mol, given: Sequence[bool]) -> str | None:
    """Why the charges that are not given cannot be what these coordinates show, or None.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised, with one conformer in Angstrom.
    given : sequence of bool, (N,)
        Whether the formal charge of an atom is known, not guessed.
    """
    positions = mol.GetConformer().GetPositions()
    return next(filter(None, (_odd_charge(atom, given[atom.GetIdx()], positions) for atom in mol.GetAtoms())), None)


def closed_shell_charge(number: int, valence: int) -> int:
    """The formal charge in e that makes an atom closed-shell; 0 where its neutral form is, or nothing is known.

    Parameters
    ----------
    number : int
        Atomic number.
    valence : int
        Sum of the orders of its bonds.

    Examples
    --------
    >>> closed_shell_charge(7, 4), closed_shell_charge(8, 1), closed_shell_charge(5, 4), closed_shell_charge(6, 4)
    (1, -1, -1, 0)
    """
    allowed = Chem.GetPeriodicTable().GetValenceList(number)
    if valence in allowed or -1 in allowed:
        return 0
    if number == 5:
        return int(allowed[0] - valence)
    return int(valence - max((v for v in allowed if v < valence), default=allowed[0]))


def _certain_charges(mol: Chem.Mol, charges: Sequence[int | None]) -> list[int]:
    """Charges where they are given or neighbours alone tell them: N and B with four, and nitro groups; 0 elsewhere."""
    guessed = [charge or 0 for charge in charges]
    if any(charge is not None for charge in charges):
        return guessed
    for atom in mol.GetAtoms():
        if atom.GetDegree() == 4 and atom.GetAtomicNum() in (5, 7):
            guessed[atom.GetIdx()] = 1 if atom.GetAtomicNum() == 7 else -1
        ends = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 8 and n.GetDegree() == 1]
        if atom.GetAtomicNum() == 7 and atom.GetDegree() == 3 and len(ends) == 2:
            guessed[atom.GetIdx()], guessed[ends[1]] = 1, -1
    return guessed


def _at_charges(mol: Chem.RWMol, charges: Sequence[int], known: Orders) -> Chem.Mol | None:
    """The best Lewis structure in which every atom has this formal charge, or None where there is none."""
    positions = mol.GetConformer().GetPositions()
    pairs = [(min(b.GetBeginAtomIdx(), b.GetEndAtomIdx()), max(b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()]
    lengths = {pair: float(np.linalg.norm(positions[pair[0]] - positions[pair[1]])) for pair in pairs}
    orders = {pair: known.get(pair, 1) for pair in pairs}
    valence = np.zeros(mol.GetNumAtoms(), int)
    for (i, j), order in orders.items():
        valence[[i, j]] += order
    room = [_room(atom.GetAtomicNum(), charges[atom.GetIdx()], int(valence[atom.GetIdx()])) for atom in mol.GetAtoms()]
    if any(not extra for extra in room):
        return None
    best, score = None, (np.inf, np.inf)
    for found in _lewis_structures(orders, {pair for pair in pairs if pair not in known}, room, lengths):
        total = (float(sum(found.values())), sum(order * lengths[pair] for pair, order in found.items()))
        if total < score:
            best, score = found, total
    if best is None:
        return None
    trial = Chem.RWMol(mol)
    apply_orders(trial, best, charges)
    with rdBase.BlockLogs():
        return trial if Chem.SanitizeMol(trial, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE else None


def _room(number: int, charge: int, valence: int) -> tuple[int, ...]:
    """How many more bonds an atom may have; nothing where it has too many, or its charge is none that it can have."""
    table = Chem.GetPeriodicTable()
    if -1 in table.GetValenceList(number):
        return (0,)
    # an ion binds as the neutral atom with as many electrons; a proton and a bare halide bind nothing
    electrons = number - charge
    allowed = [0] if electrons in (0, 2, 10, 18, 36, 54) else list(table.GetValenceList(electrons)) if electrons > 0 else []
    return tuple(v - valence for v in allowed if v >= valence)


def _lewis_structures(
    orders: Orders, free: set[tuple[int, int]], room: Sequence[tuple[int, ...]], lengths: Mapping[tuple[int, int], float]
) -> Iterator[Orders]:
    """Structures in which every atom has one of the numbers of extra bonds in `room`, those with short multiple bonds first."""
    partners: dict[int, list[tuple[float, int]]] = {i: [] for i in range(len(room))}
    for (i, j), length in lengths.items():
        if (i, j) in free:
            partners[i].append((length, j))
            partners[j].append((length, i))
    for around in partners.values():
        around.sort()
    extra = [0] * len(room)
    added: Orders = {}
    seen: set[tuple[tuple[tuple[int, int], int], ...]] = set()
    steps = 0

    def open_partners(i: int) -> list[int]:
        possible = [
            j for _, j in partners[i] if extra[j] < max(room[j]) and orders[min(i, j), max(i, j)] + added.get((min(i, j), max(i, j)), 0) < 3
        ]
        return sorted(possible, key=lambda j: extra[j] in room[j])

    def search() -> Iterator[Orders]:
        nonlocal steps
        steps += 1
        wanting = [i for i in range(len(room)) if extra[i] not in room[i]]
        if not wanting:
            key = tuple(sorted((pair, count) for pair, count in added.items() if count))
            if key not in seen:
                seen.add(key)
                yield {pair: order + added.get(pair, 0) for pair, order in orders.items()}
            return
        choices = {i: open_partners(i) for i in wanting}
        i = min(wanting, key=lambda k: (len(choices[k]), k))
        for j in choices[i]:
            if steps > _MOST_ORDERINGS or len(seen) >= _MOST_SOLUTIONS:
                return
            pair = (min(i, j), max(i, j))
            extra[i] += 1
            extra[j] += 1
            added[pair] = added.get(pair, 0) + 1
            yield from search()
            extra[i] -= 1
            extra[j] -= 1
            added[pair] -= 1

    yield from search()


def _perceived(mol: Chem.RWMol, charge: int, known: Orders) -> Chem.Mol | None:
    """The molecule with bond orders at this total charge, its multiple bonds on the shortest bonds; None where they make no sense."""
    trial = Chem.Mol(mol)
    try:
        with rdBase.BlockLogs():
            rdDetermineBonds.DetermineBondOrders(trial, charge=charge, embedChiral=False, maxIterations=_MOST_ORDERINGS)
            _neutralise_sulfoxides(trial)
            Chem.SanitizeMol(trial)
    except (ValueError, RuntimeError):  # RDKit says "this charge does not fit" so
        return None
    if not all(map(_makes_sense, trial.GetAtoms())):
        return None
    return _at_charges(mol, [atom.GetFormalCharge() for atom in trial.GetAtoms()], known)


def _neutralise_sulfoxides(mol: Chem.Mol) -> None:
    """S=O in place of the S(+)-O(-) that bond perception writes."""
    for bond in mol.GetBonds():
        ends = sorted((bond.GetBeginAtom(), bond.GetEndAtom()), key=lambda atom: atom.GetAtomicNum())
        if [(a.GetAtomicNum(), a.GetFormalCharge()) for a in ends] == [(8, -1), (16, 1)]:
            bond.SetBondType(Chem.BondType.DOUBLE)
            for atom in ends:
                atom.SetFormalCharge(0)


def _makes_sense(atom: Chem.Atom) -> bool:
    """No radical, no carbanion or carbocation, no S(+), P(+) or X(+), no open-shell N, and no two like charges side by side or on one N."""
    number, charge = atom.GetAtomicNum(), atom.GetFormalCharge()
    around = [neighbour.GetFormalCharge() for neighbour in atom.GetNeighbors()]
    odd = atom.GetNumRadicalElectrons() > 0 or (number == 7 and charge == 0 and atom.GetTotalValence() == 2)
    misplaced = charge != 0 and ((number == 6 and atom.GetDegree() > 1) or (charge > 0 and number not in (6, 7, 8)))
    crowded = any(charge * other > 0 for other in around) or (number == 7 and charge <= 0 and sum(other < 0 for other in around) > 1)
    return not (odd or misplaced or crowded)


def _odd_charge(atom: Chem.Atom, given: bool, positions: NDArray[np.float64]) -> str | None:
    charge, label = atom.GetFormalCharge(), f"atom {atom.GetIdx()} ({atom.GetSymbol()})"
    if atom.GetNumRadicalElectrons():
        return f"{label} would be a radical"
    if not given and abs(charge) > 1:
        return f"{label} would have the charge {charge:+d}"
    if not given and charge < 0 and not _is_anion(atom, positions):
        return f"{label} lacks a hydrogen, or its charge of {charge:+d} has to be given"
    if not given and charge > 0 and atom.GetSymbol() in ("P", "S", "Se") and atom.GetTotalValence() > atom.GetDegree():
        return f"{label} lacks a bond, or its charge of {charge:+d} has to be given"
    return None


def _odd_shape(atom: Chem.Atom, positions: NDArray[np.float64]) -> str | None:
    index, label = atom.GetIdx(), f"atom {atom.GetIdx()} ({atom.GetSymbol()})"
    if atom.GetSymbol() not in ("C", "N") or atom.GetDegree() != 2:
        return None
    doubles = sum(bond.GetBondTypeAsDouble() == 2 for bond in atom.GetBonds())
    triple = any(bond.GetBondTypeAsDouble() == 3 for bond in atom.GetBonds())
    if doubles < 2 and not triple:
        return None
    rings = atom.GetOwningMol().GetRingInfo().AtomRingSizes(index)
    if rings and min(rings) < _SMALLEST_SP_RING:
        return f"{label} would be sp in a ring of {min(rings)}"
    first, second = (positions[neighbour.GetIdx()] - positions[index] for neighbour in atom.GetNeighbors())
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return f"{label} would be sp with an angle of {angle:.0f} degrees" if angle < _MOST_BENT_SP else None


def _is_anion(atom: Chem.Atom, positions: NDArray[np.float64]) -> bool:
    """Whether an atom that wants a charge looks like an anion, rather than like an atom that lost its hydrogen."""
    neighbours = atom.GetNeighbors()
    if atom.GetAtomicNum() == 5 or not neighbours or (atom.GetSymbol() == "C" and len(neighbours) == 1):
        return True
    if len(neighbours) > 1:
        return False
    bound = neighbours[0]
    if atom.GetSymbol() == "N":
        return bool(bound.GetFormalCharge() > 0)
    if bound.GetSymbol() == "N" and any(bond.GetBondTypeAsDouble() == 2 for bond in bound.GetBonds()):
        return True
    if any(bond.GetBondTypeAsDouble() > 1 and bond.GetOtherAtom(bound).GetSymbol() == "N" for bond in bound.GetBonds()):
        return False  # an amide or a lactam that lost the hydrogen of its nitrogen
    length = float(np.linalg.norm(positions[atom.GetIdx()] - positions[bound.GetIdx()]))
    return atom.GetSymbol() == "O" and length <= _LONGEST_ANION.get(bound.GetSymbol(), 0.0)


def _odd_bond(bond: Chem.Bond, positions: NDArray[np.float64]) -> str | None:
    ends = bond.GetBeginAtom(), bond.GetEndAtom()
    first, second = sorted(atom.GetSymbol() for atom in ends)
    key = first, second, bond.GetBondTypeAsDouble()
    length = float(np.linalg.norm(positions[ends[0].GetIdx()] - positions[ends[1].GetIdx()]))
    low, high = (limit / NM_PER_ANGSTROM for limit in bond_window(bond))
    if max(low, _SHORTEST.get(key, low)) <= length <= min(high, _LONGEST.get(key, high)):
        return None
    kind = {1.0: "single", 1.5: "aromatic", 2.0: "double", 3.0: "triple"}[bond.GetBondTypeAsDouble()]
    return f"the bond of atoms {ends[0].GetIdx()} and {ends[1].GetIdx()} would be {kind}, and is {length:.2f} A long"
