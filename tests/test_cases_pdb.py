"""Inputs of ../shared/cases that people met elsewhere: what is right was found independently of this package."""

import numpy as np
import pytest
from openmm import Context, Platform, VerletIntegrator
from rdkit import Chem

from openmm_confgf.energies.systems.forcefields import SystemBuilder
from openmm_confgf.errors import MoleculeError
from openmm_confgf.files.ensembles import read_ensembles, write_ensembles
from openmm_confgf.files.pdb import read_pdb
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.molecules.graph import MolecularGraph


def potential_energy(system, positions):
    context = Context(system, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy()._value


@pytest.mark.parametrize(("name", "smiles", "n_atoms"), [("water", "O", 3), ("aspirin", "CC(=O)Oc1ccccc1C(=O)O", 21)])
def test_atoms_that_share_a_name_are_all_read(shared_cases, name, smiles, n_atoms):
    graph, frames = read_pdb(shared_cases / f"A_dup_names_{name}.pdb")
    assert graph.smiles == smiles
    assert frames.shape == (1, n_atoms, 3)
    lines = (shared_cases / f"A_dup_names_{name}.pdb").read_text().splitlines()
    records = [line for line in lines if line.startswith("HETATM")]
    assert [atom.GetSymbol() for atom in graph.mol.GetAtoms()] == [line[76:78].strip() for line in records]
    np.testing.assert_allclose(10 * frames[0], [[float(line[k : k + 8]) for k in (30, 38, 46)] for line in records], atol=1e-9)


@pytest.mark.parametrize("name", ["benzene", "glycine"])
def test_ligands_without_hydrogens_are_refused(shared_cases, name):
    with pytest.raises(MoleculeError, match=r"no hydrogens.*add them \(Chem.AddHs.*SDF"):
        read_pdb(shared_cases / f"B_no_hydrogens_{name}.pdb")


@pytest.mark.parametrize(("name", "energy"), [("benzyl_azide", 53.76), ("sulfadiazine_anion", -1272.43)])
def test_charges_of_a_pdb_make_the_molecule_and_its_energy(shared_cases, name, energy):
    graph, frames = read_pdb(shared_cases / f"C_{name}.pdb")
    (truth,) = read_ensembles(shared_cases / f"C_{name}.mol")
    assert graph.same_as(truth.graph)
    builder = SystemBuilder()
    system, true_system = builder.build(graph), builder.build(truth.graph)
    # 0.001 A of a PDB's coordinates are worth 0.1 kJ/mol here
    assert potential_energy(system, truth.positions[0]) == pytest.approx(energy, abs=0.02)
    assert potential_energy(system, frames[0]) == pytest.approx(potential_energy(true_system, frames[0]), abs=1e-6)
    assert potential_energy(system, frames[0]) == pytest.approx(energy, abs=0.2)


@pytest.mark.parametrize("suffix", ["sdf", "pdb", "h5"])
def test_phosphine_diastereomers_are_two_molecules(shared_cases, tmp_path, suffix):
    ensembles = read_ensembles(shared_cases / "E_p_diastereomers.sdf")
    assert [e.graph.smiles for e in ensembles] == ["C[C@@H]1CCC[P@]1C", "C[C@@H]1CCC[P@@]1C"]
    assert [len(e) for e in ensembles] == [1, 1] and all(e.ok.all() for e in ensembles)
    again = [e for path in write_ensembles(ensembles, tmp_path / f"out.{suffix}") for e in read_ensembles(path)]
    assert [e.graph.smiles for e in again] == [e.graph.smiles for e in ensembles]


@pytest.mark.parametrize("suffix", ["sdf", "pdb", "h5"])
def test_deuterium_stays_and_has_its_mass(shared_cases, tmp_path, suffix):
    ensembles = read_ensembles(shared_cases / "G_ethanol_d5.mol")
    (path,) = write_ensembles(ensembles, tmp_path / f"out.{suffix}")
    (again,) = read_ensembles(path)
    assert again.graph.same_as(ensembles[0].graph) and again.graph.smiles == "[2H]C([2H])([2H])C([2H])([2H])O"
    if suffix == "pdb":
        assert sum(line[76:78] == " D" for line in path.read_text().splitlines() if line.startswith("HETATM")) == 5


def test_isotopes_have_their_masses_in_systems_and_topologies(shared_cases, tmp_path):
    (ensemble,) = read_ensembles(shared_cases / "G_ethanol_d5.mol")
    plain = MolecularGraph.from_smiles("CCO")
    heavy = MolecularGraph.from_smiles("[13CH3]CO")
    builder = SystemBuilder(cache=tmp_path / "systems.h5")
    d5, c13, natural = (builder.build(graph) for graph in (ensemble.graph, heavy, plain))
    masses = [d5.getParticleMass(i)._value for i in range(9)]
    assert np.round(masses, 3).tolist() == [2.014, 12.011, 2.014, 2.014, 12.011, 2.014, 2.014, 15.999, 1.008]
    assert c13.getParticleMass(0)._value == pytest.approx(13.00335, abs=1e-4)
    assert natural.getParticleMass(0)._value == pytest.approx(12.011, abs=1e-3)
    assert builder.build(ensemble.graph).getParticleMass(0)._value == masses[0]  # from the cache
    assert sum(atom.element.symbol == "D" for atom in ensemble.graph.to_topology().atoms()) == 5


def test_residues_of_charmm_are_known(shared_cases):
    graph, _ = read_pdb(shared_cases / "H_charmm_HSE.pdb")
    expected = Chem.MolFromSequence("GAHAG")
    assert Chem.MolToSmiles(uncharged(graph)) == Chem.MolToSmiles(expected)
    histidine = graph.mol.GetSubstructMatch(Chem.MolFromSmarts("c1([CH2])c[nH]cn1"))
    assert histidine and graph.total_charge == 0  # HSE: the hydrogen is on NE2, beside CD2


def test_a_dna_tetramer_is_read(shared_cases):
    graph, frames = read_pdb(shared_cases / "H_dna_ATGC.pdb")
    assert graph.total_charge == -3 and frames.shape == (1, 126, 3)
    assert (graph.numbers == 1).sum() == 126 - len(graph.heavy_atoms)
    assert Chem.MolToSmiles(uncharged(graph)) == Chem.MolToSmiles(Chem.MolFromSequence("ATGC", flavor=6))


def uncharged(graph):
    """The neutral form, whose SMILES RDKit builds from a sequence."""
    mol = Chem.RWMol(Chem.RemoveHs(graph.mol))
    for atom in mol.GetAtoms():
        hydrogens = atom.GetTotalNumHs() - atom.GetFormalCharge()
        atom.SetFormalCharge(0)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(max(hydrogens, 0))
    Chem.SanitizeMol(mol)
    return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def test_coordinates_of_a_metal_specify_nothing(tmp_path):
    graph = MolecularGraph.from_smiles("[NH3]->[Pt](Cl)(Cl)<-[NH3]")
    ensemble = ETKDGGenerator().sample(graph, 2, seed=1)
    (path,) = write_ensembles([ensemble], tmp_path / "out.sdf")
    (again,) = read_ensembles(path)
    assert again.graph.same_as(graph) and len(again) == int(ensemble.ok.sum()) > 0


def test_deuterium_is_typed_as_hydrogen_by_xml_force_fields(toy_level):
    """Templates of residues are found by their elements, of which D is none."""
    builder = SystemBuilder(toy_level)
    masses = [
        [s.getParticleMass(i)._value for i in range(6)] for s in map(builder.build, map(MolecularGraph.from_smiles, ("CO", "[2H]OC")))
    ]
    assert masses[0] == [12, 16, 1, 1, 1, 1]
    assert sorted(np.round(masses[1], 3).tolist()) == [1, 1, 1, 2.014, 12, 16]
