"""Placement: the order in which a molecule's atoms are placed, each in a frame of atoms before it, and the coordinates that this gives."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from .equivalence import Fold, branch_permutations, ranks_without_resonance
from .geometry import angles, dihedrals, distances
from .graph import MolecularGraph

TURN = 2 * math.pi

_STRAINED = math.pi / 4
"""Radians by which the half circle of a hand is widened at both ends where a small ring shares a bond of the centre with another: such
bridgeheads turn three of their neighbours into one plane and 20 degrees beyond."""


@dataclasses.dataclass(frozen=True)
class Step:
    """How one atom is placed.

    Attributes
    ----------
    atom, parent, second, third : int
        The atom i is at a distance r from its parent p; -1 where a molecule's first atoms have none. At an angle theta to the second atom
        a, or, where it closes a ring, at a distance r' from it. At a dihedral phi = i-p-a-t to the third, t.
    closes : bool
        Whether p and a are both bonded to the atom, and not to each other.
    beside : bool
        Whether a and t are both bonded to p, so that phi tells where i is beside its sibling t; else phi is a torsion.
    start, width : float
        phi is in ``[start, start + width)``, radians.
    leader : int
        The step that places the first of the equivalent branches that this one belongs to: phi of both together is below
        ``start + 2 pi`` of the leader's; -1 for none.
    ring : bool
        Whether the torsion about a-p is one within a ring.
    """

    atom: int
    parent: int = -1
    second: int = -1
    third: int = -1
    closes: bool = False
    beside: bool = False
    start: float = 0.0
    width: float = TURN
    leader: int = -1
    ring: bool = False


@dataclasses.dataclass(frozen=True)
class Placement:
    r"""Coordinates of N >= 3 atoms without translation and rotation, in which one atom is placed after the other.

    Each atom but the first three has a length r, an angle theta and a dihedral phi in a frame of three atoms before it, as in a Z-matrix,
    whose volume element is :math:`r^2 \sin\theta\,dr\,d\theta\,d\phi`. An atom that closes a ring is placed by its distances r and r' from
    both neighbours p and a instead: since :math:`r'^2 = r^2 + d^2 - 2 r d \cos\theta` with the distance d of p and a, that is
    :math:`(r r' / d)\,dr\,dr'\,d\phi`.

    Atoms that rotation exchanges (the hydrogens of a methyl group, the oxygens of a carboxylate, the two sides of a phenyl ring) are
    `folds`: one of their labellings is told apart by the coordinates, the one whose first branch has the smallest dihedral. Tetrahedral
    centres have their hand by the range of phi: that which the molecule specifies, and where two branches are alike, that of increasing
    indices of the neighbours (`hands`). The range is half a circle, and somewhat more at the bridgeheads of small bicycles.

    Attributes
    ----------
    steps : tuple of Step
    folds : tuple of Fold
        In the order in which their leaders are placed.
    hands : tuple of Fold
        Exchanges of two alike branches that turn a centre's hand into the wanted one, those of the largest branches first.
    """

    steps: tuple[Step, ...]
    folds: tuple[Fold, ...]
    hands: tuple[Fold, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @functools.cached_property
    def order(self) -> NDArray[np.int64]:
        """Atoms as they are placed, (N,)."""
        return np.array([step.atom for step in self.steps])

    @property
    def log_multiplicity(self) -> float:
        """Natural logarithm of how many labellings the folds make one."""
        return math.fsum(math.log(fold.order) for fold in self.folds)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lengths, angles (or second lengths) and dihedrals, in the order of the steps.

        Parameters
        ----------
        positions : Tensor of float64, (B, N, 3)
            nm.

        Returns
        -------
        Tensor, (B, N, 3)
            r and r' in nm, theta in [0, pi], phi in [start, start + 2 pi) of its step; 0 where the first three atoms have none. NaN where
            three atoms of a frame are in line.
        """
        rows = torch.tensor([[step.atom, step.parent, step.second, step.third] for step in self.steps])
        starts = torch.tensor([step.start for step in self.steps], dtype=positions.dtype)
        closes = torch.tensor([step.closes for step in self.steps])
        length, second_length = distances(positions, rows[:, :2]), distances(positions, rows[:, ::2])
        second = torch.where(closes, second_length, angles(positions, rows[:, :3]))
        turn = dihedrals(positions, rows)
        found = torch.stack([length, second, starts + (turn - starts).remainder(TURN)], dim=-1)
        absent = torch.tensor([[k < 1, k < 2, k < 3] for k in range(len(self))])
        return torch.where(absent, 0.0, found)

    def relabelled(self, positions: Tensor, hands: bool = False) -> Tensor:
        """The same conformations with those labels that the coordinates take: alike branches exchanged where they are folded.

        Parameters
        ----------
        positions : Tensor, (B, N, 3)
            nm.
        hands : bool
            Whether alike branches are exchanged as well where they have the other hand, which no motion does.

        Returns
        -------
        Tensor, (B, N, 3)
        """
        for fold in (*(self.hands if hands else ()), *self.folds):
            step = self.steps[fold.leader]
            labelled = torch.stack([positions[:, permutation] for permutation in fold.permutations.tolist()])
            turn = (dihedrals(labelled, torch.tensor([fold.quadruple]))[..., 0] - step.start).remainder(TURN).nan_to_num()
            chosen = (turn[0] > step.width).long() if fold in self.hands else turn.argmin(0)
            positions = labelled[chosen, torch.arange(len(positions))]
        return positions

    def labelled(self, positions: Tensor, labels: Tensor) -> Tensor:
        """Conformations with other labels of the alike branches that are folded: what `relabelled` undoes.

        Parameters
        ----------
        positions : Tensor, (B, N, 3)
            nm, with those labels that the coordinates take.
        labels : Tensor of int64, (B, F)
            Which of the permutations of each of the `folds`.

        Returns
        -------
        Tensor, (B, N, 3)
        """
        for column in range(len(self.folds) - 1, -1, -1):  # the innermost first
            chosen = torch.from_numpy(self.folds[column].permutations).to(labels.device)[labels[:, column]]
            positions = positions.gather(1, chosen[..., None].expand_as(positions))
        return positions

    def log_volume_element(self, coordinates: Tensor, positions: Tensor) -> Tensor:
        r"""Of the mean-free subspace over these coordinates and all rotations; see `DensityGenerator`.

        Parameters
        ----------
        coordinates : Tensor, (B, N, 3)
            As `coordinates` gives them.
        positions : Tensor, (B, N, 3)
            nm.

        Returns
        -------
        Tensor, (B,)
            :math:`\log 8 \pi^2 N^{-3/2} \prod r^2 \sin\theta \prod r r' / d`.
        """
        return math.log(8 * math.pi**2) - 1.5 * math.log(len(self)) + self.log_volume_elements(coordinates, positions).sum(-1)

    def log_volume_elements(self, coordinates: Tensor, positions: Tensor) -> Tensor:
        """Of each atom's position over its coordinates, those before it being where they are.

        Parameters
        ----------
        coordinates, positions : Tensor, (B, N, 3)
            As in `log_volume_element`.

        Returns
        -------
        Tensor, (B, N)
            In the order of the steps: ``log r^2 sin(theta)``, or ``log r r' / d`` where the atom closes a ring between atoms d apart.
        """
        length, found = coordinates[..., 0].log(), [torch.zeros_like(coordinates[:, 0, 0])]
        for k, step in enumerate(self.steps[1:], 1):
            if step.closes:
                apart = torch.linalg.vector_norm(positions[:, step.parent] - positions[:, step.second], dim=-1)
                found.append(length[:, k] + coordinates[:, k, 1].log() - apart.log())
            else:
                found.append(2 * length[:, k] + (coordinates[:, k, 1].sin().log() if k > 1 else 0.0))
        return torch.stack(found, -1)

    @classmethod
    def of(cls, graph: MolecularGraph) -> Placement:
        """Heavy atoms first, in breadth from the middle of what is in no ring; rings close as soon as both neighbours are there.

        Parameters
        ----------
        graph : MolecularGraph
            Of at least 3 atoms.
        """
        return _Builder(graph).build()


