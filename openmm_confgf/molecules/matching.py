"""The atoms of a molecule found again in atoms and bonds of another order."""

from __future__ import annotations

from collections.abc import Iterator

import networkx
import numpy as np
from networkx.algorithms.isomorphism import GraphMatcher
from numpy.typing import NDArray


def skeleton(bonds: NDArray[np.int64], numbers: NDArray[np.int64], classes: NDArray[np.int64]) -> networkx.Graph:
    """The graph of the atoms but for hydrogens that end at another atom, which would make isomorphisms countless.

    Nodes have their ``hydrogens``, by class and index, and as ``label`` their own class and those of their hydrogens.

    Parameters
    ----------
    bonds : ndarray of int64, (n_bonds, 2)
    numbers : ndarray of int64, (N,)
        Atomic numbers.
    classes : ndarray of int64, (N,)
        Equal for atoms that may take each other's place.
    """
    neighbours: list[list[int]] = [[] for _ in numbers]
    for i, j in bonds.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    ends = {k for k, around in enumerate(neighbours) if numbers[k] == 1 and len(around) == 1 and numbers[around[0]] != 1}
    made = networkx.Graph()
    for k, around in enumerate(neighbours):
        if k not in ends:
            hydrogens = sorted(ends.intersection(around), key=lambda h: (classes[h], h))
            made.add_node(k, hydrogens=hydrogens, label=(int(classes[k]), *(int(classes[h]) for h in hydrogens)))
    made.add_edges_from((i, j) for i, j in bonds.tolist() if i in made and j in made)
    return made


def atom_orders(ours: networkx.Graph, theirs: networkx.Graph) -> Iterator[NDArray[np.int64]]:
    """The atom of the other that each atom of the molecule is, (N,): all ways, hydrogens on one atom in one order.

    Parameters
    ----------
    ours, theirs : networkx.Graph
        As `skeleton` makes them, with classes that mean the same; there is no way where they have other atoms.
    """
    labels = [sorted(label for _, label in graph.nodes.data("label")) for graph in (ours, theirs)]
    if labels[0] != labels[1]:
        return
    count = sum(1 + len(hydrogens) for _, hydrogens in ours.nodes.data("hydrogens"))
    for match in GraphMatcher(ours, theirs, node_match=lambda a, b: a["label"] == b["label"]).isomorphisms_iter():
        order = np.empty(count, np.int64)
        for own, other in match.items():
            order[[own, *ours.nodes[own]["hydrogens"]]] = [other, *theirs.nodes[other]["hydrogens"]]
        yield order
