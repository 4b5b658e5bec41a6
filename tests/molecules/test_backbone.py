import mdtraj
import numpy as np
import pytest

from openmm_confgf.molecules.backbone import alpha_carbons, backbone_torsions, rama_pairs
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide


@pytest.mark.parametrize("residues", [["ACE", "ALA", "NME"], "KS", "GPN", "QWRD", ["ACE", "PRO", "NME"], ["ACE", "ASN", "GLU", "NME"]])
def test_they_are_those_of_mdtraj(residues):
    graph = peptide(residues)
    frames = mdtraj.Trajectory(np.random.default_rng(0).random((1, len(graph), 3)), mdtraj.Topology.from_openmm(graph.to_topology()))
    for ours, theirs in zip(backbone_torsions(graph), (mdtraj.compute_phi(frames)[0], mdtraj.compute_psi(frames)[0]), strict=True):
        assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_pairs_are_of_one_residue_and_in_charged_dipeptides_of_both():
    assert [(phi[2], psi[1]) for phi, psi in rama_pairs(peptide("AAA"))] == [(k, k) for _, k in [(0, rama_pairs(peptide("AAA"))[0][0][2])]]
    assert rama_pairs(peptide(["ACE", "ALA", "ALA", "NME"])).shape == (2, 2, 4)
    ((phi, psi),) = rama_pairs(peptide("AG"))
    assert phi[0] == psi[2] and phi[1] == psi[3]


@pytest.mark.parametrize("smiles", ["CCCCO", "O", "CC(=O)Nc1ccccc1", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"])
def test_other_molecules_have_none(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    assert [part.shape for part in backbone_torsions(graph)] == [(0, 4), (0, 4)] and rama_pairs(graph).shape == (0, 2, 4)


def test_alpha_carbons_of_a_peptide():
    """By the names of Amber's residues; caps and side chains (asparagine's amide) have none."""
    for residues, expected in ((["ACE", "ASN", "PRO", "GLY", "NME"], 3), (["NGLY", "LYS", "CASP"], 3)):
        graph = peptide(residues)
        named = [atom.index for atom in graph.to_topology().atoms() if atom.name == "CA"]
        assert alpha_carbons(graph).tolist() == named and len(named) == expected
    assert alpha_carbons(MolecularGraph.from_smiles("CCO")).shape == (0,)
