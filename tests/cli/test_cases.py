"""Inputs of ../shared/cases as somebody would hand them in on the command line; tests/test_cases_pdb.py has what is below it."""

import json
import re
from itertools import pairwise

import numpy as np
import openmm
import pytest
from rdkit import Chem

from openmm_confgf.files import read_ensembles
from openmm_confgf.molecules.graph import MolecularGraph


def generated(run, source, output, *options):
    outcome = run("generate", source, "-n", 2, *options, "-o", output)
    mols = list(Chem.SDMolSupplier(str(output), removeHs=False)) if output.exists() else []
    return outcome, mols


@pytest.mark.parametrize(
    ("name", "smiles", "atoms"),
    [
        ("A_dup_names_water.pdb", ["O"], 3),
        ("A_dup_names_aspirin.pdb", ["CC(=O)Oc1ccccc1C(=O)O"], 21),
        ("C_benzyl_azide.pdb", ["[N-]=[N+]=NCc1ccccc1"], 17),
        ("C_sulfadiazine_anion.pdb", ["Nc1ccc(S(=O)(=O)[N-]c2ncccn2)cc1"], 26),
        ("D_cot_bond_shift.sdf", ["C1=CC=CC=CC=C1"] * 2, 16),
        ("E_p_diastereomers.sdf", ["C[C@@H]1CCC[P@]1C", "C[C@@H]1CCC[P@@]1C"], 20),
        ("G_ethanol_d5.mol", ["[2H]C([2H])([2H])C([2H])([2H])O"], 9),
        ("H_charmm_HSE.pdb", ["C[C@H](NC(=O)C[NH3+])C(=O)N[C@@H](Cc1c[nH]cn1)C(=O)N[C@@H](C)C(=O)NCC(=O)[O-]"], 54),
        ("I_2d_no_hydrogens.sdf", ["CC(C)Cc1ccc([C@H](C)C(=O)O)cc1"], 33),
    ],
)
def test_files_that_are_read(run, shared_cases, tmp_path, name, smiles, atoms):
    outcome, mols = generated(run, shared_cases / name, tmp_path / "out.sdf", "--generator", "etkdg")
    assert outcome.code == 0, outcome.err
    assert {mol.GetNumAtoms() for mol in mols} == {atoms}
    ensembles = read_ensembles(tmp_path / "out.sdf")
    assert [e.graph.smiles for e in ensembles] == [MolecularGraph.from_smiles(one).smiles for one in smiles]
    assert all(len(e) == 2 and e.ok.all() for e in ensembles) and not any(a.graph.same_as(b.graph) for a, b in pairwise(ensembles))
    added = "explicit hydrogens were added, since the file has not all of them"
    assert outcome.err.count(added) == name.startswith("I_")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("B_no_hydrogens_benzene.pdb", r"has no hydrogens, and its bond orders cannot be told .*; add them"),
        ("B_no_hydrogens_glycine.pdb", r"has no hydrogens, and its bond orders cannot be told .*; add them"),
        ("F_atropisomer_cxsmiles.smi", r"is a specified chiral axis, .*; leave it open"),
    ],
)
def test_files_that_are_refused(run, shared_cases, tmp_path, name, said):
    outcome, mols = generated(run, shared_cases / name, tmp_path / "out.sdf", "--generator", "etkdg")
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and not mols
    assert re.search(said, outcome.err)


@pytest.mark.parametrize(
    ("name", "energies", "within"),
    [
        ("C_benzyl_azide.mol", [53.76], 0.005),
        ("C_benzyl_azide.pdb", [53.76], 0.2),  # the columns of a PDB end at 0.001 A
        ("C_sulfadiazine_anion.mol", [-1272.43], 0.005),
        ("C_sulfadiazine_anion.pdb", [-1272.43], 0.2),
        ("D_cot_bond_shift.sdf", [186.59, 186.59], 0.005),
    ],
)
def test_energies(run, shared_cases, tmp_path, name, energies, within):
    outcome = run("score", shared_cases / name, "--platform", "Reference", "-o", tmp_path / "out.sdf", "--json")
    found = [molecule["energy_kj_per_mol"][0] for molecule in outcome.json["molecules"]]
    np.testing.assert_allclose(found, energies, atol=within)


