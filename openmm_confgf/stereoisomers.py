"""Which stereoisomer is a conformation, where its molecule leaves that open; and all stereoisomers that it can be."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler

from .bicycles import can_exist, small_bicycles
from .errors import MoleculeError
from .geometry import dihedrals, signed_volumes
from .molecule import MolecularGraph

MOST_STEREOISOMERS = 64
"""Stereoisomers that are enumerated of one molecule at most."""

_MOST_PATTERNS = 16 * MOST_STEREOISOMERS
"""Hands of all elements that are tried: symmetry makes them fewer isomers."""

_MOST_HEADS = 4
"""Bridgeheads and other centres of which all patterns are tried before they count as open: adamantane has 4."""

_HANDS = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
_SIDES = (Chem.BondStereo.STEREOTRANS, Chem.BondStereo.STEREOCIS)
_MIRRORED = {_HANDS[0]: _HANDS[1], _HANDS[1]: _HANDS[0]}
_INDEX = "_index_in_graph"

_TRIED_PATTERNS = 8
"""Ways to specify all other elements that are tried before one counts as making no difference (the bridgeheads of adamantane)."""


class _Open(NamedTuple):
    """What a molecule leaves open: centres, and double bonds by their two atoms, both sorted."""

    centres: list[int]
    double_bonds: list[tuple[int, int]]

    @property
    def number(self) -> int:
        return len(self.centres) + len(self.double_bonds)


def unspecified_stereo(graph: MolecularGraph) -> dict[str, int]:
    """How many tetrahedral centres and double bonds could have either hand, ``{"centres": 1, "double_bonds": 0}``; empty where none could.

    What inverts or exchanges by itself is none of them: a nitrogen that no second ring holds, and the hydrogen of C=N-H.
    """
    found = _open(graph)
    return {"centres": len(found.centres), "double_bonds": len(found.double_bonds)} if found.number else {}


def stereo_settings(graph: MolecularGraph) -> dict[str, dict[str, int]]:
    """What `Provenance.settings` says of the stereo that a generator chose by itself; empty where there is none."""
    found = unspecified_stereo(graph)
    return {"unspecified_stereo": found} if found else {}


def stereoisomers(graph: MolecularGraph, positions: Any) -> list[str]:
    """The isomeric SMILES of each conformation, as its coordinates tell what the graph leaves open.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    list of str
        What the graph specifies is taken from it: `check_conformations` says whether the coordinates agree.
    """
    return [isomer.smiles for isomer in _isomer_of_each(graph, graph.frames(positions))]


class Part(NamedTuple):
    """Conformations that are one stereoisomer: its graph, their places among all, and positions (K, N, 3) in nm, in its atom order."""

    graph: MolecularGraph
    indices: NDArray[np.int64]
    positions: NDArray[np.float64]


def split_by_stereoisomer(graph: MolecularGraph, positions: Any) -> list[Part]:
    """The stereoisomers among conformations, by first appearance; a molecule with nothing open is one.

    Names are those of `enumerate_stereoisomers`. In a compound with symmetry (meso-tartaric acid: R,S or S,R) atoms that are alike may be
    exchanged, so that the same ones have the same hands in all conformations.
    """
    frames = graph.frames(positions).copy()
    found: dict[str, tuple[MolecularGraph, list[int]]] = {}
    orders: dict[int, list[int]] = {}
    for k, isomer in enumerate(_isomer_of_each(graph, frames)):
        first, indices = found.setdefault(isomer.smiles, (isomer, []))
        indices.append(k)
        if isomer is not first:
            if id(isomer) not in orders:
                orders[id(isomer)] = list(isomer.mol.GetSubstructMatch(first.mol, useChirality=True)) or list(range(len(graph)))
            frames[k] = frames[k, orders[id(isomer)]]
    isomers = _named(graph, _open(graph), [isomer for isomer, _ in found.values()])
    return [
        Part(isomer, np.array(indices, np.int64), frames[indices]) for isomer, (_, indices) in zip(isomers, found.values(), strict=True)
    ]


def diastereomers(graph: MolecularGraph, positions: Any) -> NDArray[np.int64]:
    """The number of the diastereomer that each conformation is, (B,), counted from 0 by first appearance.

    Mirror images have equal energies and count as one; energies of different numbers are those of different compounds.
    """
    numbers: dict[str, int] = {}
    isomers = _isomer_of_each(graph, graph.frames(positions))
    keys = {isomer.smiles: min(isomer.smiles, _mirror_image(isomer).smiles) for isomer in isomers}
    return np.array([numbers.setdefault(keys[isomer.smiles], len(numbers)) for isomer in isomers], np.int64)


def stereo_text(graph: MolecularGraph, positions: Any) -> str:
    """For people: what is left open, and how many stereoisomers conformations are; empty where nothing is."""
    found = _open(graph)
    if not found.number:
        return ""
    kinds = [(len(found.centres), "centre"), (len(found.double_bonds), "double bond")]
    what = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in kinds if count)
    number = len({isomer.smiles for isomer in _isomer_of_each(graph, graph.frames(positions))})
    return f"{what} unspecified: {number} stereoisomer{'s' * (number != 1)}"


def check_one_diastereomer(graph: MolecularGraph, positions: Any, work: str) -> None:
    """Make sure that conformations are of one compound, or of it and its mirror image.

    Raises
    ------
    MoleculeError
        If they are of several; `work` says what cannot be done with them.
    """
    if (count := len(set(diastereomers(graph, positions).tolist()))) > 1:
        raise MoleculeError(
            f"{graph.name!r} leaves stereo open, and its conformations are of {count} diastereomers, which are different compounds: "
            f"{work} takes one; split them with Ensemble.by_stereoisomer(), or generate each (--enumerate-stereo)."
        )


def enumerate_stereoisomers(graph: MolecularGraph) -> list[MolecularGraph]:
    """Every stereoisomer of a molecule that leaves stereo open, each once, in the same atom order; else the molecule itself.

    Names end in what is new: ``"alanine-2S"`` has atom 2 (counted from 1) S. Isomers with a bridgehead that points into a small bicycle
    cannot exist and are left out; of other strained rings a generator tells whether they can.

    Raises
    ------
    MoleculeError
        If there are more than `MOST_STEREOISOMERS`.

    Examples
    --------
    >>> [isomer.name for isomer in enumerate_stereoisomers(MolecularGraph.from_smiles("C[C@H](O)C=CC", name="x"))]
    ['x-4E', 'x-4Z']
    """
    found = _open(graph)
    if not found.number:
        return [graph]
    isomers = _possible(graph, found)
    if len(isomers) <= MOST_STEREOISOMERS and 2**found.number <= _MOST_PATTERNS:
        return _named(graph, found, isomers)
    raise MoleculeError(
        f"{graph.name!r} leaves {len(found.centres)} centres and {len(found.double_bonds)} double bonds open, which makes more than "
        f"{MOST_STEREOISOMERS} stereoisomers; specify some of them."
    )


def _isomer_of_each(graph: MolecularGraph, frames: NDArray[np.float64]) -> list[MolecularGraph]:
    """The graph of each conformation's stereoisomer; one object for all that are alike."""
    found = _open(graph)
    if not found.number:
        return [graph] * len(frames)
    finite = np.asarray(np.isfinite(frames).all(axis=(1, 2)))
    tensor = torch.from_numpy(np.where(finite[:, None, None], frames, 0.0))
    centres, double_bonds = (torch.from_numpy(part) for part in _readings(graph, found))
    hands = signed_volumes(tensor, centres[:, :4]) * centres[:, 4] > 0
    sides = torch.cos(dihedrals(tensor, double_bonds[:, :4])) * double_bonds[:, 4] > 0
    specified = functools.cache(lambda pattern: _specified(graph, found, pattern))
    return [specified(tuple(pattern)) for pattern in torch.cat([hands, sides], 1).tolist()]


