import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from openmm_confgf.models.features import ATOM_VOCABULARY, PAIR_VOCABULARY, collate, conformation_hands, featurise, pair_index
from openmm_confgf.molecules.graph import MolecularGraph


def test_pairs_of_fewer_atoms_are_a_prefix_of_those_of_more():
    assert (pair_index(9)[: 5 * 4 // 2] == pair_index(5)).all()
    assert len({tuple(p) for p in pair_index(9)}) == 36 and (pair_index(9)[:, 0] < pair_index(9)[:, 1]).all()


def pair_column(features, i, j, column):
    row = np.flatnonzero((pair_index(len(features)) == sorted((i, j))).all(1))[0]
    return features.pairs[row, column]


def test_double_bond_marks_all_four_relations_across_it():
    graph = MolecularGraph.from_smiles("C/C(F)=C(Cl)/Br")  # heavy atoms: 0 C, 1 C, 2 F, 3 C, 4 Cl, 5 Br
    features = featurise(graph)
    mol = Chem.Mol(graph.mol)
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    positions = mol.GetConformer().GetPositions()
    for a, b in [(0, 4), (0, 5), (2, 4), (2, 5)]:
        u, v = positions[a] - positions[1], positions[b] - positions[3]
        axis = (positions[3] - positions[1]) / np.linalg.norm(positions[3] - positions[1])
        cis = np.dot(u - u @ axis * axis, v - v @ axis * axis) > 0
        assert pair_column(features, a, b, 4) == (1 if cis else 2)


def test_ring_pairs_know_the_smallest_ring_they_share():
    features = featurise(MolecularGraph.from_smiles("C1CC2CCCC2C1"))  # two five-membered rings that share the bond 2-6
    assert pair_column(features, 0, 6, 2) == 5 and pair_column(features, 0, 3, 2) == 0


def test_all_columns_stay_within_their_vocabularies():
    for smiles in ("OS(=O)(=O)c1ccccc1", "C[N+](C)(C)CC([O-])=O", "BrC1CCCCCCCCCC1", "FP(F)(F)(F)F", "CC#CC=C=C"):
        features = featurise(MolecularGraph.from_smiles(smiles))
        assert (features.atoms.max(0) < ATOM_VOCABULARY).all() and (features.pairs.max(0) < PAIR_VOCABULARY).all()
        assert (features.atoms >= 0).all() and (features.bounds[:, 0] <= features.bounds[:, 1]).all()


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C[S@](=O)CC", "C[S@@](=O)CC", "F[C@](Cl)(Br)I"])
def test_hands_are_the_signs_of_the_volumes_that_rdkit_embeds(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    mol = Chem.Mol(graph.mol)
    rdDistGeom.EmbedMolecule(mol, randomSeed=5)
    batch = collate([featurise(graph)])
    hands = conformation_hands(torch.from_numpy(mol.GetConformer().GetPositions())[None, None], batch)[0, 0]
    specified = batch.hands[0] != 0
    assert specified.sum() == 1
    assert (hands[specified] == batch.hands[0][specified]).all()


def test_padding_changes_nothing_of_the_smaller_molecule():
    small, large = (featurise(MolecularGraph.from_smiles(s)) for s in ("CO", "CCOCC"))
    alone, together = collate([small]), collate([small, large])
    n, p = alone.atoms.shape[1], len(alone.pair_index)
    assert (together.atoms[0, :n] == alone.atoms[0]).all() and not together.atom_mask[0, n:].any()
    assert (together.pairs[0, :p] == alone.pairs[0]).all() and not together.pair_mask[0, p:].any()
