import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from openmm_confgf.errors import MoleculeError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.geometry import dihedrals, signed_volumes
from openmm_confgf.molecules.graph import MolecularGraph

STEREO = [
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "[H][C@](C)(N)C(=O)O",
    "N[C@](F)(Cl)Br",
    "C[S@](=O)CC",
    "C[S@@](=O)CC",
    "CC[P@](C)c1ccccc1",
    "C[N@+](CC)(CCC)c1ccccc1",
    "C[C@H]1CN1C",
    "[C@H]1(C)C[C@@H](O)CCC1",
    "C/C=C/CO",
    "C/C=C\\CO",
    "F/C(Cl)=C(/Br)I",
    "[H]/N=C(/C)O",
    "C/C(=N\\O)c1ccccc1",
    "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C[C@]1(F)/C=C/CCCCCC1",
]


@pytest.mark.parametrize("smiles", STEREO)
def test_signs_agree_with_what_rdkit_embeds(smiles):
    """RDKit turns tags into coordinates by its own rules; the signs that we derive from the tags must hold in them."""
    graph = MolecularGraph.from_smiles(smiles)
    assert len(graph.stereocentres) + len(graph.stereobonds) > 0
    mol = Chem.Mol(graph.mol)
    params = rdDistGeom.ETKDGv3()
    params.randomSeed = 11
    assert rdDistGeom.EmbedMultipleConfs(mol, 3, params)
    positions = torch.from_numpy(np.array([c.GetPositions() for c in mol.GetConformers()]))
    centres, double_bonds = torch.from_numpy(graph.stereocentres), torch.from_numpy(graph.stereobonds)
    assert (signed_volumes(positions, centres[:, :4]) * centres[:, 4] > 0.1).all()
    assert (torch.cos(dihedrals(positions, double_bonds[:, :4])) * double_bonds[:, 4] > 0.5).all()


def test_number_of_specified_centres_is_that_of_the_smiles():
    glucose = MolecularGraph.from_smiles("OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O")
    assert len(glucose.stereocentres) == 4  # the anomeric centre is open
    assert len(MolecularGraph.from_smiles("C[C@H](C)O").stereocentres) == 0  # not a centre at all
    assert len(MolecularGraph.from_smiles("CC=CC").stereobonds) == 0
    assert len(MolecularGraph.from_smiles("C/C=C/C=C\\C").stereobonds) == 2


def test_atom_order_is_that_of_add_hs():
    smiles = "[H]OC(=O)[C@@H](N)CC1CC1"
    graph = MolecularGraph.from_smiles(smiles)
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert graph.numbers.tolist() == [a.GetAtomicNum() for a in mol.GetAtoms()]
    assert sorted(map(tuple, graph.bonds)) == sorted(tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in mol.GetBonds())
    assert (graph.bonds[:, 0] < graph.bonds[:, 1]).all()
    assert (graph.topological_distances == graph.topological_distances.T).all()
    assert {tuple(p) for p in np.argwhere(np.triu(graph.topological_distances) == 1)} == {tuple(p) for p in graph.bonds}


def test_any_atom_order_is_kept_and_is_the_same_molecule():
    source = MolecularGraph.from_smiles("C[C@H](N)/C=C/[C@@H](O)F")
    rng = np.random.default_rng(3)
    for _ in range(5):
        order = rng.permutation(len(source))
        graph = MolecularGraph.from_rdkit(Chem.RenumberAtoms(source.mol, order.tolist()))
        assert (graph.numbers == source.numbers[order]).all()
        assert graph.smiles == source.smiles
        assert len(graph.stereobonds) == 1 and len(graph.stereocentres) == 2


def test_stereo_without_bond_directions_is_kept():
    mol = Chem.MolFromSmiles("CC=CCO")
    mol.GetBondWithIdx(1).SetStereoAtoms(0, 3)
    mol.GetBondWithIdx(1).SetStereo(Chem.BondStereo.STEREOTRANS)
    assert MolecularGraph.from_rdkit(Chem.AddHs(mol)).smiles == "C/C=C/CO"


def test_stereo_comes_from_the_conformer_where_tags_say_nothing():
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](F)/C=C\\O"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    for atom in mol.GetAtoms():
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    graph = MolecularGraph.from_rdkit(mol)
    assert graph.smiles == Chem.CanonSmiles("C[C@H](F)/C=C\\O")
    assert graph.mol.GetNumConformers() == 0
    assert mol.GetNumConformers() == 1  # the caller's molecule is left as it was


@pytest.mark.parametrize("smiles", ["C[C@H]([NH3+])C(=O)[O-]", "C/C=C\\c1ccncc1", "CS(=O)(=O)NC", "C[N+](=O)[O-]"])
def test_openff_molecules_come_and_go(smiles):
    graph = MolecularGraph.from_smiles(smiles, name="ligand")
    back = MolecularGraph.from_openff(graph.to_openff())
    assert back.name == "ligand"
    assert back.smiles == graph.smiles
    assert (back.numbers == graph.numbers).all()
    assert back.stereocentres.tolist() == graph.stereocentres.tolist()
    assert back.total_charge == graph.total_charge


