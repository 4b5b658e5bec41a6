"""Branches of a molecule that are alike: the permutations of atoms that exchange them and leave all else where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import networkx
import numpy as np
from networkx.algorithms.isomorphism import GraphMatcher
from numpy.typing import NDArray
from rdkit import Chem

from .graph import MolecularGraph

_MOST = 64
"""Isomorphisms of two branches that are looked at for the one that moves the fewest atoms."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """Alike branches at one atom.

    Attributes
    ----------
    leader : int
        The step of a `Placement` that places the first branch's first atom.
    quadruple : tuple of int, (4,)
        Whose dihedral tells the labellings apart.
    branches : tuple of int
        The first atom of each branch.
    permutations : ndarray of int64, (order, N)
        ``positions[permutation]`` is labelled anew; the first is the identity.
    """

    leader: int
    quadruple: tuple[int, int, int, int]
    branches: tuple[int, ...]
    permutations: NDArray[np.int64]

    @property
    def order(self) -> int:
        """How many labellings there are."""
        return len(self.permutations)


def ranks_without_resonance(mol: Chem.Mol) -> list[int]:
    """Canonical ranks with ties, chirality included, in which the oxygens of a carboxylate and the nitrogens of a guanidinium are alike.

    Bond orders and charges are left out: where all hydrogens are atoms, the neighbours tell what is not resonance.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        With explicit hydrogens.

    Returns
    -------
    list of int, (N,)
    """
    bare = Chem.RWMol(mol)
    for bond in bare.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in bare.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
    bare.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(bare)
    return list(Chem.CanonicalRankAtoms(bare, breakTies=False, includeChirality=True))


def branch_permutations(
    graph: MolecularGraph, centre: int, branches: Sequence[int], ranks: Sequence[int], apart: bool = False
) -> NDArray[np.int64] | None:
    """Cyclic exchanges of alike branches at an atom.

    Parameters
    ----------
    graph : MolecularGraph
        Of N atoms.
    centre : int
    branches : sequence of int
        Neighbours of the centre, of one rank.
    ranks : sequence of int, (N,)
        Canonical ranks with ties, chirality included.
    apart : bool
        Whether the branches must share no atom.

    Returns
    -------
    ndarray of int64, (len(branches), N) or None
        The identity first; None where no permutation exchanges the branches alone.
    """
    bonds = networkx.Graph([tuple(pair) for pair in graph.bonds.tolist()])
    bonds.remove_node(centre)
    parts = [networkx.node_connected_component(bonds, branch) for branch in branches]
    shared = any(parts[0] & part for part in parts[1:])
    outside = {atom.GetIdx() for atom in graph.mol.GetAtomWithIdx(centre).GetNeighbors()} - set(branches)
    if (shared and (apart or len(branches) > 2)) or any(outside & part for part in parts):
        return None
    hydrogens = {int(k) for k in np.flatnonzero(graph.numbers == 1)}
    identity = np.arange(len(graph))
    once = identity.copy()
    for k, branch in enumerate(branches):
        target = branches[(k + 1) % len(branches)]
        mapping = _isomorphism(graph, bonds, parts[k], branch, target, parts[(k + 1) % len(branches)], ranks, hydrogens, shared)
        if mapping is None:
            return None
        for here, there in mapping.items():
            once[here] = there
        if shared:  # one mapping exchanges both
            break
    if sorted(once) != identity.tolist():
        return None
    found = [identity]
    for _ in branches[1:]:
        found.append(once[found[-1]])
    return np.array(found)


def _isomorphism(
    graph: MolecularGraph,
    bonds: networkx.Graph,
    part: set[int],
    branch: int,
    target: int,
    other: set[int],
    ranks: Sequence[int],
    hydrogens: set[int],
    shared: bool,
) -> dict[int, int] | None:
    """The mapping of one branch onto another that moves the fewest atoms, hydrogens in the order of their indices."""
    kept = {branch, target}
    here, there = (bonds.subgraph({k for k in p if k not in hydrogens or k in kept}).copy() for p in (part, other))
    for k in here:
        here.nodes[k]["label"] = (ranks[k], k == branch, shared and k == target)
    for k in there:
        there.nodes[k]["label"] = (ranks[k], k == target, shared and k == branch)
    matches = GraphMatcher(here, there, node_match=lambda x, y: x["label"] == y["label"]).isomorphisms_iter()
    best: dict[int, int] | None = None
    for _, found in zip(range(_MOST), matches, strict=False):
        if best is None or sum(a != b for a, b in found.items()) < sum(a != b for a, b in best.items()):
            best = found
    if best is None:
        return None
    whole = dict(best)
    for a, b in best.items():
        own, others = (sorted(n.GetIdx() for n in graph.mol.GetAtomWithIdx(k).GetNeighbors()) for k in (a, b))
        pairs = zip(
            [n for n in own if n in hydrogens and n not in best],
            [n for n in others if n in hydrogens and n not in best.values()],
            strict=True,
        )
        whole.update(pairs)
    return whole