def test_deuterium_of_a_seed(run, shared_cases, tmp_path, toy_level):
    outcome = run("seed", shared_cases / "G_ethanol_d5.mol", "--forcefield", toy_level, "--count", 1, "--run-ps", 0, "-o", tmp_path / "s")
    assert outcome.code == 0, outcome.err
    system = openmm.XmlSerializer.deserialize((tmp_path / "s" / "seed-00-system.xml").read_text())
    masses = sorted(system.getParticleMass(k)._value for k in range(9))
    assert np.round(masses, 3).tolist() == [1.0, *[2.014] * 5, 12.0, 12.0, 16.0]
    pdb = (tmp_path / "s" / "seed-00.pdb").read_text().splitlines()
    assert sum(line[76:78] == " D" for line in pdb if line.startswith(("ATOM", "HETATM"))) == 5


@pytest.mark.parametrize(("smiles", "said"), [("CC=[C@]=CC", "allene stereo"), ("C/C=C=C=C/C", "cumulated double bonds of atoms 1 to 4")])
def test_stereo_that_nothing_checks_is_refused(run, tmp_path, smiles, said):
    outcome, mols = generated(run, smiles, tmp_path / "out.sdf")
    assert outcome.code == 2 and said in outcome.err and outcome.err.endswith("leave it open.\n") and not mols


def test_what_is_written_of_a_metal_is_read_back(run, tmp_path):
    smiles = "[NH3]->[Pt](Cl)(Cl)<-[NH3]"
    first, _ = generated(run, smiles, tmp_path / "pt.sdf", "--generator", "etkdg")
    again, mols = generated(run, tmp_path / "pt.sdf", tmp_path / "again.sdf", "--generator", "etkdg")
    assert first.code == again.code == 0 and len(mols) == 2
    (written,), made = read_ensembles(tmp_path / "pt.sdf"), read_ensembles(tmp_path / "again.sdf")
    assert written.graph.same_as(made[0].graph) and written.graph.smiles == MolecularGraph.from_smiles(smiles).smiles


SLOW = ["etkdg", pytest.param("confgf", marks=pytest.mark.slow)]


@pytest.mark.parametrize("generator", SLOW)
def test_a_strained_alkyne_has_its_length_or_is_not_ok(run, tmp_path, generator):
    smiles = "NCCC(=O)N1Cc2ccccc2C#Cc2ccccc21"
    outcome, mols = generated(run, smiles, tmp_path / "out.sdf", "--generator", generator)
    triple = Chem.MolFromSmarts("C#C")
    for mol in mols:
        length = np.linalg.norm(np.subtract(*mol.GetConformer().GetPositions()[list(mol.GetSubstructMatch(triple))]))
        assert length == pytest.approx(1.21, abs=0.03)
    assert mols or (outcome.code == 1 and "is usable" in outcome.err)


@pytest.mark.parametrize("generator", SLOW)
def test_six_neighbours_of_sulfur_are_an_octahedron_or_not_ok(run, tmp_path, generator):
    outcome, mols = generated(run, "Nc1ccc(cc1)S(F)(F)(F)(F)F", tmp_path / "out.sdf", "--generator", generator)
    for mol in mols:
        xyz = mol.GetConformer().GetPositions()
        (sulfur,) = (atom for atom in mol.GetAtoms() if atom.GetSymbol() == "S")
        bonds = np.array([xyz[n.GetIdx()] - xyz[sulfur.GetIdx()] for n in sulfur.GetNeighbors()])
        bonds /= np.linalg.norm(bonds, axis=1, keepdims=True)
        angles = np.sort(np.degrees(np.arccos(np.clip((bonds @ bonds.T)[np.triu_indices(6, 1)], -1, 1))))
        assert np.all(np.abs(angles[:12] - 90) < 15) and np.all(angles[12:] > 160)
    assert mols or (outcome.code == 1 and "is usable" in outcome.err)


@pytest.mark.parametrize("generator", ["etkdg", "confgf"])
def test_atoms_across_a_ring_of_large_atoms_do_not_clash(run, tmp_path, generator):
    arguments = ("generate", "C[Si]1(C)O[Si](C)(C)O1", "-n", 2, "--generator", generator, "-o", tmp_path / "out.sdf", "--json")
    (molecule,) = run(*arguments).json["molecules"]
    assert molecule["status"] == {"OK": 2}, json.dumps(molecule)
