"""What stereo a molecule leaves open, and the molecule with it specified."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from .bicycles import small_bicycles, turned_inside
from .graph import MolecularGraph

MOST_PATTERNS = 1024
"""Ways to specify all that is open that are tried; symmetry makes them fewer stereoisomers."""

_MOST_HEADS = 4
"""Bridgeheads and other centres of which all patterns are tried before they count as open: adamantane has 4."""

HANDS = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
_SIDES = (Chem.BondStereo.STEREOTRANS, Chem.BondStereo.STEREOCIS)
_INDEX = "_index_in_graph"

_TRIED_PATTERNS = 8
"""Ways to specify all other elements that are tried before one counts as making no difference (the bridgeheads of adamantane)."""


class OpenStereo(NamedTuple):
    """What a molecule leaves open: centres, and double bonds by their two atoms, both sorted."""

    centres: list[int]
    double_bonds: list[tuple[int, int]]

    @property
    def number(self) -> int:
        """How many elements, centres and double bonds together."""
        return len(self.centres) + len(self.double_bonds)


def readings(graph: MolecularGraph, found: OpenStereo) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which atoms tell each open element, as `MolecularGraph.stereocentres` and `stereobonds` have it, in the elements' order.

    Parameters
    ----------
    graph : MolecularGraph
    found : OpenStereo
        Its `open_stereo`.

    Returns
    -------
    centres : ndarray of int64, (number of centres, 5)
        Centre, three neighbours, and the sign of their signed volume where `specified` gets True.
    double_bonds : ndarray of int64, (number of double bonds, 5)
        Atoms a-b=c-d, and 1 where a and d are on the same side where `specified` gets True, -1 where on opposite sides.
    """
    full = MolecularGraph(_tagged(graph.mol, found, (True,) * found.number), graph.name)
    hands = {int(row[0]): row for row in full.stereocentres}
    sides = {frozenset(row[1:3].tolist()): row for row in full.stereobonds}
    return (
        np.array([hands[i] for i in found.centres], np.int64).reshape(-1, 5),
        np.array([sides[frozenset(pair)] for pair in found.double_bonds], np.int64).reshape(-1, 5),
    )


def specified(graph: MolecularGraph, found: OpenStereo, hands: Sequence[bool]) -> MolecularGraph:
    """The molecule with its open elements specified; those that turn out to make no difference are left open.

    Parameters
    ----------
    graph : MolecularGraph
    found : OpenStereo
        What is to be specified.
    hands : sequence of bool, (found.number,)
        Of the centres, then of the double bonds. True: the centre's neighbours turn counter-clockwise in RDKit's order of bonds; the double
        bond's neighbours of lowest index are cis.
    """
    return graph.retagged(_tagged(graph.mol, found, hands))


def _tagged(mol: Chem.Mol, found: OpenStereo, hands: Sequence[bool]) -> Chem.Mol:
    """A copy in which the open centres turn counter-clockwise, and the open double bonds are cis, where True."""
    tagged = Chem.Mol(mol)
    for index, hand in zip(found.centres, hands, strict=False):
        tagged.GetAtomWithIdx(index).SetChiralTag(HANDS[hand])
    for pair, side in zip(found.double_bonds, hands[len(found.centres) :], strict=True):
        bond = tagged.GetBondBetweenAtoms(*pair)
        first, last = (
            min(n.GetIdx() for n in end.GetNeighbors() if n.GetIdx() not in pair) for end in (bond.GetBeginAtom(), bond.GetEndAtom())
        )
        bond.SetStereoAtoms(first, last)
        bond.SetStereo(_SIDES[side])
    return tagged


