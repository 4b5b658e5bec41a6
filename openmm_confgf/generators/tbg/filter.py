"""Which samples of a flow are the molecule: bonds in any order of like atoms, and its hand or the mirror image (Klein & Noe 2024)."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
from collections.abc import Iterator
from typing import Any

import networkx
import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ...errors import UnsupportedMoleculeError
from ...molecules.checks import stereo_against_specified
from ...molecules.geometry import distances
from ...molecules.graph import MolecularGraph
from ...molecules.matching import atom_orders, skeleton
from ..etkdg import embed_etkdg

LONGEST_WITH_HYDROGEN, LONGEST_WITH_SULPHUR, LONGEST = 0.14, 0.22, 0.18
"""Two atoms are bonded where they are nearer (nm), as published; P, Cl and Br count as sulphur does."""

LONGEST_THIOL = 0.17
"""The same of hydrogen on sulphur, P, Cl and Br. The published 0.14 cuts 2.8 % of the S-H bonds of cysteine in amber14 at 310 K (0.1336 nm,
standard deviation 0.0034); this lies 10 of them off, and hydrogens on the next atom are at 0.24."""

_HEAVIER = (15, 16, 17, 35)
_KNOWN = (1, 6, 7, 8, 9, *_HEAVIER)

MOST_SYMMETRIES = 10_000
"""Permutations of like atoms, hydrogens on one atom aside, that are counted for the density."""

_MOST_AUTOMORPHISMS = 64
"""Of a molecule, that are tried on samples whose hands are mixed."""

_PAIRS_AT_ONCE = 5_000_000
"""Keeps the distances of one block of samples near 200 MB."""


class Outcome(enum.IntEnum):
    """What became of one sample; from `WRONG_BONDS` on it is not the molecule, and stands as it was drawn."""

    KEPT = 0
    """As it was drawn."""
    REORDERED = 1
    """The molecule in another order of atoms of one type."""
    REFLECTED = 2
    """Its mirror image, in whatever order: all specified centres were of the other hand."""
    WRONG_BONDS = 3
    """The bonds are not the molecule's, whatever the order of atoms of one type."""
    MIXED_HANDS = 4
    """Some specified centres are of the other hand or flat, or a specified double bond is on the other side."""
    NON_FINITE = 5
    """A coordinate is NaN or infinite."""


@dataclasses.dataclass(frozen=True, eq=False)
class Filtered:
    """Samples after the filter, each in its row.

    Attributes
    ----------
    positions : ndarray of float64, (B, N, 3)
        nm, in the molecule's order of atoms and of its hand where `kept`, else as they were drawn.
    outcome : ndarray of int8, (B,)
        An `Outcome` each.
    """

    positions: NDArray[np.float64]
    outcome: NDArray[np.int8]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which samples are the molecule, (B,)."""
        return np.asarray(self.outcome < Outcome.WRONG_BONDS)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many samples had each outcome, all outcomes named."""
        return {outcome: int((self.outcome == outcome).sum()) for outcome in Outcome}


