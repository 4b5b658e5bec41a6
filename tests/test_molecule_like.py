from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit
from rdkit import Chem

from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import ConfGFError, MoleculeError, WrongTypeError
from openmm_confgf.generators import ETKDGGenerator, generate
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecule_like import as_graph, check_ensemble
from openmm_confgf.molecules.graph import MolecularGraph

ALANINE = "C[C@H](N)C(=O)O"


def pdb_of(graph, path):
    frame = embed_etkdg(graph, 1, 0).positions[0]
    with path.open("w") as stream:
        app.PDBFile.writeFile(graph.to_topology(), frame * unit.nanometer, stream)
    return app.PDBFile(str(path))


def test_everything_that_holds_a_molecule_gives_it(alanine, tmp_path):
    pdb = pdb_of(alanine, tmp_path / "a.pdb")
    with_hydrogens = Chem.AddHs(Chem.MolFromSmiles(ALANINE))
    for given in (
        ALANINE,
        np.str_(ALANINE),
        Chem.MolFromSmiles(ALANINE),
        with_hydrogens,
        Chem.RWMol(with_hydrogens),
        alanine.to_openff(),
        pdb,
        app.Modeller(pdb.topology, pdb.positions),
        alanine,
    ):
        graph = as_graph(given)
        assert graph.smiles == alanine.smiles and len(graph) == 13, type(given)
        assert as_graph(given, "mine").name == "mine"
    # a Topology tells bond orders and no stereo
    assert as_graph(alanine.to_topology()).constitution == alanine.constitution
    assert as_graph(alanine) is alanine


def test_hydrogens_are_added_after_the_atoms_of_an_rdkit_molecule(alanine):
    plain = Chem.MolFromSmiles(ALANINE)
    np.testing.assert_array_equal(as_graph(plain).numbers[:6], [a.GetAtomicNum() for a in plain.GetAtoms()])
    np.testing.assert_array_equal(as_graph(plain).bonds, alanine.bonds)
    partly = Chem.AddHs(plain, onlyOnAtoms=[0])
    assert len(as_graph(partly)) == 13
    assert plain.GetNumAtoms() == 6  # the caller's is not changed


def test_stereo_of_an_rdkit_molecule_without_hydrogens_comes_from_its_conformer(alanine):
    mol = embed_etkdg(alanine, 1, 0).to_rdkit()
    heavy = Chem.RemoveHs(mol)
    for atom in heavy.GetAtoms():
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    assert as_graph(heavy).smiles == alanine.smiles


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (5, "an int is not taken for a molecule; give a SMILES"),
        (3.0, "a float is not"),
        (b"CCO", "a bytes is not"),
        (object(), "an object is not"),
        (MolecularGraph, "the class openmm_confgf MolecularGraph is not"),
        ({"smiles": "CCO"}, "a dict is not"),
        (Path("a.sdf"), "is not taken for a molecule"),
    ],
)
def test_wrong_types_are_one_sentence(wrong, message):
    for call in (as_graph, lambda x: generate(x, 1, generator="etkdg"), lambda x: ETKDGGenerator().sample(x, 1)):
        with pytest.raises(WrongTypeError, match=message) as caught:
            call(wrong)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, ConfGFError) and str(caught.value).count("\n") == 0


def test_what_is_an_openff_topology_is_said(alanine):
    with pytest.raises(WrongTypeError, match="an openff Topology is not"):
        as_graph(alanine.to_openff().to_topology())


def test_an_ensemble_is_no_molecule_and_says_what_is(alanine_ensemble):
    with pytest.raises(WrongTypeError, match="Ensemble is not taken for a molecule; give its graph"):
        generate(alanine_ensemble)


def test_what_is_no_complete_molecule(tmp_path):
    (tmp_path / "in.sdf").write_text("")
    for wrong, message in (
        (None, "RDKit returns where it cannot read"),
        ("", "empty"),
        ("C1CC", "cannot be parsed"),
        (str(tmp_path / "in.sdf"), "is a file and not a SMILES"),
        (Chem.MolFromSmarts("[#6][#8]"), "is a query"),
        (Chem.MolFromSmiles("CC.O"), "2 fragments"),
        (Chem.MolFromSmiles("C[CH2]"), "radical"),
        (Chem.MolFromSmiles("CN(C)(C)C", sanitize=False), "cannot be used"),
        (Chem.Mol(), "no atoms"),
    ):
        with pytest.raises(MoleculeError, match=message):
            as_graph(wrong)


def test_a_list_gives_a_list_in_which_one_bad_molecule_costs_one(alanine):
    results = generate(["CCO", "C1CC", None, Chem.MolFromSmiles("CCN"), alanine], 2, generator="etkdg", seed=3)
    assert [type(result) for result in results] == [Ensemble, MoleculeError, MoleculeError, Ensemble, Ensemble]
    alone = generate("CCO", 2, generator="etkdg", seed=3)
    np.testing.assert_array_equal(results[0].positions, alone.positions)
    assert generate([], 2, generator="etkdg") == []
    assert len(generate((smiles for smiles in ("CCO", "CCN")), 1, generator="etkdg")) == 2
    with pytest.raises(WrongTypeError, match="an int is not"):
        generate(["CCO", 5], 2, generator="etkdg")
    with pytest.raises(WrongTypeError, match="5 is no generator"):
        generate("CCO", 2, generator=5)


def test_what_is_no_ensemble(alanine):
    with pytest.raises(WrongTypeError, match="score takes an Ensemble, not an openmm_confgf MolecularGraph; generate, read_ensembles"):
        check_ensemble(alanine, "score")