class _Builder:
    """Makes the steps of one molecule."""

    def __init__(self, graph: MolecularGraph) -> None:
        self.graph, self.mol = graph, graph.mol
        self.neighbours = [[b.GetOtherAtomIdx(a.GetIdx()) for b in a.GetBonds()] for a in graph.mol.GetAtoms()]
        self.ranks = ranks_without_resonance(graph.mol)
        self.place: dict[int, int] = {}
        self.steps: list[Step] = []
        self.folds: list[Fold] = []
        self.hands: list[Fold] = []
        self.wanted = {int(row[0]): row for row in graph.stereocentres}

    def build(self) -> Placement:
        for atom in self._order():
            self.steps.append(self._step(atom))
            self.place[atom] = len(self.steps) - 1
        # the branches that are exchanged last are within those before
        self.hands.sort(key=lambda fold: -np.count_nonzero(fold.permutations[1] != fold.permutations[0]))
        return Placement(tuple(self.steps), tuple(map(self._keeping_hands, self.folds)), tuple(self.hands))

    def _keeping_hands(self, fold: Fold) -> Fold:
        """The fold as a motion makes it: with alike branches within the branches exchanged where their centre would change its hand."""
        found = []
        for permutation in fold.permutations:
            for hand in self.hands:
                centre = hand.quadruple[1]
                around, there = (sorted(self.neighbours[k]) for k in (centre, int(permutation[centre])))
                if _parity(there[:3], [int(permutation[k]) for k in around[:3]]) < 0:
                    permutation = permutation[hand.permutations[1]]
            found.append(permutation)
        return dataclasses.replace(fold, permutations=np.array(found))

    def _order(self) -> Iterator[int]:
        heavy = [int(k) for k in self.graph.heavy_atoms] or [0]
        apart = self.graph.topological_distances
        # what is entered from outside can be folded: a ring, and alike branches at one atom
        queue = [min(heavy, key=lambda k: (self.mol.GetAtomWithIdx(k).IsInRing(), self._turns(k), apart[k, heavy].max(), k))]
        seen = set(queue)
        done: list[int] = []
        while queue:
            closing = next((k for k in queue if sum(n in done for n in self.neighbours[k]) > 1), queue[0])
            queue.remove(closing)
            done.append(closing)
            new = [n for n in self.neighbours[closing] if n not in seen and self.mol.GetAtomWithIdx(n).GetAtomicNum() > 1]
            new.sort(key=lambda n: (not self.mol.GetAtomWithIdx(n).IsInRing(), n))
            queue += new
            seen |= set(new)
        yield from done
        for atom in done:
            yield from (n for n in self.neighbours[atom] if n not in seen)

    def _turns(self, atom: int) -> bool:
        """Whether a rotation about one of its bonds exchanges all other branches of an atom."""
        ranks = [self.ranks[n] for n in self.neighbours[atom]]
        planar = self.mol.GetAtomWithIdx(atom).GetHybridization() == Chem.HybridizationType.SP2
        return any(ranks.count(rank) == len(ranks) - 1 for rank in ranks) and (len(ranks) == 4 or (len(ranks) == 3 and planar))

    def _step(self, atom: int) -> Step:
        count = len(self.steps)
        there = sorted((n for n in self.neighbours[atom] if n in self.place), key=self.place.__getitem__)
        if not count:
            return Step(atom)
        parent = there[0]
        if count == 1:
            return Step(atom, parent)
        if len(there) > 1:
            return self._closing(atom, there)
        around = sorted((n for n in self.neighbours[parent] if n in self.place), key=self.place.__getitem__)
        second = around[0]
        if count == 2:
            return Step(atom, parent, second)
        if len(around) > 1:
            return self._beside(atom, parent, second, around[1])
        beyond = [n for n in self.neighbours[second] if n in self.place and n != parent]
        if self.mol.GetBondBetweenAtoms(parent, second).IsInRing():
            return self._in_ring(atom, parent, second, beyond)
        return self._torsion(atom, parent, second, min(beyond, key=self.place.__getitem__))

    def _in_ring(self, atom: int, parent: int, second: int, beyond: list[int]) -> Step:
        """A flat ring's torsion is 0 to an atom of the ring, and half a turn to another: it must not lie where the range ends."""
        rings = [ring for ring in self.mol.GetRingInfo().AtomRings() if {atom, parent, second} <= set(ring)]
        third = min(beyond, key=lambda n: (not any(n in ring for ring in rings), self.place[n]))
        inside = any(third in ring for ring in rings)
        return Step(atom, parent, second, third, start=-math.pi if inside else 0.0, ring=True)

    def _closing(self, atom: int, there: list[int]) -> Step:
        parent, second = there[:2]
        if len(self.steps) == 2:
            return Step(atom, parent, second, closes=True)
        near = [n for k in (parent, second) for n in self.neighbours[k] if n in self.place and n not in (parent, second)]
        rings = [ring for ring in self.mol.GetRingInfo().AtomRings() if {atom, parent, second} <= set(ring)]
        inside = [n for n in near if any(n in ring for ring in rings)]
        others = [n for n in self.place if n not in (parent, second)]
        third = (inside or near or others)[0]
        return Step(atom, parent, second, third, closes=True, start=0.0 if inside else -math.pi)

    def _beside(self, atom: int, parent: int, second: int, third: int) -> Step:
        step = Step(atom, parent, second, third, beside=True)
        if (hand := self._hand(parent, atom, second, third)) is not None:
            # the sine of i-p-a-t has the sign of -(i-p).((a-p)x(t-p))
            rings = self.mol.GetRingInfo()
            fused = any(rings.NumBondRings(bond.GetIdx()) > 1 for bond in self.mol.GetAtomWithIdx(parent).GetBonds())
            more = _STRAINED if fused and rings.MinAtomRingSize(parent) < 5 else 0.0
            step = dataclasses.replace(step, start=(0.0 if hand < 0 else math.pi) - more, width=math.pi + 2 * more)
        leader = self.place[third]
        if any(fold.leader == leader and atom in fold.branches for fold in self.folds):
            step = dataclasses.replace(step, leader=leader)
        return step

    def _torsion(self, atom: int, parent: int, second: int, third: int) -> Step:
        for a, b, c, d, same in self.graph.stereobonds:
            if {int(b), int(c)} == {parent, second}:
                on_parent, on_second = (int(a), int(d)) if int(b) == parent else (int(d), int(a))
                cis = same * (1 if atom == on_parent else -1) * (1 if third == on_second else -1) > 0
                return Step(atom, parent, second, third, start=-math.pi / 2 if cis else math.pi / 2, width=math.pi)
        branches = [n for n in self.neighbours[parent] if n != second]
        alike = len({self.ranks[n] for n in branches}) == 1
        planar = self.mol.GetAtomWithIdx(parent).GetHybridization() == Chem.HybridizationType.SP2
        if alike and (len(branches) == 3 or (len(branches) == 2 and planar)):
            # the branch that is placed first leads; the others follow in the order in which they are placed
            branches = [atom, *(n for n in branches if n != atom)]
            permutations = branch_permutations(self.graph, parent, branches, self.ranks)
            if permutations is not None:
                self.folds.append(Fold(len(self.steps), (atom, parent, second, third), tuple(branches), permutations))
                return Step(atom, parent, second, third, width=math.pi if len(branches) == 3 else TURN)
        return Step(atom, parent, second, third)

    def _hand(self, centre: int, *three: int) -> int | None:
        """The sign of the signed volume of three neighbours of a centre, where it is the same in all conformations."""
        if centre in self.wanted:
            row = self.wanted[centre]
            return int(row[4]) * _parity([*map(int, row[1:4])], [*three])
        neighbours = sorted(self.neighbours[centre])
        if len(neighbours) != 4:
            return None
        for first in range(4):
            for last in range(first):
                pair = [neighbours[last], neighbours[first]]
                alike = self.ranks[pair[0]] == self.ranks[pair[1]]
                swap = branch_permutations(self.graph, centre, pair, self.ranks, apart=True) if alike else None
                if swap is not None:
                    if not any(fold.quadruple[1] == centre for fold in self.hands):
                        self.hands.append(Fold(len(self.steps), (three[0], centre, *three[1:]), tuple(pair), swap))  # type: ignore[arg-type]
                    return _parity(neighbours[:3], [*three])
        return None


def _parity(reference: list[int], three: list[int]) -> int:
    """1 if three of four neighbours turn as the reference's first three do, -1 otherwise.

    Exchanging two neighbours of four changes the hand, also with the one that is left out.
    """
    missing = [k for k in reference if k not in three]
    if missing:  # the one that is left out takes the place of the one that is new
        new = next(k for k in three if k not in reference)
        reference = [new if k == missing[0] else k for k in reference]
        return -_parity(reference, three)
    places = [reference.index(k) for k in three]
    inversions = sum(places[i] > places[j] for i in range(3) for j in range(i + 1, 3))
    return -1 if inversions % 2 else 1
