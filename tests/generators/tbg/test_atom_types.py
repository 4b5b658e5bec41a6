import itertools

import numpy as np
import pytest
from openmm import app
from rdkit import Chem

from openmm_confgf.errors import ConfGFError, UnsupportedMoleculeError
from openmm_confgf.generators.tbg.atom_types import ATOM_NAMES, ATOMS, VARIANTS, atom_types, feature_width
from openmm_confgf.molecules import peptides
from openmm_confgf.molecules.equivalence import ranks_without_resonance
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import THREE_LETTERS, peptide


@pytest.fixture(scope="module")
def forcefield():
    return app.ForceField("amber14-all.xml")


@pytest.fixture(scope="module")
def dipeptides(forcefield):
    """All 400, of a force field that is read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peptides.app, "ForceField", lambda *_: forcefield)
        return [peptide(a + b) for a, b in itertools.product(THREE_LETTERS, repeat=2)]


@pytest.fixture(scope="module")
def capped():
    return peptide(["ACE", "ALA", "NME"])


def name(graph, k):
    return graph.mol.GetAtomWithIdx(int(k)).GetPDBResidueInfo().GetName().strip()


def groups(features):
    """Sets of atoms with equal rows."""
    rows = [row.tobytes() for row in features]
    return {frozenset(k for k, row in enumerate(rows) if row == one) for one in rows}


def named_groups(graph, features):
    return {frozenset(name(graph, k) for k in group) for group in groups(features)}


def test_the_names_are_those_of_amber_after_the_published_merge(forcefield):
    """Klein & Noe drop the last of 1, 2, 3 from hydrogens, but those at aromatic rings, and the number of OD and OE."""
    names = set()
    for residue, end in itertools.product(THREE_LETTERS.values(), "NC"):
        for atom in forcefield._templates[end + residue].atoms:
            at_ring = residue in ("HIE", "PHE", "TRP", "TYR") and atom.name[:2] in ("HD", "HE", "HZ", "HH")
            counted = (atom.name[0] == "H" and atom.name[-1] in "123" and not at_ring) or atom.name[:2] in ("OD", "OE")
            names.add(atom.name[:-1] if counted else atom.name)
    assert set(ATOM_NAMES) == names
    assert len(ATOM_NAMES) == 54 and len(ATOMS) == 20


def test_every_dipeptide_has_all_transferable_features(dipeptides):
    for graph in dipeptides:
        full = atom_types(graph, "tbg+full")
        assert full.shape == (len(graph), 76) and full.dtype == np.float32
        assert (full.sum(1) == 3).all()
        assert (full[:, :2].sum(1) == 1).all() and (full[:, 2:22].sum(1) == 1).all()
        assert (atom_types(graph, "tbg").sum(1) == 1).all()
        backbone = atom_types(graph, "tbg+backbone")
        assert backbone.shape == (len(graph), 13) and (backbone.sum(1) == 1).all()
        assert (backbone[:, 5:].sum(0) == 1).all()
    assert np.concatenate([atom_types(graph, "tbg+full") for graph in dipeptides]).any(0).all(), "a column that no atom has"


def test_dipeptides_share_a_row_where_the_atoms_are_alike_alone(dipeptides):
    """Hydrogens of one atom always; heavy atoms of carboxylates alone."""
    for graph in dipeptides:
        ranks = ranks_without_resonance(graph.mol)
        shared = groups(atom_types(graph, "tbg+full"))
        assert all(len({ranks[k] for k in group}) == 1 for group in shared), graph.name
        for atom in graph.mol.GetAtoms():
            hydrogens = {n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1}
            assert not hydrogens or hydrogens in shared, graph.name
        heavy = [group for group in shared if len(group) > 1 and graph.numbers[min(group)] > 1]
        assert all({name(graph, k) for k in group} in ({"OD1", "OD2"}, {"OE1", "OE2"}) for group in heavy), graph.name
        assert len(heavy) == sum(graph.name.count(residue) for residue in "DE")


@pytest.mark.parametrize(
    ("letter", "apart"),
    [
        ("V", {"CG1", "CG2"}),
        ("L", {"CD1", "CD2"}),
        ("R", {"NH1", "NH2"}),
        ("F", {"CD1", "CD2", "CE1", "CE2"}),
        ("Y", {"CD1", "CD2", "CE1", "CE2"}),
    ],
)
def test_what_the_published_merge_keeps_apart(letter, apart):
    """Atoms that are alike by bonds and still have names of their own; O and OXT in each."""
    graph = peptide("G" + letter)
    alike = [group for group in groups(np.array(ranks_without_resonance(graph.mol))) if graph.numbers[min(group)] > 1]
    assert {name(graph, k) for group in alike if len(group) > 1 for k in group} == apart | {"O", "OXT"}
    assert all(len(group) == 1 for group in groups(atom_types(graph, "tbg+full")) if graph.numbers[min(group)] > 1)


def test_the_backbone_of_a_dipeptide_has_eight_columns():
    graph = peptide("DA")
    features = atom_types(graph, "tbg+backbone")
    found = [[name(graph, k) for k in np.flatnonzero(column)] for column in features.T]
    assert found[5:] == [["N"], ["CA"], ["C"], ["O"]] * 2
    assert found[2:5] == [[], ["OD1", "OD2", "OXT"], []]
    assert found[1] == ["CB", "CG", "CB"]
    assert all(one.startswith("H") for one in found[0])


def test_alanine_dipeptide_has_the_published_nine_types(capped):
    """Elements, and C N CA C N: the oxygens share one, and no nitrogen is left for nitrogen's column."""
    features = atom_types(capped, "bg+backbone")
    residues = [atom.GetPDBResidueInfo().GetResidueName().strip() for atom in capped.mol.GetAtoms()]
    found = [[f"{residues[k]} {name(capped, k)}" for k in np.flatnonzero(column)] for column in features.T]
    assert len(found) == feature_width("bg+backbone", capped) == 9
    assert [len(one) for one in found] == [12, 3, 0, 2, 1, 1, 1, 1, 1]
    assert found[1] == ["ACE CH3", "ALA CB", "NME CH3"] and found[3] == ["ACE O", "ALA O"]
    assert found[4:] == [["ACE C"], ["ALA N"], ["ALA CA"], ["ALA C"], ["NME N"]]