def test_charges():
    assert MolecularGraph.from_smiles("C[N+](C)(C)C").total_charge == 1
    assert MolecularGraph.from_smiles("[O-]C(=O)CC(=O)[O-]").total_charge == -2
    assert MolecularGraph.from_smiles("C[NH2+]CC(=O)[O-]").total_charge == 0


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("CC(C", "syntax error"),
        ("CCXC", r"position 3 \(CC>>XC<<\)"),
        ("C1CC", "syntax error"),
        ("CC(C)(C)(C)C", "valence for atom # 1"),
        ("c1cccc1", "kekulize"),
        ("hello world", "syntax error"),
        ("CCO.[Na+].[Cl-]", "3 fragments; give one molecule"),
        ("C[CH2]", "is a radical; add the missing hydrogen"),
        ("C*", "dummy atom; replace it"),
        ("NS(F)(F)[F-2]", r"atom 4 \(F\) .* 10 outer electrons with charge -2 and 1 bond"),
        ("CS[Cl-2]", "10 outer electrons"),
        ("C:C", r"bond of atoms 0 \(C\) and 1 \(C\) of 'C:C' is aromatic there; make it single"),
        ("[2H]C(:[2H])O", r"bond of atoms 1 \(C\) and 2 \(H\) .* is aromatic"),
        ("C$C", "is quadruple"),
        ("C~C", "is one of several orders"),
    ],
)
def test_bad_smiles_are_told_where(smiles, said):
    with pytest.raises(MoleculeError, match=said) as caught:
        MolecularGraph.from_smiles(smiles)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("smiles", ["Cl[Pt@SP1](F)(Br)N", "S[As@TB1](F)(Cl)(Br)N", "C[Co@OH1](F)(Cl)(Br)(I)S"])
def test_stereo_that_cannot_be_checked_is_refused(smiles):
    with pytest.raises(MoleculeError, match=r"atom 1 .* leave it open"):
        MolecularGraph.from_smiles(smiles)


def test_specified_chiral_axes_are_refused():
    mol = Chem.AddHs(Chem.MolFromSmiles("Cc1cccc(I)c1-c1c(C)cccc1Br"))
    assert len(MolecularGraph.from_rdkit(mol)) == mol.GetNumAtoms()
    axis = mol.GetBondBetweenAtoms(7, 8)
    axis.SetStereoAtoms(1, 9)
    axis.SetStereo(Chem.BondStereo.STEREOATROPCW)
    with pytest.raises(MoleculeError, match="atoms 7 and 8 .* chiral axis"):
        MolecularGraph.from_rdkit(mol)


def test_lone_ions_have_a_smiles_and_no_warning(capfd):
    assert [MolecularGraph.from_smiles(smiles).smiles for smiles in ("[H+]", "[Na+]", "[H][H]")] == ["[H+]", "[Na+]", "[H][H]"]
    assert capfd.readouterr() == ("", "")


def test_missing_hydrogens_are_named():
    with pytest.raises(MoleculeError, match=r"atom 0 \(C\).*lacks 3 explicit hydrogen.*Chem.AddHs"):
        MolecularGraph.from_rdkit(Chem.MolFromSmiles("CCO"))
    with pytest.raises(MoleculeError, match="no atoms"):
        MolecularGraph.from_rdkit(Chem.Mol())


def test_molecules_that_cannot_be_sanitised_are_refused():
    with pytest.raises(MoleculeError, match="valence"):
        MolecularGraph.from_rdkit(Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False))


@pytest.mark.parametrize(("order", "said"), [(5, "one of several"), (8, "one of several"), (9, "is dative"), (4, "is aromatic")])
def test_bonds_of_mol_files_that_are_of_no_one_order_are_refused(order, said):
    # a dative bond to a hydrogen made RDKit's RemoveHs raise, the others RDKit complain when it wrote them
    block = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CC"))).replace("  1  3  1  0", f"  1  3  {order}  0")
    with pytest.raises(MoleculeError, match=f"bond of atoms 0 .C. and 2 .H. .* {said}"):
        MolecularGraph.from_rdkit(Chem.MolFromMolBlock(block, removeHs=False))


def test_an_atom_with_a_condition_is_refused():
    mol = Chem.RWMol(Chem.AddHs(Chem.MolFromSmiles("CO")))
    mol.ReplaceAtom(0, Chem.AtomFromSmarts("[C;R]"))
    with pytest.raises(MoleculeError, match="atom 0 of .* is a query .*; give the element"):
        MolecularGraph.from_rdkit(mol)


def test_dative_bonds_to_metals_are_kept():
    graph = MolecularGraph.from_smiles("[NH3]->[Pt](Cl)(Cl)<-[NH3]")
    assert [str(bond.GetBondType()) for bond in graph.mol.GetBonds()][:4] == ["DATIVE", "SINGLE", "SINGLE", "DATIVE"]


def test_names():
    assert MolecularGraph.from_smiles("OCC").name == "OCC"
    assert MolecularGraph.from_smiles("OCC", name="ethanol").name == "ethanol"
    mol = Chem.AddHs(Chem.MolFromSmiles("OCC"))
    assert MolecularGraph.from_rdkit(mol).name == "CCO"
    mol.SetProp("_Name", "titled")
    assert MolecularGraph.from_rdkit(mol).name == "titled"