def _readings(graph: MolecularGraph, found: _Open) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which atoms tell each open element, as `MolecularGraph.stereocentres` and `stereobonds` have it, in the elements' order."""
    full = MolecularGraph(_tagged(graph.mol, found, (True,) * found.number), graph.name)
    hands = {int(row[0]): row for row in full.stereocentres}
    sides = {frozenset(row[1:3].tolist()): row for row in full.stereobonds}
    return (
        np.array([hands[i] for i in found.centres], np.int64).reshape(-1, 5),
        np.array([sides[frozenset(pair)] for pair in found.double_bonds], np.int64).reshape(-1, 5),
    )


def _specified(graph: MolecularGraph, found: _Open, hands: Sequence[bool]) -> MolecularGraph:
    """The molecule with its open elements specified; those that turn out to make no difference are left open."""
    return MolecularGraph.from_rdkit(_tagged(graph.mol, found, hands), graph.name)


def _tagged(mol: Chem.Mol, found: _Open, hands: Sequence[bool]) -> Chem.Mol:
    """A copy in which the open centres turn counter-clockwise, and the open double bonds are cis, where True."""
    tagged = Chem.Mol(mol)
    for index, hand in zip(found.centres, hands, strict=False):
        tagged.GetAtomWithIdx(index).SetChiralTag(_HANDS[hand])
    for pair, side in zip(found.double_bonds, hands[len(found.centres) :], strict=True):
        bond = tagged.GetBondBetweenAtoms(*pair)
        first, last = (
            min(n.GetIdx() for n in end.GetNeighbors() if n.GetIdx() not in pair) for end in (bond.GetBeginAtom(), bond.GetEndAtom())
        )
        bond.SetStereoAtoms(first, last)
        bond.SetStereo(_SIDES[side])
    return tagged


