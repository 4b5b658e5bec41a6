"""Which stereoisomer is a conformation, where its molecule leaves that open; and all stereoisomers that it can be."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler

from ..errors import MoleculeError
from .geometry import dihedrals, signed_volumes
from .graph import MolecularGraph
from .open_stereo import HANDS, MOST_PATTERNS, OpenStereo, open_stereo, possible_isomers, readings, specified

MOST_STEREOISOMERS = 64
"""Stereoisomers that are enumerated of one molecule at most."""

_MIRRORED = {HANDS[0]: HANDS[1], HANDS[1]: HANDS[0]}


def unspecified_stereo(graph: MolecularGraph) -> dict[str, int]:
    """How many tetrahedral centres and double bonds could have either hand, ``{"centres": 1, "double_bonds": 0}``; empty where none could.

    What inverts or exchanges by itself is none of them: a nitrogen that no second ring holds, and the hydrogen of C=N-H.

    Parameters
    ----------
    graph : MolecularGraph
    """
    found = open_stereo(graph)
    return {"centres": len(found.centres), "double_bonds": len(found.double_bonds)} if found.number else {}


def stereo_settings(graph: MolecularGraph) -> dict[str, dict[str, int]]:
    """What `Provenance.settings` says of the stereo that a generator chose by itself; empty where there is none.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    dict
        ``{"unspecified_stereo": ...}``, with what `unspecified_stereo` gives.
    """
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
    list of str, (B,)
        What the graph specifies is taken from it: `check_conformations` says whether the coordinates agree.

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    return [isomer.smiles for isomer in _isomer_of_each(graph, graph.frames(positions))]


@dataclasses.dataclass(frozen=True)
class Part:
    """Conformations that are one stereoisomer.

    Attributes
    ----------
    graph : MolecularGraph
        The stereoisomer.
    indices : ndarray of int64, (K,)
        Their places among all conformations.
    positions : ndarray of float64, (K, N, 3)
        nm, in the atom order of the stereoisomer.
    """

    graph: MolecularGraph
    indices: NDArray[np.int64]
    positions: NDArray[np.float64]


def split_by_stereoisomer(graph: MolecularGraph, positions: Any) -> list[Part]:
    """The stereoisomers among conformations, by first appearance; a molecule with nothing open is one.

    Names are those of `enumerate_stereoisomers`. In a compound with symmetry (meso-tartaric acid: R,S or S,R) atoms that are alike may be
    exchanged, so that the same ones have the same hands in all conformations.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    list of Part

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
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
    isomers = _named(graph, open_stereo(graph), [isomer for isomer, _ in found.values()])
    return [
        Part(isomer, np.array(indices, np.int64), frames[indices]) for isomer, (_, indices) in zip(isomers, found.values(), strict=True)
    ]


def diastereomers(graph: MolecularGraph, positions: Any) -> NDArray[np.int64]:
    """The number of the diastereomer that each conformation is, counted from 0 by first appearance.

    Mirror images have equal energies and count as one; energies of different numbers are those of different compounds.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    ndarray of int64, (B,)

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    numbers: dict[str, int] = {}
    isomers = _isomer_of_each(graph, graph.frames(positions))
    keys = {isomer.smiles: min(isomer.smiles, _mirror_image(isomer).smiles) for isomer in isomers}
    return np.array([numbers.setdefault(keys[isomer.smiles], len(numbers)) for isomer in isomers], np.int64)


def stereo_text(graph: MolecularGraph, positions: Any) -> str:
    """For people: what is left open, and how many stereoisomers conformations are; empty where nothing is.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    return stereo_text_and_isomers(graph, positions)[0]