def test_alanine_dipeptide_has_sixteen_classes(capped):
    assert feature_width("graph", capped) == 16
    shared = [group for group in named_groups(capped, atom_types(capped, "graph")) if len(group) > 1]
    assert sorted(map(sorted, shared)) == [["HB1", "HB2", "HB3"], ["HH31", "HH32", "HH33"]]


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O", "FC(F)(F)CBr", "C[C@H](F)[C@@H](C)F", "[H][H]"])
def test_any_molecule_has_classes_whatever_its_order_of_atoms(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    features = atom_types(graph, "graph")
    assert (features.sum(1) == 1).all() and (features.sum(0) > 0).all()
    order = np.random.default_rng(0).permutation(len(graph))
    other = atom_types(MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order.tolist())), "graph")
    assert groups(other) == {frozenset(int(np.flatnonzero(order == k)[0]) for k in group) for group in groups(features)}


def test_longer_peptides_have_residues_without_position():
    graph = peptide("AGS")
    positions = atom_types(graph, "tbg+full")[:, :2]
    numbers = [atom.GetPDBResidueInfo().GetResidueNumber() for atom in graph.mol.GetAtoms()]
    np.testing.assert_array_equal(positions, [{1: [1, 0], 2: [0, 0], 3: [0, 1]}[number] for number in numbers])


@pytest.mark.parametrize("residue", ["HID", "HIE", "HIP", "HIS"])
def test_all_histidines_are_one_residue(residue):
    if residue == "HIS":
        graph = peptide("GH")
        for atom in graph.mol.GetAtoms():
            info = atom.GetPDBResidueInfo()
            info.SetResidueName(info.GetResidueName().replace("HIE", "HIS"))
    else:
        graph = peptide(["NGLY", f"C{residue}"])
    column = atom_types(graph, "tbg+full")[:, 2 + list(ATOMS).index("HIS")]
    np.testing.assert_array_equal(column, [atom.GetPDBResidueInfo().GetResidueNumber() == 2 for atom in graph.mol.GetAtoms()])


def test_widths():
    """Glycylglycine has four elements and six atoms of the backbone; hydrogens of one atom and the oxygens of the end are alike."""
    assert [feature_width(variant, peptide("GG")) for variant in VARIANTS] == [5, 13, 76, 4 + 6, 12]


@pytest.mark.parametrize(
    ("molecule", "variant", "message"),
    [
        ("CCO", "tbg+full", 'has no names of residues and atoms.*`peptide`.*or choose "tbg" or "graph"'),
        ("CCO", "tbg+backbone", "has no names of residues"),
        ("CCO", "bg+backbone", 'has no backbone of a peptide; choose "graph"'),
        ("CCCl", "tbg", 'has Cl, and this variant knows H, C, N, O, S; choose "graph"'),
        (["ACE", "ALA", "NME"], "tbg+full", "the residue ACE, and this variant knows the twenty amino acids"),
        (["NALA", "CASP"], "tbg+backbones", "no variant 'tbg\\+backbones'.*choose one of tbg, tbg\\+backbone"),
        (["NALA", "GLY", "CSER"], "tbg+backbone", 'has 3 residues.*choose "tbg\\+full"'),
    ],
)
def test_refusals_name_the_cure(molecule, variant, message):
    graph = MolecularGraph.from_smiles(molecule) if isinstance(molecule, str) else peptide(molecule)
    with pytest.raises(ConfGFError, match=message) as caught:
        atom_types(graph, variant)
    assert isinstance(caught.value, UnsupportedMoleculeError) == (variant in VARIANTS)


@pytest.mark.parametrize(("old", "new"), [("CD1", "CD"), ("H", "HN"), ("OXT", "O2"), ("CB", "CB1")])
def test_names_of_other_programs_are_refused(old, new):
    """Isoleucine's CD of CHARMM is in the table, as another residue's."""
    graph = peptide("GI")
    for atom in graph.mol.GetAtoms():
        info = atom.GetPDBResidueInfo()
        if info.GetName().strip() == old:
            info.SetName(f" {new:<3}")
    with pytest.raises(UnsupportedMoleculeError, match=f"Atom {new} of ILE in 'GI' has a name that .* Amber's names"):
        atom_types(graph, "tbg+full")
