"""The torsions by which a molecule changes its shape, one for each rotatable bond."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from .equivalence import ranks_without_resonance
from .graph import MolecularGraph

_INNER_ATOM = "[!#1;!$(*#*);$(*(~[!#1])~[!#1])]"
_ROTATABLE = Chem.MolFromSmarts(f"{_INNER_ATOM}-;!@{_INNER_ATOM}")


def rotatable_torsions(graph: MolecularGraph) -> NDArray[np.int64]:
    """One torsion a-b-c-d, (n, 4), for each rotatable bond b-c: single, not in a ring, no end atom, not beside a triple bond.

    a and d are the heavy neighbours with the lowest index.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    ndarray of int64, (n, 4)
        Atoms a, b, c, d, from 0.
    """
    rows = []
    for b, c in graph.mol.GetSubstructMatches(_ROTATABLE):
        rows.append([_first_heavy_neighbour(graph, b, c), b, c, _first_heavy_neighbour(graph, c, b)])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def torsion_orders(graph: MolecularGraph, torsions: NDArray[np.int64]) -> list[int]:
    """By how many angles of a full turn each torsion has the same conformation: 2 at a phenyl or carboxylate, 3 at a CF3, else 1.

    Parameters
    ----------
    graph : MolecularGraph
    torsions : ndarray of int64, (n, 4)
        As of `rotatable_torsions`.

    Returns
    -------
    list of int, (n,)
    """
    ranks = ranks_without_resonance(graph.mol)
    return [math.lcm(_alike(graph, ranks, b, c), _alike(graph, ranks, c, b)) for _, b, c, _ in torsions.tolist()]


def _alike(graph: MolecularGraph, ranks: list[int], atom: int, other: int) -> int:
    """How many neighbours an atom has besides another, if they are all alike; else 1."""
    around = [ranks[n.GetIdx()] for n in graph.mol.GetAtomWithIdx(atom).GetNeighbors() if n.GetIdx() != other]
    return len(around) if len(set(around)) == 1 else 1


def _first_heavy_neighbour(graph: MolecularGraph, atom: int, other: int) -> int:
    neighbours = graph.mol.GetAtomWithIdx(atom).GetNeighbors()
    return min(n.GetIdx() for n in neighbours if n.GetAtomicNum() != 1 and n.GetIdx() != other)