def filter_samples(graph: MolecularGraph, positions: Any, types: NDArray[np.float32]) -> Filtered:
    """Find the molecule in samples of a density that does not tell atoms of one type apart, nor a molecule from its mirror image.

    Bonds are told by distances alone. Where they are not the molecule's own in its own order, an isomorphism is looked for that maps atoms
    onto atoms of the same type. Mirror images are inverted through the origin, so that what is mean-free stays so. The density q of a flow
    that is equivariant under both does not change by it, but several samples become one: what comes out of here has the density ``m q``
    with a constant m of the molecule and its types, 2 for "tbg+full" where a centre is specified. It cancels in self-normalised weights and
    belongs in what compares two generators. Which of several like atoms is which (the hydrogens of a methyl) is decided by their indices.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm.
    types : ndarray, (N, F)
        The rows of `atom_types` that the flow was given: atoms with equal rows are of one type.

    Returns
    -------
    Filtered
        No sample is left out.

    Raises
    ------
    UnsupportedMoleculeError
        If distances tell no bonds of an element of the molecule.
    ValueError
        If the number of atoms or of types is not the molecule's.
    """
    frames = graph.frames(positions).copy()
    molecule = _Molecule.of(graph, types)
    outcome = np.full(len(frames), Outcome.NON_FINITE, np.int8)
    finite = np.flatnonzero(np.isfinite(frames).all(axis=(1, 2)))
    at_once = max(1, _PAIRS_AT_ONCE // max(1, len(molecule.pairs)))
    for start in range(0, len(finite), at_once):
        rows = finite[start : start + at_once]
        frames[rows], outcome[rows] = molecule.filtered(frames[rows])
    return Filtered(frames, outcome)


def log_multiplicity(graph: MolecularGraph, types: NDArray[np.float32]) -> float:
    r"""Log of m, where ``m q`` is the density of what `filter_samples` keeps and q that of the samples.

    Permutations P of atoms of one type and the reflection leave q as it is. Of these :math:`2 |P|` maps, those that leave the molecule as
    it is (its bonds and its specified stereo) make no other sample of it, so that :math:`m = 2 |P| / (n + n')`, with n such permutations
    and n' such permutations with a reflection.

    Parameters
    ----------
    graph : MolecularGraph
    types : ndarray, (N, F)
        As in `filter_samples`.

    Raises
    ------
    UnsupportedMoleculeError
        As `filter_samples`, or if the molecule cannot be embedded, or has more than `MOST_SYMMETRIES` symmetries.
    """
    molecule = _Molecule.of(graph, types)
    reference = next(
        (frame for frame in embed_etkdg(graph, 4, seed=0).positions if molecule.filtered(frame[None])[1] == Outcome.KEPT), None
    )
    if reference is None:
        raise UnsupportedMoleculeError(f"No conformation of {graph.name!r} was found that tells its symmetry; choose another generator.")
    orders = list(itertools.islice(molecule.orders(graph.bonds), MOST_SYMMETRIES + 1))
    if len(orders) > MOST_SYMMETRIES:
        raise UnsupportedMoleculeError(f"{graph.name!r} has more than {MOST_SYMMETRIES} symmetries; choose another generator.")
    hands, sides = stereo_against_specified(graph, reference[np.array(orders)])
    same = sum(int((sides.all(1) & (hands * sign > 0).all(1)).sum()) for sign in (1, -1))
    permutations = sum(math.lgamma(count + 1) for count in np.bincount(molecule.classes))
    hydrogens = 0.0
    for _, alike in molecule.skeleton.nodes.data("hydrogens"):
        hydrogens += sum(math.lgamma(count + 1) for count in np.bincount(molecule.classes[alike]) if alike)
    return math.log(2) + permutations - math.log(same) - hydrogens


@dataclasses.dataclass(frozen=True, eq=False)
class _Molecule:
    """What samples are compared with.

    Attributes
    ----------
    graph : MolecularGraph
    classes : ndarray of int64, (N,)
        Equal for atoms that may be exchanged: those of one type and element.
    pairs : ndarray of int64, (P, 2)
        All pairs of atoms.
    longest : ndarray of float64, (P,)
        nm, at which they are not bonded any more.
    own : ndarray of bool, (P,)
        Which are bonded.
    skeleton : networkx.Graph
        As `matching.skeleton` makes it.
    """

    graph: MolecularGraph
    classes: NDArray[np.int64]
    pairs: NDArray[np.int64]
    longest: NDArray[np.float64]
    own: NDArray[np.bool_]
    skeleton: networkx.Graph

    @classmethod
    def of(cls, graph: MolecularGraph, types: NDArray[np.float32]) -> _Molecule:
        if types.ndim != 2 or len(types) != len(graph):
            raise ValueError(f"The types have shape {types.shape} where {graph.name!r} has {len(graph)} atoms; give a row for each.")
        numbers = graph.numbers
        if foreign := sorted(set(numbers.tolist()) - set(_KNOWN)):
            symbol = Chem.GetPeriodicTable().GetElementSymbol(foreign[0])
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has {symbol}, whose bonds this filter cannot tell by distance (it knows H, C, N, O, F, P, S, Cl, Br); "
                "choose a generator that keeps the bonds, as `BoltzmannGenerator` does."
            )
        classes = np.unique(np.column_stack([numbers, types]), axis=0, return_inverse=True)[1].ravel()
        pairs = np.stack(np.triu_indices(len(graph), 1), axis=1)
        bonded = np.zeros((len(graph), len(graph)), bool)
        bonded[tuple(graph.bonds.T)] = True
        hydrogen, heavier = (np.isin(numbers[pairs], kind).any(1) for kind in ((1,), _HEAVIER))
        longest = np.select(
            [hydrogen & heavier, hydrogen, heavier], [LONGEST_THIOL, LONGEST_WITH_HYDROGEN, LONGEST_WITH_SULPHUR], default=LONGEST
        )
        own = skeleton(graph.bonds, numbers, classes)
        return cls(graph, classes, pairs, longest, bonded[tuple(pairs.T)], own)

    def filtered(self, drawn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Positions (B, N, 3) and outcomes (B,) of finite samples."""
        frames = drawn.copy()
        near = (distances(torch.tensor(drawn), torch.from_numpy(self.pairs)) < torch.from_numpy(self.longest)).numpy()
        outcome = np.where((near == self.own).all(1), Outcome.KEPT, Outcome.WRONG_BONDS).astype(np.int8)
        for row in np.flatnonzero((outcome == Outcome.WRONG_BONDS) & (near.sum(1) == self.own.sum())):
            order = self._order(self.pairs[near[row]])
            if order is not None:
                frames[row], outcome[row] = frames[row, order], Outcome.REORDERED
        undecided = np.flatnonzero(outcome != Outcome.WRONG_BONDS)
        in_order = outcome == Outcome.KEPT
        outcome[undecided] = Outcome.MIXED_HANDS
        for number, automorphism in enumerate(self._automorphisms()):
            if not len(undecided):
                break
            tried = frames[undecided][:, automorphism]
            right, mirrored = self._hands(tried)
            frames[undecided[right]], frames[undecided[mirrored]] = tried[right], -tried[mirrored]
            as_drawn = in_order[undecided] & (number == 0)
            outcome[undecided] = np.select(
                [right & as_drawn, right, mirrored], [Outcome.KEPT, Outcome.REORDERED, Outcome.REFLECTED], Outcome.MIXED_HANDS
            )
            undecided = undecided[~right & ~mirrored]
        frames[undecided] = drawn[undecided]
        return frames, outcome

    def _hands(self, frames: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which samples have the specified stereo, and whose mirror images have, (B,) each; both is told as the first."""
        hands, sides = stereo_against_specified(self.graph, frames)
        right, mirrored = ((hands * sign > 0).all(1) & sides.all(1) for sign in (1, -1))
        return np.asarray(right), np.asarray(mirrored & ~right)

    def _order(self, bonds: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The atom of a sample, (N,), that each atom of the molecule is; None where the bonds do not match."""
        return next(self.orders(bonds), None)

    def _automorphisms(self) -> Iterator[NDArray[np.int64]]:
        """Orders in which the molecule's bonds are its own, the identity first; hydrogens go with their atoms."""
        identity = np.arange(len(self.graph))
        yield identity
        found = itertools.islice(self.orders(self.graph.bonds), _MOST_AUTOMORPHISMS)
        yield from (order for order in found if (order != identity).any())

    def orders(self, bonds: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The atom of a sample with these bonds, (N,), that each atom of the molecule is; all ways, but for hydrogens on one atom."""
        return atom_orders(self.skeleton, skeleton(bonds, self.graph.numbers, self.classes))
