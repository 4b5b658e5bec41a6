import itertools

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.errors import MoleculeError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.stereo import tetrahedral_hands


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("CC=[C@]=CC", r"atom 2 \(C\) .* allene stereo specified"),
        ("OC(Cl)=[C@@]=C(C)F", r"atom 3 \(C\) .* allene"),
        ("CC=[C@AL1]=CC", "allene"),
        ("C/C=C=C=C/C", "cumulated double bonds of atoms 1 to 4"),
        ("F/C=C=C=C=C=C\\F", "cumulated double bonds of atoms 1 to 6"),
        ("Cc1cccc(Cl)c1-c1c(C)cccc1Br |wD:8.15|", "chiral axis"),
        ("CC[C@H](F)Cl |o1:2|", "one of two stereoisomers .enhanced stereo of atoms 2"),
        ("CC[C@H](F)Cl |&1:2|", "a mixture of two stereoisomers"),
        ("CC[C@H](F)Cl |r|", "relative stereo"),
        ("CC[CH](F)Cl |wU:2.2|", "wedge at atom 2"),
        ("CC |^1:0|", r"atom 0 \(C\) .* radical"),
        ("CC |foo|", r"extension \|foo\| cannot be read"),
    ],
)
def test_what_would_be_dropped_is_refused_by_name(smiles, said):
    with pytest.raises(MoleculeError, match=said) as caught:
        MolecularGraph.from_smiles(smiles)
    assert ";" in str(caught.value) or "cannot be read" in str(caught.value)


@pytest.mark.parametrize(
    ("smiles", "kept"),
    [
        ("CC[C@H](F)Cl |a:2|", "CC[C@H](F)Cl"),
        ("CC=CC |t:1|", "C/C=C/C"),
        ("C[C@H](C)O", "CC(C)O"),
        ("C/C=C=C/C", "CC=C=CC"),
        ("F/C=C/C=C=CF", "FC=C=C/C=C/F"),
        ("CC[C@H](F)Cl |(0,0,;1,0,;2,0,;3,0,;2,1,)|", "CC[C@H](F)Cl"),
    ],
)
def test_what_can_be_kept_is(smiles, kept):
    assert MolecularGraph.from_smiles(smiles).smiles == Chem.CanonSmiles(kept)


@pytest.mark.parametrize("smiles", ["CC[P@](C)c1ccccc1", "CC[As@](C)c1ccccc1", "C[P@]1CCC[C@H]1C", "CC[S@@](C)=O", "CC[S@+](C)c1ccccc1"])
def test_pyramids_get_their_hand_from_coordinates(smiles):
    """The tags, which RDKit embeds by its own rules, come back from the coordinates of both enantiomers."""
    graph = MolecularGraph.from_smiles(smiles)
    mol = graph.to_rdkit()
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3) == 0
    for atom in mol.GetAtoms():
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    seen = MolecularGraph.from_rdkit(mol)
    assert seen.smiles == graph.smiles
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * [1, 1, -1])
    assert MolecularGraph.from_rdkit(mol).stereocentres[:, 4].tolist() == (-seen.stereocentres[:, 4]).tolist()


TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
INSIDE, BEYOND_A_FACE, BEYOND_AN_EDGE = [0.0, 0.0, 0.0], [-0.4, -0.4, -0.4], [0.0, 0.0, 1.3]


@pytest.mark.parametrize(("centre", "hands"), [(INSIDE, 1), (BEYOND_A_FACE, 1), (BEYOND_AN_EDGE, 0)])
def test_a_hand_does_not_depend_on_the_order_of_the_neighbours(centre, hands):
    """Whichever order: even permutations keep it, odd ones and a mirror reverse it."""
    positions = np.array([centre, *TETRAHEDRON])
    for order in itertools.permutations(range(1, 5)):
        parity = round(np.linalg.det(np.eye(4)[np.array(order) - 1]))
        centres = np.array([[0, *order]])
        sign = parity * tetrahedral_hands(positions, np.array([[0, 1, 2, 3, 4]]))[0]
        assert tetrahedral_hands(positions, centres)[0] == sign and abs(sign) == hands
        assert tetrahedral_hands(-positions, centres)[0] == -sign
    assert tetrahedral_hands(positions, np.array([[0, 1, 2, 3, 4]]), 17.0)[0] == 0  # six times the volume is 16


