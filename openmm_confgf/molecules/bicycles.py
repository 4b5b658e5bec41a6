"""Small bicycles, whose two bridgeheads decide each other's hand: which stereoisomers cannot exist for want of room."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ..units import NM_PER_ANGSTROM
from .graph import MolecularGraph
from .stereo import centre_and_neighbours, tetrahedral_hands

MOST_BRIDGE_ATOMS = 7
"""Atoms of the three bridges of a bicycle in which no bridgehead can point inwards. Norbornane has 5, bicyclo[3.3.1]nonane 7; the smallest
known with one inside have 9 (ingenol's bicyclo[4.4.1]undecane)."""

Bicycle = tuple[int, int, tuple[tuple[int, int], ...]]
"""Two bridgeheads, and for each of the three bridges its atoms beside the first and beside the second."""


def small_bicycles(mol: Chem.Mol) -> list[Bicycle]:
    """The bicycles of at most `MOST_BRIDGE_ATOMS` bridge atoms, each bridge of at least one, one for each way that the bridges can take.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised; hydrogens may be there or not.

    Returns
    -------
    list of Bicycle
        The bridgeheads of each, the lower index first, and its bridges' ends; atoms of exactly three ring bonds are bridgeheads.
    """
    inside = {b.GetIdx() for b in mol.GetBonds() if b.IsInRing()}
    around = [[b.GetOtherAtomIdx(a.GetIdx()) for b in a.GetBonds() if b.GetIdx() in inside] for a in mol.GetAtoms()]
    heads = [i for i, neighbours in enumerate(around) if len(neighbours) == 3]
    found: dict[Bicycle, None] = {}
    for first, second in itertools.combinations(heads, 2):
        bridges = list(_paths(around, first, second))
        for three in itertools.combinations(bridges, 3):
            atoms = [i for bridge in three for i in bridge]
            if len(atoms) <= MOST_BRIDGE_ATOMS and len(set(atoms)) == len(atoms):
                found[first, second, tuple((bridge[0], bridge[-1]) for bridge in three)] = None
    return list(found)


def turned_inside(graph: MolecularGraph) -> tuple[int, int] | None:
    """The bridgeheads of a small bicycle of which one points inwards, as they are specified; None for a molecule that can be.

    Seen from outside, the same three bridges turn in opposite senses at the two bridgeheads. Bicycles with an unspecified bridgehead are
    passed over.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    tuple of (int, int) or None
        Atom indices.
    """
    centres = {int(row[0]): row for row in graph.stereocentres}
    for first, second, bridges in small_bicycles(graph.mol):
        if first in centres and second in centres:
            hands = [_hand(graph.mol, centres[head].tolist(), [ends[k] for ends in bridges]) for k, head in enumerate((first, second))]
            if hands[0] == hands[1]:
                return first, second
    return None


def all_outwards(graph: MolecularGraph, frames: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the bridgeheads of each small bicycle point outwards in conformations, specified or not.

    Parameters
    ----------
    graph : MolecularGraph
    frames : ndarray of float64, (B, N, 3)
        Finite, in nm.

    Returns
    -------
    ndarray of bool, (B,)
        Bicycles with a bridgehead of other than four neighbours are not looked at, and a bridgehead without a hand (`tetrahedral_hands`)
        is let pass.
    """
    rows = []
    for *heads, bridges in small_bicycles(graph.mol):
        pair = [graph.mol.GetAtomWithIdx(head) for head in heads]
        if all(head.GetDegree() == 4 for head in pair):
            for head, ends in zip(pair, zip(*bridges, strict=True), strict=True):
                rows.append([head.GetIdx(), *ends, *(set(centre_and_neighbours(head)) - {head.GetIdx(), *ends})])
    hands = tetrahedral_hands(frames / NM_PER_ANGSTROM, np.array(rows, np.int64).reshape(-1, 5))
    return np.asarray((hands[:, ::2] * hands[:, 1::2] <= 0).all(-1))


def _paths(around: list[list[int]], first: int, last: int) -> Iterator[tuple[int, ...]]:
    """The atoms between two others along ring bonds, at least one and at most `MOST_BRIDGE_ATOMS` - 2."""

    def beyond(path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for after in around[path[-1]]:
            if after == last:
                yield path
            elif after != first and after not in path and len(path) < MOST_BRIDGE_ATOMS - 2:
                yield from beyond((*path, after))

    for start in around[first]:
        if start != last:
            yield from beyond((start,))


def _hand(mol: Chem.Mol, row: list[int], order: list[int]) -> int:
    """The sign of a specified centre's volume over three of its neighbours in another order than the row of `stereocentres` has."""
    neighbours = [bond.GetOtherAtomIdx(row[0]) for bond in mol.GetAtomWithIdx(row[0]).GetBonds()]
    new = [*order, *(i for i in neighbours if i not in order)]
    places = [new.index(i) for i in neighbours]
    swaps = sum(a > b for a, b in itertools.combinations(places, 2))
    return row[4] * (-1) ** swaps
