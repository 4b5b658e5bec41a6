import numpy as np
import pytest
from rdkit.Chem import rdForceFieldHelpers

from openmm_confgf.energies.mmff import MMFFEnergy
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def conformations(alanine):
    return embed_etkdg(alanine, 4, 1).positions


@pytest.fixture(scope="module")
def boronic():
    return MolecularGraph.from_smiles("CB(O)O")


def kcal_from_rdkit(graph, positions, forcefield):
    """Energies of RDKit's own lines, in kcal/mol."""
    mol = graph.to_rdkit(positions)
    with_ids = [c.GetId() for c in mol.GetConformers()]
    if forcefield == "UFF":
        return [rdForceFieldHelpers.UFFGetMoleculeForceField(mol, confId=i).CalcEnergy() for i in with_ids]
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    return [rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, confId=i).CalcEnergy() for i in with_ids]


def test_energies_are_rdkits_in_kj_per_mol(alanine, conformations):
    energy = MMFFEnergy(alanine)
    found = energy.evaluate(conformations)
    assert energy.forcefield == "MMFF94s" and found.ok.all()
    np.testing.assert_allclose(found.energy, np.multiply(kcal_from_rdkit(alanine, conformations, "MMFF94s"), 4.184), rtol=1e-12)


def test_the_s_of_mmff94s_is_not_left_out():
    # the two differ in nitrogens that are conjugated: MMFF94s makes them planar
    aniline = MolecularGraph.from_smiles("Nc1ccccc1")
    positions = embed_etkdg(aniline, 1, 0).positions
    mol = aniline.to_rdkit(positions)
    plain = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)).CalcEnergy()
    assert abs(MMFFEnergy(aniline).evaluate(positions).energy[0] - 4.184 * plain) > 0.1


def test_uff_stands_in_only_where_it_is_asked_for(alanine, boronic):
    positions = embed_etkdg(boronic, 2, 0).positions
    energy = MMFFEnergy(boronic, or_uff=True)
    found = energy.evaluate(positions, forces=True)
    assert energy.forcefield == "UFF" and MMFFEnergy(alanine, or_uff=True).forcefield == "MMFF94s"
    np.testing.assert_allclose(found.energy, np.multiply(kcal_from_rdkit(boronic, positions, "UFF"), 4.184), rtol=1e-12)
    with pytest.raises(ForceFieldError, match="MMFF94s has no parameters for 'CB.*take mmff"):
        MMFFEnergy(boronic)
    with pytest.raises(ForceFieldError, match=r"Neither MMFF94s nor UFF .*take openff-2\.2\.1 or gfn2"):
        MMFFEnergy(MolecularGraph.from_smiles("FS(F)(F)(F)(F)F"), or_uff=True)


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "CB(O)O"])
def test_minima_have_no_force_and_the_energy_that_is_told(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    positions, energy = embed_etkdg(graph, 3, 2).positions, MMFFEnergy(graph, or_uff=True)
    relaxed = energy.minimize(positions)
    assert (relaxed.status == Status.OK).all()
    before, after = energy.evaluate(positions, forces=True), energy.evaluate(relaxed.positions, forces=True)
    np.testing.assert_allclose(relaxed.energy, after.energy, rtol=0, atol=1e-8)
    assert (after.energy < before.energy - 1).all() and 100 * abs(after.forces).max() < abs(before.forces).max()


def test_bad_conformations_are_told_and_never_affect_the_minima_of_others(alanine, conformations):
    clean = MMFFEnergy(alanine).minimize(conformations)
    bad = np.concatenate([conformations[:1], conformations])
    for spoil in (np.nan, np.inf, 1e5, 20.0):  # 20 nm is far, but nothing that has no energy
        bad[0, 0, 0] = spoil
        relaxed = MMFFEnergy(alanine).minimize(bad)
        np.testing.assert_array_equal(relaxed.positions[1:], clean.positions)
        np.testing.assert_array_equal(relaxed.energy[1:], clean.energy)
        if spoil != 20.0:
            assert relaxed.status[0] == Status.NON_FINITE and np.isposinf(relaxed.energy[0])
            np.testing.assert_array_equal(relaxed.positions[0], bad[0])
    nothing = MMFFEnergy(alanine).minimize(bad[:0])
    assert nothing.positions.shape == (0, 13, 3) and nothing.status.dtype == np.int8


def test_all_atoms_in_one_place_have_no_energy(alanine, conformations):
    collapsed = conformations.copy()
    collapsed[1] = 0.1
    found = MMFFEnergy(alanine).evaluate(collapsed, forces=True)
    assert found.status.tolist() == [0, Status.NON_FINITE, 0, 0] and np.isposinf(found.energy[1]) and np.isnan(found.forces[1]).all()
    assert MMFFEnergy(alanine).minimize(collapsed).status[0] == Status.OK


def test_the_wrong_number_of_atoms(alanine, conformations):
    for call in (MMFFEnergy(alanine).evaluate, MMFFEnergy(alanine).minimize):
        with pytest.raises(ValueError, match="12 atoms, but 'alanine' has 13 atoms; give .B, 13, 3."):
            call(conformations[:, 1:])