def with_bonds_in_another_order(mol, seed):
    shuffled = Chem.RWMol(mol)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondType()) for bond in mol.GetBonds()]
    for first, second, _ in bonds:
        shuffled.RemoveBond(first, second)
    for index in np.random.default_rng(seed).permutation(len(bonds)):
        shuffled.AddBond(*bonds[index])
    Chem.SanitizeMol(shuffled)
    return shuffled.GetMol()


@pytest.mark.parametrize("smiles", ["O=C1C[C@]23CCC[C@]12C3", "C1=C[C@]23N[C@@]2(C1)[C@H]1C[C@H]13", "C[C@H]1OC[C@]23CC[C@]12C3"])
def test_inverted_carbons_are_read_alike_in_any_order(smiles):
    """RDKit reads the hand from the first three neighbours, and another molecule in another order."""
    graph = MolecularGraph.from_smiles(smiles)
    relaxed = relax(embed_etkdg(graph, 1, 0), "mmff")
    assert relaxed.ok.all()
    mol = relaxed.to_rdkit()
    for atom in mol.GetAtoms():
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    by_rdkit = set()
    for seed in range(20):
        shuffled = with_bonds_in_another_order(mol, seed)
        seen = MolecularGraph.from_rdkit(shuffled)
        assert seen.smiles == graph.smiles
        Chem.AssignStereochemistryFrom3D(shuffled)
        by_rdkit.add(Chem.MolToSmiles(Chem.RemoveHs(shuffled)))
    assert len(by_rdkit) > 1


@pytest.mark.parametrize("smiles", ["CP(C)C", "CCP(C)CC", "COP(=O)([O-])OCC", "CCOP([O-])(=O)OP(=O)([O-])OC", "CCS(=O)(=O)[O-]"])
def test_what_is_no_centre_gets_no_hand(smiles):
    mol = MolecularGraph.from_smiles(smiles).to_rdkit()
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3) == 0
    assert len(MolecularGraph.from_rdkit(mol).stereocentres) == 0


def test_wedges_of_allenes_and_groups_in_mol_blocks_are_refused():
    allene = Chem.MolFromSmiles("CC=C=CC |(0,0,;1,0.5,;2,0.5,;3,0.5,;4,0,)|")
    block = Chem.MolToMolBlock(allene).replace("  1  2  1  0", "  2  1  1  1")
    mol = Chem.AddHs(Chem.MolFromMolBlock(block))
    mol.RemoveAllConformers()
    with pytest.raises(MoleculeError, match="atom 1 .* allene stereo specified by a wedge"):
        MolecularGraph.from_rdkit(mol)
    with pytest.raises(MoleculeError, match="a mixture of two"):
        MolecularGraph.from_rdkit(Chem.AddHs(Chem.MolFromSmiles("CC[C@H](F)Cl |&1:2|")))


def test_square_planar_tags_are_refused_unless_only_coordinates_imply_them():
    tagged = Chem.AddHs(Chem.MolFromSmiles("Cl[Pt@SP1](F)(Br)N"))
    with pytest.raises(MoleculeError, match="squareplanar"):
        MolecularGraph.from_rdkit(tagged)
    square = Chem.RWMol(Chem.AddHs(Chem.MolFromSmiles("Cl[Pt](F)(Br)I")))
    conformer = Chem.Conformer(5)
    conformer.SetPositions(np.array([[2.3, 0, 0], [0, 0, 0], [0, 2.0, 0], [-2.4, 0, 0], [0, -2.6, 0]]))
    conformer.Set3D(True)
    square.AddConformer(conformer)
    read = Chem.MolFromMolBlock(Chem.MolToMolBlock(square), removeHs=False)
    for mol in (square, read):
        assert MolecularGraph.from_rdkit(mol).mol.GetAtomWithIdx(1).GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED
