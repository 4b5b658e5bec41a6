import pytest

from openmm_confgf.energies import create_system
from openmm_confgf.errors import MoleculeError
from openmm_confgf.molecules.peptides import peptide


def test_capped_residues_are_the_molecule_of_their_smiles():
    graph = peptide(["ACE", "ALA", "NME"])
    assert graph.smiles == "CNC(=O)[C@H](C)NC(C)=O" and len(graph) == 22 and graph.name == "ACE-ALA-NME"
    names = [atom.name for atom in graph.to_topology().atoms()]
    assert {"CH3", "CA", "CB", "HB3"} <= set(names)


@pytest.mark.parametrize(("sequence", "n_atoms", "charge"), [("GYDPETGTWG", 138, -2), ("NLYIQWLKDGGPSSGRPPPS", 304, 1)])
def test_a_sequence_has_charged_ends_and_amber_knows_its_atoms(sequence, n_atoms, charge):
    graph = peptide(sequence)
    assert len(graph) == n_atoms and graph.total_charge == charge and graph.name == sequence
    assert create_system(graph, "amber14-all.xml").getNumParticles() == n_atoms


@pytest.mark.parametrize("residues", ["", "AXA", ["ACE", "XYZ"], ["ALA", "ACE", "ACE"], ["ALA"]])
def test_what_is_no_peptide_is_refused(residues):
    with pytest.raises(MoleculeError):
        peptide(residues)
