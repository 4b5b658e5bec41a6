"""Keys of bonds and stereo that are equal for the same molecule in the same atom order, whatever the order of its bonds."""

from __future__ import annotations

import itertools

from rdkit import Chem


def bond_key(bond: Chem.Bond) -> tuple[int, int, int]:
    """The two atoms of a bond and its order: the lower index first, but for a dative bond, which has a direction.

    Parameters
    ----------
    bond : rdkit.Chem.Bond
    """
    first, last = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    if first > last and bond.GetBondType() != Chem.BondType.DATIVE:
        first, last = last, first
    return first, last, int(bond.GetBondType())


def centre_key(atom: Chem.Atom, hand: int) -> tuple[int, int]:
    """A centre and its hand with its neighbours in the order of their indices.

    Parameters
    ----------
    atom : rdkit.Chem.Atom
        The centre.
    hand : int
        1 or -1 (`HANDS`), with the neighbours in RDKit's order of bonds.

    Returns
    -------
    tuple of (int, int)
        The centre's index, and 1 or -1.
    """
    neighbours = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
    swaps = sum(a > b for a, b in itertools.combinations(neighbours, 2))
    return atom.GetIdx(), -hand if swaps % 2 else hand


def double_bond_key(mol: Chem.Mol, first: int, begin: int, end: int, last: int, side: int) -> tuple[int, int, int]:
    """A double bond and the side of the neighbours of lowest index, given that of two others.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
    first, begin, end, last : int
        The chain ``first-begin=end-last``.
    side : int
        1 where `first` and `last` are on the same side, -1 where they are not.
    """
    for near, far, neighbour in ((begin, end, first), (end, begin, last)):
        lowest = min(n for bond in mol.GetAtomWithIdx(near).GetBonds() if (n := bond.GetOtherAtomIdx(near)) != far)
        side = side if neighbour == lowest else -side
    return min(begin, end), max(begin, end), side