def stereo_text_and_isomers(graph: MolecularGraph, positions: Any) -> tuple[str, list[str]]:
    """What `stereo_text` and `stereoisomers` give, for one search for what is open: that is most of what both take.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    found = open_stereo(graph)
    isomers = [isomer.smiles for isomer in _isomer_of_each(graph, graph.frames(positions), found)]
    if not found.number:
        return "", isomers
    kinds = [(len(found.centres), "centre"), (len(found.double_bonds), "double bond")]
    what = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in kinds if count)
    number = len(set(isomers))
    return f"{what} unspecified: {number} stereoisomer{'s' * (number != 1)}", isomers


def check_one_diastereomer(graph: MolecularGraph, positions: Any, work: str) -> None:
    """Make sure that conformations are of one compound, or of it and its mirror image.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.
    work : str
        What takes one compound only, for the message: ``"a simulation"``.

    Raises
    ------
    MoleculeError
        If they are of several.
    ValueError
        If the number of atoms is not the molecule's.
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

    Parameters
    ----------
    graph : MolecularGraph

    Raises
    ------
    MoleculeError
        If there are more than `MOST_STEREOISOMERS`.

    Examples
    --------
    >>> [isomer.name for isomer in enumerate_stereoisomers(MolecularGraph.from_smiles("C[C@H](O)C=CC", name="x"))]
    ['x-4Z', 'x-4E']
    """
    found = open_stereo(graph)
    if not found.number:
        return [graph]
    isomers = possible_isomers(graph, found)
    if len(isomers) <= MOST_STEREOISOMERS and 2**found.number <= MOST_PATTERNS:
        return _named(graph, found, isomers)
    raise MoleculeError(
        f"{graph.name!r} leaves {len(found.centres)} centres and {len(found.double_bonds)} double bonds open, which makes more than "
        f"{MOST_STEREOISOMERS} stereoisomers; specify some of them."
    )


def _isomer_of_each(graph: MolecularGraph, frames: NDArray[np.float64], found: OpenStereo | None = None) -> list[MolecularGraph]:
    """The graph of each conformation's stereoisomer; one object for all that are alike."""
    found = open_stereo(graph) if found is None else found
    if not found.number:
        return [graph] * len(frames)
    finite = np.asarray(np.isfinite(frames).all(axis=(1, 2)))
    tensor = torch.from_numpy(np.where(finite[:, None, None], frames, 0.0))
    centres, double_bonds = (torch.from_numpy(part) for part in readings(graph, found))
    hands = signed_volumes(tensor, centres[:, :4]) * centres[:, 4] > 0
    sides = torch.cos(dihedrals(tensor, double_bonds[:, :4])) * double_bonds[:, 4] > 0
    isomer_of = functools.cache(lambda pattern: specified(graph, found, pattern))
    return [isomer_of(tuple(pattern)) for pattern in torch.cat([hands, sides], 1).tolist()]


def _mirror_image(graph: MolecularGraph) -> MolecularGraph:
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        atom.SetChiralTag(_MIRRORED.get(atom.GetChiralTag(), atom.GetChiralTag()))
    return graph.retagged(mol)


def _named(graph: MolecularGraph, found: OpenStereo, isomers: list[MolecularGraph]) -> list[MolecularGraph]:
    """The isomers with the CIP labels of what was open in their names, or with numbers where the labels tell no two apart."""
    if not found.number:
        return isomers
    labels = [_label(found, isomer) for isomer in isomers]
    if len(set(labels)) < len(labels) or not all(labels):
        labels = [str(k) for k in range(1, len(isomers) + 1)]
    return [MolecularGraph(isomer.mol, f"{graph.name}-{label}") for isomer, label in zip(isomers, labels, strict=True)]


def _label(found: OpenStereo, isomer: MolecularGraph) -> str:
    """``"2S-5E"``: the CIP labels of the open centres and double bonds (by their first atom), atoms counted from 1."""
    mol = Chem.Mol(isomer.mol)
    with rdBase.BlockLogs():
        rdCIPLabeler.AssignCIPLabels(mol)
    labelled = [(min(pair), mol.GetBondBetweenAtoms(*pair)) for pair in found.double_bonds]
    parts = [(i, mol.GetAtomWithIdx(i)) for i in found.centres] + labelled
    return "-".join(f"{i + 1}{part.GetProp('_CIPCode')}" for i, part in sorted(parts, key=lambda p: p[0]) if part.HasProp("_CIPCode"))
