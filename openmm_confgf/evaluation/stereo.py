"""Whether specified stereochemistry came out right: as it is read from coordinates, without a look at what was asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ..ensemble import Ensemble
from ..molecules.graph import MolecularGraph
from ..molecules.stereo import assign_stereo_from_3d


def specified_stereo(graph: MolecularGraph) -> int:
    """How many tetrahedral centres and double bonds of the molecule have their stereochemistry specified.

    Parameters
    ----------
    graph : MolecularGraph
    """
    centres = sum(a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for a in graph.mol.GetAtoms())
    return centres + sum(b.GetStereo() > Chem.BondStereo.STEREOANY for b in graph.mol.GetBonds())


def stereo_is_right(ensemble: Ensemble) -> NDArray[np.bool_]:
    """Which usable samples are the specified stereoisomer, as `assign_stereo_from_3d` reads them from their coordinates.

    Only what the graph specifies is compared; everything else is free. A sample is right if every specified centre and double bond is,
    atom by atom, or if its canonical SMILES is: the mirror image of cis-1,4-dimethylcyclohexane has both tags inverted and is the same
    molecule.

    Parameters
    ----------
    ensemble : Ensemble

    Returns
    -------
    ndarray of bool, (number of samples with status OK,)
    """
    mol = ensemble.to_rdkit()
    wanted = {a.GetIdx(): a.GetChiralTag() for a in mol.GetAtoms() if a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED}
    wanted_bonds = {b.GetIdx(): b.GetStereo() for b in mol.GetBonds() if b.GetStereo() > Chem.BondStereo.STEREOANY}
    right = []
    for conformer in list(mol.GetConformers()):
        seen = Chem.Mol(mol, confId=conformer.GetId())
        Chem.RemoveStereochemistry(seen)
        assign_stereo_from_3d(seen)
        for atom in seen.GetAtoms():
            if atom.GetIdx() not in wanted:
                atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        for bond in seen.GetBonds():
            if bond.GetIdx() not in wanted_bonds:
                bond.SetStereo(Chem.BondStereo.STEREONONE)
            # the SMILES would write these for double bonds that are left open
            bond.SetBondDir(Chem.BondDir.NONE)
        same_tags = all(seen.GetAtomWithIdx(i).GetChiralTag() == tag for i, tag in wanted.items()) and all(
            seen.GetBondWithIdx(i).GetStereo() == stereo for i, stereo in wanted_bonds.items()
        )
        right.append(same_tags or Chem.MolToSmiles(Chem.RemoveHs(seen)) == ensemble.graph.smiles)
    return np.array(right, dtype=bool)