def test_to_rdkit_takes_positions_in_nm(alanine):
    frames = np.random.default_rng(0).normal(size=(3, len(alanine), 3))
    mol = alanine.to_rdkit(frames)
    np.testing.assert_allclose([c.GetPositions() for c in mol.GetConformers()], 10 * frames, atol=1e-12)
    assert mol.GetProp("_Name") == "alanine"
    assert alanine.to_rdkit().GetNumConformers() == alanine.mol.GetNumConformers() == 0
    assert alanine.to_rdkit(frames[0]).GetNumConformers() == 1


def relisted(graph, seed):
    """The same molecule in the same atom order, its bonds listed in another order and written the other way round."""
    rng = np.random.default_rng(seed)
    lines = Chem.MolToMolBlock(graph.to_rdkit(np.zeros((len(graph), 3))), forceV3000=True).split("\n")
    begin, end = lines.index("M  V30 BEGIN BOND") + 1, lines.index("M  V30 END BOND")
    bonds = [line.split()[3:6] for line in lines[begin:end]]
    mol = Chem.RWMol(graph.mol)
    for a, b in graph.bonds.tolist():
        mol.RemoveBond(a, b)
    types = {(int(a) - 1, int(b) - 1): graph.mol.GetBondBetweenAtoms(int(a) - 1, int(b) - 1).GetBondType() for _, a, b in bonds}
    for a, b in rng.permutation(list(types)).tolist():
        turned = types[a, b] != Chem.BondType.DATIVE and rng.random() < 0.5
        mol.AddBond(*((b, a) if turned else (a, b)), types[a, b])
    return mol


@pytest.mark.parametrize(
    "smiles", ["CC(N)C(=O)O", "c1ccc2ccccc2c1", "[NH3]->[Pt](Cl)(Cl)<-[NH3]", "C[N+](=O)[O-]", "C1=CC=CC=CC=C1", "[2H]CO"]
)
def test_the_order_in_which_bonds_are_listed_does_not_count(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    for seed in range(5):
        assert MolecularGraph.from_rdkit(relisted(graph, seed), "other").same_as(graph)


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[S@](=O)c1ccccc1", "F/C(Cl)=C(\\Br)I", "C/C=C/C=C\\C", "C[C@H]1CC[C@@H](O)CC1"])
def test_the_hand_does_not_depend_on_the_order_of_bonds(smiles):
    """Perceived from coordinates of a molecule whose bonds are listed otherwise."""
    graph = MolecularGraph.from_smiles(smiles)
    frame = embed_etkdg(graph, 1, 0).positions[0]
    for seed in range(5):
        mol = relisted(graph, seed)
        Chem.RemoveStereochemistry(mol)
        mol.AddConformer(graph.to_rdkit(frame).GetConformer())
        found = MolecularGraph.from_rdkit(mol)
        assert found.same_as(graph)
        mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * [-1.0, 1.0, 1.0])
        mirrored = MolecularGraph.from_rdkit(mol)
        assert mirrored.same_as(graph) == (not len(graph.stereocentres))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CC", "CC"),
        ("[13CH3]CO", "CCO"),
        ("C[N+](=O)[O-]", "C[N+]([O-])=O"),
        ("C[C@H](N)O", "C[C@@H](N)O"),
        ("C[C@H](N)O", "CC(N)O"),
        ("F/C=C/Cl", "F/C=C\\Cl"),
        ("F/C=C/Cl", "FC=CCl"),
        ("CC(O)C", "CCC=O"),
        ("C[C@H](O)CC(O)C", "CC(O)C[C@@H](O)C"),
    ],
)
def test_same_as_is_of_the_molecule_and_its_order(one, other):
    first, second = MolecularGraph.from_smiles(one, "a"), MolecularGraph.from_smiles(other, "b")
    assert first.same_as(second) == second.same_as(first) == (one == other)


def test_carries_no_properties_of_its_source():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    mol.SetProp("energy", "3")
    mol.SetProp("_Name", "ethanol")
    graph = MolecularGraph.from_rdkit(mol)
    assert list(graph.mol.GetPropNames()) == [] and graph.name == "ethanol" and mol.HasProp("energy")


@pytest.mark.parametrize("smiles", ["C\u0391", "CC\u200b", "C\u2013C", "C\xff name"])
def test_what_only_looks_like_a_smiles_is_refused(smiles):
    with pytest.raises(MoleculeError, match="which is part of no SMILES; type it in plain ASCII"):
        MolecularGraph.from_smiles(smiles)
    assert MolecularGraph.from_smiles("CC Äthan").smiles == "CC"


def test_positions_of_another_number_of_atoms_are_not_made_conformers():
    """Two conformations of half the atoms hold as many numbers as one of all."""
    graph = MolecularGraph.from_smiles("CO")
    with pytest.raises(ValueError, match="in its atom order"):
        graph.to_rdkit(np.zeros((2, len(graph) // 2, 3)))
