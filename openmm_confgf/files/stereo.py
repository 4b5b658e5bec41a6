"""Coordinates specify all stereo; a file may say that some of it is open."""

from __future__ import annotations

from collections.abc import Collection

from rdkit import Chem

from ..molecules.graph import MolecularGraph


def with_stereo_only_at(graph: MolecularGraph, centres: Collection[int], double_bonds: Collection[frozenset[int]]) -> MolecularGraph:
    """The same molecule with its stereo left open everywhere else.

    Parameters
    ----------
    graph : MolecularGraph
        It is not changed.
    centres : collection of int
        Tetrahedral centres that stay specified.
    double_bonds : collection of frozenset of two int
        Double bonds, as their two atoms, that stay specified.

    Returns
    -------
    MolecularGraph
    """
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        if atom.GetIdx() not in centres:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in mol.GetBonds():
        bond.SetBondDir(Chem.BondDir.NONE)  # perception would read the stereo from these again
        if frozenset((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())) not in double_bonds:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
    return MolecularGraph.from_rdkit(mol, graph.name)
