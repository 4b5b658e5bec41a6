"""What the valences of a molecule ask of its angles: linear, planar and octahedral centres, untwisted double bonds."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from ..units import GAS_CONSTANT
from .bond_windows import AMPLITUDES, AMPLITUDES_AT_END, LEVEL_TEMPERATURE
from .geometry import angles, dihedrals
from .graph import MolecularGraph

# All limits in degrees, and all hold in relaxed molecules. devtools/checks/angle_ranges.py prints what archives have; farther out are
# GFN2-xTB minima of unusual molecules, and single molecules among QM9's 130,000.

NARROWEST = 80.0
"""Between two neighbours that are not bonded to each other; seen: 81.7 (O-I-C of an iodinane), 83.6 (a thiadiazole's S)."""

NARROWEST_IN_FOUR_RING = 70.0
"""Seen: 74.5 (bicyclo[1.1.1]pentane)."""

NARROWEST_LARGE = 68.0
"""At more than an octet with lone pairs, and at metals; seen: 73.3 (C-I-Cl of PhICl2)."""

NARROWEST_CROWDED = 78.0
"""At five or six neighbours without lone pairs, which hold each other in place; seen: 83 (phosphoranes)."""

WIDEST = {3: {0: 145.0, 5: 160.0, 4: 172.0, 3: 172.0}, 4: {0: 132.0, 5: 142.0, 4: 172.0, 3: 172.0}}
"""By the number of neighbours and the smallest ring (0: none below six) of a centre that has no more than an octet. Seen, in this order:
139, 157, 170, 164; 127, 138, 171, 151."""

LEAST_LINEAR = {0: 155.0, 9: 148.0, 8: 145.0, 7: 138.0, 6: 124.0, 5: 110.0, 4: 120.0, 3: 120.0}
"""At centres of two neighbours that should be on a line with it, by the smallest ring through the three. Seen: 159.7, 152.1, 152.3, 145.1,
131.1 (127.7 in benzyne). GFN2-xTB has no minimum of cyclopentyne, which is given room; rings of three and four hold no such centre, and
would have 97 at most. One zwitterion of QM9 (B3LYP), at the verge of falling apart, has 138.9 and is not OK at 0 K."""

TRANS = 140.0
"""Neighbours on opposite sides of a centre are wider apart; seen: 158 in a chelate. Those of a trigonal prism (136) are not."""

LEAST_PLANAR = 12.0
"""What the three angles at a planar centre may lack of 360, before heat is added. Centres in at most one ring lack up to 18 in single
molecules of the archives, which are refused for it; those in more rings have no limit."""

MOST_TWISTED = 65.0
"""Seen: 54, and 51 in tetra-tert-butylethylene, where no end is in two rings."""

TRANS_PAIRS = {(3, 2): (1, 1), (4, 1): (1, 1), (4, 2): (2, 2), (5, 0): (1, 2), (5, 1): (2, 2), (6, 0): (3, 3)}
"""Least and greatest number of trans pairs by neighbours and lone pairs (Gillespie & Nyholm 1957, doi:10.1039/QR9571100339): T, see-saw,
square, trigonal bipyramid (or the square pyramid between two of them), square pyramid, octahedron."""

_SQUARE_METALS = (46, 78, 79)
"""Palladium, platinum and gold are square where they have four neighbours."""

_BEND, _CROWDED_BEND, _LINEAR_BEND, _WAG = 300.0, 1000.0, 120.0, 180.0
"""Force constants (kJ/mol/rad^2) that are low for angles, for those between five or six neighbours, for those at sp centres, and for a
neighbour of a planar centre out of its plane."""

_WIDEST_POSSIBLE = 175.0
"""No heat makes a centre of three or four neighbours hold two of them on one line."""


@dataclasses.dataclass(frozen=True)
class CentreShapes:
    """What a molecule asks of its angles at one temperature; built once and asked of many frames.

    Attributes
    ----------
    triples : ndarray of int64, (A, 3)
        All angles: an atom, the centre, another atom.
    low, high : ndarray of float64, (A,)
        Their windows in radians.
    planar, trans : ndarray of int64, (P,) and (T,)
        Centres that are planar, and those that have trans pairs.
    trans_counts : ndarray of int64, (T, 2)
        How many, at least and at most.
    chains : ndarray of int64, (Q, 5)
        Atoms a-b=c-d of double bonds, and 1 where they must be cis, 0 where cis or trans.
    least_planar : float
        What the angles of a planar centre may lack of a full turn, in radians.
    """

    triples: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    planar: NDArray[np.int64]
    trans: NDArray[np.int64]
    trans_counts: NDArray[np.int64]
    chains: NDArray[np.int64]
    least_planar: float

    @classmethod
    def of(cls, graph: MolecularGraph, temperature: float) -> CentreShapes:
        """What a molecule asks at a temperature.

        Windows are those of relaxed molecules, and multiples of the standard deviation ``sqrt(R T / k)`` of a harmonic angle. A neighbour
        that is w out of the plane of a planar centre takes ``w^2 / sqrt(3)`` from the sum of its three angles, to second order. Source:
        derived here.

        Parameters
        ----------
        graph : MolecularGraph
        temperature : float
            K; 0 for minima and conformers.
        """
        rings = [frozenset(ring) for ring in graph.mol.GetRingInfo().AtomRings()]
        triples, windows, planar, trans = [], [], [], {}
        for centre in graph.mol.GetAtoms():
            neighbours = [atom.GetIdx() for atom in centre.GetNeighbors()]
            shape = _shape(centre)
            for i, k in itertools.combinations(neighbours, 2):
                triples.append((i, centre.GetIdx(), k))
                bonded = graph.topological_distances[i, k] == 1 and not _is_linear(centre, shape)
                windows.append((0.0, math.pi) if bonded else _window(centre, shape, {i, centre.GetIdx(), k}, rings, temperature))
            around = sum(centre.GetIdx() in ring for ring in rings)
            if shape == (3, 0) and around <= 1 and not _is_ylide(centre):
                planar.append(centre.GetIdx())
            if (counts := _trans_pairs(centre, shape)) is not None:
                trans[centre.GetIdx()] = counts
        low, high = np.array(windows, np.float64).reshape(-1, 2).T
        return cls(
            np.array(triples, np.int64).reshape(-1, 3),
            low,
            high,
            np.array(planar, np.int64),
            np.array(list(trans), np.int64),
            np.array(list(trans.values()), np.int64).reshape(-1, 2),
            np.array([chain for bond in graph.mol.GetBonds() for chain in _double_bond_chains(bond, rings)], np.int64).reshape(-1, 5),
            # a neighbour that is w out of the plane takes w^2 / sqrt(3) from the sum
            math.radians(LEAST_PLANAR) + _thermal(_WAG, temperature) ** 2 / math.sqrt(3),
        )

    def agree(self, frames: Tensor) -> Tensor:
        """Whether each conformation has all these shapes.

        Parameters
        ----------
        frames : Tensor of float64, (B, N, 3)
            Positions on the CPU, in any unit of length.

        Returns
        -------
        Tensor of bool, (B,)
        """
        bends = angles(frames, torch.from_numpy(self.triples))
        # what is equal to rounding, as the angles of a flat centre on a symmetry plane, is within
        agrees = ((bends >= torch.from_numpy(self.low)) & (bends <= torch.from_numpy(self.high) + 1e-6)).all(-1)
        if len(self.planar):
            sums = self._sum_at(self.planar, bends)
            agrees &= (sums >= 2 * math.pi - self.least_planar).all(-1)
        if len(self.trans):
            found = self._sum_at(self.trans, (bends > math.radians(TRANS)).to(bends.dtype))
            least, most = torch.from_numpy(self.trans_counts).T
            agrees &= ((found >= least) & (found <= most)).all(-1)
        return agrees & self._untwisted(frames)

    def _sum_at(self, centres: NDArray[np.int64], values: Tensor) -> Tensor:
        """Sums of values (B, A) over the angles at each of these centres, (B, C)."""
        return torch.stack([values[:, self.triples[:, 1] == centre].sum(-1) for centre in centres], -1)

    def _untwisted(self, frames: Tensor) -> Tensor:
        """Whether some chain of each double bond is nearly flat; a mask (B,).

        One alone may be bent by a pyramid or by two atoms on a line.
        """
        if not len(self.chains):
            return torch.ones(len(frames), dtype=torch.bool)
        cosine = torch.cos(dihedrals(frames, torch.from_numpy(self.chains[:, :4])))
        flat = torch.where(torch.from_numpy(self.chains[:, 4] == 1), cosine, cosine.abs()) > math.cos(math.radians(MOST_TWISTED))
        bonds, of_chain = np.unique(self.chains[:, 1:3], axis=0, return_inverse=True)
        count = torch.zeros(len(frames), len(bonds), dtype=torch.int64)
        count.index_add_(1, torch.from_numpy(of_chain.reshape(-1)), flat.to(torch.int64))
        return (count > 0).all(-1)


def _shape(centre: Chem.Atom) -> tuple[int, int]:
    """Neighbours and lone pairs; -1 lone pairs where the rules of main-group elements do not hold."""
    table = Chem.GetPeriodicTable()
    number = centre.GetAtomicNum()
    if number == 1 or not _in_p_block(number):
        return centre.GetDegree(), -1
    given = sum(bond.GetBondType() == Chem.BondType.DATIVE and bond.GetBeginAtomIdx() == centre.GetIdx() for bond in centre.GetBonds())
    left = table.GetNOuterElecs(number) - centre.GetFormalCharge() - centre.GetTotalValence() - 2 * given
    return centre.GetDegree(), left // 2 if left >= 0 and left % 2 == 0 else -1


def _is_linear(centre: Chem.Atom, shape: tuple[int, int]) -> bool:
    return shape == (2, 3) or (shape == (2, 0) and centre.GetAtomicNum() <= 10)


def _is_ylide(centre: Chem.Atom) -> bool:
    """Whether the centre or what it is double bonded to has d orbitals, and the bond could be drawn as two charges."""
    partners = [bond.GetOtherAtom(centre) for bond in centre.GetBonds() if bond.GetBondTypeAsDouble() == 2.0]
    return any(atom.GetAtomicNum() > 10 and atom.GetDegree() > 1 for atom in partners) or centre.GetAtomicNum() > 10


def _in_p_block(number: int) -> bool:
    return any(first <= number <= last for first, last in ((5, 10), (13, 18), (31, 36), (49, 54), (81, 86)))


def _trans_pairs(centre: Chem.Atom, shape: tuple[int, int]) -> tuple[int, int] | None:
    if centre.GetAtomicNum() in _SQUARE_METALS and shape[0] == 4:
        return TRANS_PAIRS[4, 2]
    return TRANS_PAIRS.get(shape)


def _window(
    centre: Chem.Atom, shape: tuple[int, int], atoms: set[int], rings: list[frozenset[int]], temperature: float
) -> tuple[float, float]:
    """Narrowest and widest angle at a centre between two neighbours that are not bonded to each other, radians."""
    ring = min((len(ring) for ring in rings if atoms <= ring), default=0)
    if _is_linear(centre, shape):
        least = LEAST_LINEAR[ring if ring < 10 else 0]
        bent = math.pi - math.radians(least)
        return max(0.0, math.pi - math.hypot(bent, _thermal(_LINEAR_BEND, temperature))), math.pi
    degree, lone_pairs = shape
    if degree in (5, 6) and lone_pairs == 0:
        return math.radians(NARROWEST_CROWDED) - _thermal(_CROWDED_BEND, temperature), math.pi
    more = _thermal(_BEND, temperature, AMPLITUDES_AT_END)
    large = lone_pairs < 0 or degree + lone_pairs > 4
    low = NARROWEST_LARGE if large else NARROWEST_IN_FOUR_RING if ring == 4 else NARROWEST
    if large or degree < 3:
        return math.radians(low) - more, math.pi
    smallest = min((len(ring) for ring in rings if centre.GetIdx() in ring), default=0)
    high = WIDEST[degree][smallest if smallest < 6 else 0]
    return math.radians(low) - more, min(math.radians(high) + more, math.radians(_WIDEST_POSSIBLE))


def _thermal(force_constant: float, temperature: float, amplitudes: float = AMPLITUDES) -> float:
    """Radians that an angle may be beyond its range in relaxed molecules, as standard deviations of its thermal motion."""
    return amplitudes * math.sqrt(GAS_CONSTANT * (temperature + LEVEL_TEMPERATURE) / force_constant)


def _double_bond_chains(bond: Chem.Bond, rings: list[frozenset[int]]) -> list[tuple[int, int, int, int, int]]:
    """The chains across a double or aromatic bond of planar ends, or none; in a ring of up to seven the chain of the ring, cis.

    What RDKit takes for aromatic in larger rings need not be flat: tropolones and azepines are boats.
    """
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    if bond.GetBondTypeAsDouble() not in (1.5, 2.0) or any(end.GetAtomicNum() > 10 or _shape(end) not in ((3, 0), (2, 1)) for end in ends):
        return []
    pair = {end.GetIdx() for end in ends}
    if any(sum(end.GetIdx() in ring for ring in rings) > 1 for end in ends):
        return []
    shared = [ring for ring in rings if pair <= ring]
    small = shared[0] if shared and len(shared[0]) <= (6 if bond.GetIsAromatic() else 7) else None
    if bond.GetIsAromatic() and small is None:
        return []
    chains = itertools.product(*([n.GetIdx() for n in end.GetNeighbors() if n.GetIdx() not in pair] for end in ends))
    b, c = (end.GetIdx() for end in ends)
    if small is None:
        return [(a, b, c, d, 0) for a, d in chains if a != d]
    return [(a, b, c, d, 1) for a, d in chains if a != d and {a, d} <= small]
