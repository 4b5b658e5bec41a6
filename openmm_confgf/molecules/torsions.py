"""The torsions by which a molecule changes its shape, one for each rotatable bond."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from .equivalence import ranks_without_resonance
from .graph import MolecularGraph
from .matching import atom_orders, skeleton

MOST_IMAGES = 24
"""Exchanges of like atoms that are told apart by torsions; molecules with more are those of many alike branches."""

_MOST_MATCHES = 2000

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


def torsion_images(graph: MolecularGraph, torsions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The torsions under every exchange of atoms that are alike: the methyls of an isopropyl, the two halves of a symmetric molecule.

    Hydrogens on one atom are not exchanged, and the oxygens of a carboxylate are alike, as in `torsion_orders`.

    Parameters
    ----------
    graph : MolecularGraph
    torsions : ndarray of int64, (n, 4)
        As of `rotatable_torsions`.

    Returns
    -------
    ndarray of int64, (G, n, 4)
        Atoms from 0; the first are the torsions themselves, and no two are the same. At most `MOST_IMAGES`.

    Examples
    --------
    >>> graph = MolecularGraph.from_smiles("CC(C)CF")
    >>> torsion_images(graph, np.array([[0, 1, 3, 4]])).tolist()
    [[[0, 1, 3, 4]], [[2, 1, 3, 4]]]
    """
    bare = skeleton(graph.bonds, graph.numbers, np.array(ranks_without_resonance(graph.mol)))
    found = {tuple(torsions.ravel().tolist()): None}
    for order in itertools.islice(atom_orders(bare, bare), _MOST_MATCHES):
        found[tuple(order[torsions].ravel().tolist())] = None
    kept = list(found)[:MOST_IMAGES]
    return np.array(kept, np.int64).reshape(len(kept), *torsions.shape)


def _alike(graph: MolecularGraph, ranks: list[int], atom: int, other: int) -> int:
    """How many neighbours an atom has besides another, if they are all alike; else 1."""
    around = [ranks[n.GetIdx()] for n in graph.mol.GetAtomWithIdx(atom).GetNeighbors() if n.GetIdx() != other]
    return len(around) if len(set(around)) == 1 else 1


def _first_heavy_neighbour(graph: MolecularGraph, atom: int, other: int) -> int:
    neighbours = graph.mol.GetAtomWithIdx(atom).GetNeighbors()
    return min(n.GetIdx() for n in neighbours if n.GetAtomicNum() != 1 and n.GetIdx() != other)