def _open(graph: MolecularGraph) -> _Open:
    """The centres and double bonds that could be specified, are not, and make a difference."""
    found = _could_be_specified(graph.mol)
    if not found.number:
        return found
    patterns = np.random.default_rng(0).random((_TRIED_PATTERNS, found.number)) < 0.5
    smiles = functools.cache(lambda pattern: _specified(graph, found, pattern).smiles)
    flips = np.eye(found.number, dtype=bool)
    matters = [any(smiles(tuple(p.tolist())) != smiles(tuple((p ^ flip).tolist())) for p in patterns) for flip in flips]
    found = _Open(
        [i for i, kept in zip(found.centres, matters, strict=False) if kept],
        [pair for pair, kept in zip(found.double_bonds, matters[len(found.centres) :], strict=True) if kept],
    )
    # the bridgeheads of norbornane, which could be inside by their tags alone
    in_cage = 0 < found.number <= _MOST_HEADS and not found.double_bonds and len(small_bicycles(graph.mol)) > 0
    return _Open([], []) if in_cage and len(_possible(graph, found)) < 2 else found


def _possible(graph: MolecularGraph, found: _Open) -> list[MolecularGraph]:
    """The stereoisomers that can exist, each once, as far as their number of patterns is tried."""
    isomers: dict[str, MolecularGraph] = {}
    for hands in itertools.islice(itertools.product((True, False), repeat=found.number), _MOST_PATTERNS):
        isomer = _specified(graph, found, hands)
        if isomer.smiles not in isomers and can_exist(isomer):
            isomers[isomer.smiles] = isomer
    return list(isomers.values())


def _could_be_specified(mol: Chem.Mol) -> _Open:
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
    return _Open(sorted(centres), sorted(double_bonds))


def _inverts(atom: Chem.Atom) -> bool:
    """Whether it is a nitrogen of three bonds that no second ring keeps from inverting."""
    rings = atom.GetOwningMol().GetRingInfo().NumAtomRings(atom.GetIdx())
    return bool(atom.GetAtomicNum() == 7 and atom.GetTotalDegree() == 3 and rings < 2)


def _keeps_its_sides(end: Chem.Atom) -> bool:
    """Whether the end of a double bond has sides that stay: neither cumulated (an axis then) nor C=N-H, whose hydrogen exchanges."""
    doubles = sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in end.GetBonds())
    imine = end.GetAtomicNum() == 7 and any(n.GetAtomicNum() == 1 for n in end.GetNeighbors()) and end.GetDegree() == 2
    return doubles == 1 and not imine


def _mirror_image(graph: MolecularGraph) -> MolecularGraph:
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        atom.SetChiralTag(_MIRRORED.get(atom.GetChiralTag(), atom.GetChiralTag()))
    return MolecularGraph.from_rdkit(mol, graph.name)


def _named(graph: MolecularGraph, found: _Open, isomers: list[MolecularGraph]) -> list[MolecularGraph]:
    """The isomers with the CIP labels of what was open in their names, or with numbers where the labels tell no two apart."""
    if not found.number:
        return isomers
    labels = [_label(found, isomer) for isomer in isomers]
    if len(set(labels)) < len(labels) or not all(labels):
        labels = [str(k) for k in range(1, len(isomers) + 1)]
    return [MolecularGraph(isomer.mol, f"{graph.name}-{label}") for isomer, label in zip(isomers, labels, strict=True)]


def _label(found: _Open, isomer: MolecularGraph) -> str:
    """``"2S-5E"``: the CIP labels of the open centres and double bonds (by their first atom), atoms counted from 1."""
    mol = Chem.Mol(isomer.mol)
    with rdBase.BlockLogs():
        rdCIPLabeler.AssignCIPLabels(mol)
    labelled = [(min(pair), mol.GetBondBetweenAtoms(*pair)) for pair in found.double_bonds]
    parts = [(i, mol.GetAtomWithIdx(i)) for i in found.centres] + labelled
    return "-".join(f"{i + 1}{part.GetProp('_CIPCode')}" for i, part in sorted(parts, key=lambda p: p[0]) if part.HasProp("_CIPCode"))