def open_stereo(graph: MolecularGraph) -> OpenStereo:
    """The centres and double bonds that could be specified, are not, and make a difference.

    An element makes one where the SMILES differ with its two hands, for one of `_TRIED_PATTERNS` random ways (always the same) to specify
    the others. In a small cage that can be one stereoisomer only (norbornane), none does.

    Parameters
    ----------
    graph : MolecularGraph
    """
    found = _could_be_specified(graph.mol)
    if not found.number:
        return found
    patterns = np.random.default_rng(0).random((_TRIED_PATTERNS, found.number)) < 0.5
    smiles = functools.cache(lambda pattern: specified(graph, found, pattern).smiles)
    flips = np.eye(found.number, dtype=bool)
    matters = [any(smiles(tuple(p.tolist())) != smiles(tuple((p ^ flip).tolist())) for p in patterns) for flip in flips]
    found = OpenStereo(
        [i for i, kept in zip(found.centres, matters, strict=False) if kept],
        [pair for pair, kept in zip(found.double_bonds, matters[len(found.centres) :], strict=True) if kept],
    )
    # the bridgeheads of norbornane, which could be inside by their tags alone
    in_cage = 0 < found.number <= _MOST_HEADS and not found.double_bonds and len(small_bicycles(graph.mol)) > 0
    return OpenStereo([], []) if in_cage and len(possible_isomers(graph, found)) < 2 else found


def possible_isomers(graph: MolecularGraph, found: OpenStereo) -> list[MolecularGraph]:
    """The stereoisomers that can exist, each once, of the first `MOST_PATTERNS` ways to specify what is open.

    Those with a bridgehead that points into a small bicycle (`turned_inside`) cannot.

    Parameters
    ----------
    graph : MolecularGraph
    found : OpenStereo
        Its `open_stereo`.
    """
    isomers: dict[str, MolecularGraph] = {}
    for hands in itertools.islice(itertools.product((True, False), repeat=found.number), MOST_PATTERNS):
        isomer = specified(graph, found, hands)
        if isomer.smiles not in isomers and not turned_inside(isomer):
            isomers[isomer.smiles] = isomer
    return list(isomers.values())


def _could_be_specified(mol: Chem.Mol) -> OpenStereo:
    """What RDKit finds open that neither inverts nor exchanges; the ends of cages, which make no difference, too."""
    labelled = Chem.Mol(mol)
    for atom in labelled.GetAtoms():
        atom.SetIntProp(_INDEX, atom.GetIdx())
    with rdBase.BlockLogs():
        # without hydrogens, or each CH2 of a cage would be looked at
        plain = Chem.RemoveHs(labelled)
        elements = Chem.FindPotentialStereo(plain, cleanIt=False, flagPossible=True)
    index = [atom.GetIntProp(_INDEX) for atom in plain.GetAtoms()]
    centres, double_bonds = [], []
    for element in elements:
        if element.specified == Chem.StereoSpecified.Specified:
            continue
        if element.type == Chem.StereoType.Atom_Tetrahedral:
            centre = mol.GetAtomWithIdx(index[element.centeredOn])
            if not _inverts(centre):
                centres.append(centre.GetIdx())
        elif element.type == Chem.StereoType.Bond_Double:
            bond = plain.GetBondWithIdx(element.centeredOn)
            pair = index[bond.GetBeginAtomIdx()], index[bond.GetEndAtomIdx()]
            if all(_keeps_its_sides(mol.GetAtomWithIdx(i)) for i in pair):
                double_bonds.append(pair)
    return OpenStereo(sorted(centres), sorted(double_bonds))


def _inverts(atom: Chem.Atom) -> bool:
    """Whether it is a nitrogen of three bonds that no second ring keeps from inverting."""
    rings = atom.GetOwningMol().GetRingInfo().NumAtomRings(atom.GetIdx())
    return bool(atom.GetAtomicNum() == 7 and atom.GetTotalDegree() == 3 and rings < 2)


def _keeps_its_sides(end: Chem.Atom) -> bool:
    """Whether the end of a double bond has sides that stay: neither cumulated (an axis then) nor C=N-H, whose hydrogen exchanges."""
    doubles = sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in end.GetBonds())
    imine = end.GetAtomicNum() == 7 and any(n.GetAtomicNum() == 1 for n in end.GetNeighbors()) and end.GetDegree() == 2
    return doubles == 1 and not imine
