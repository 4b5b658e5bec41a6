import numpy as np
import pytest
from openmm import app, unit
from rdkit import Chem

from openmm_confgf.errors import FileFormatError, MoleculeError
from openmm_confgf.files import read_ensembles, read_molecules, write_ensembles


def test_pdb_gives_the_usable_samples_back(ensembles, tmp_path):
    paths = write_ensembles(ensembles, tmp_path / "out.pdb")
    for path, wanted in zip(paths, ensembles, strict=True):
        assert len(app.PDBFile(str(path)).positions) == len(wanted.graph)
        (found,) = read_ensembles(path)
        assert found.graph.numbers.tolist() == wanted.graph.numbers.tolist()
        assert sorted(found.graph.bonds.tolist()) == sorted(wanted.graph.bonds.tolist())
        assert len(found.graph.stereocentres) == len(wanted.graph.stereocentres)
        np.testing.assert_allclose(found.positions, wanted.positions[wanted.ok], atol=0.51e-4)
        assert found.ok.all() and found.energy is None


def test_peptide_pdb(shared_data, same_molecule):
    (ensemble,) = read_ensembles(shared_data / "ala2_md" / "ala2.pdb")
    assert ensemble.graph.smiles == Chem.CanonSmiles("CC(=O)N[C@@H](C)C(=O)NC")
    assert ensemble.graph.name == "ala2"
    assert ensemble.ok.all()
    (entry,) = read_molecules(shared_data / "ala2_md" / "ala2.pdb")
    assert same_molecule(entry.graph, ensemble.graph)


def test_pdb_whose_models_differ(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.pdb")
    lines = path.read_text().splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines) if line.startswith("HETATM"))
    path.write_text("".join(lines[:last]))
    for read in (read_ensembles, read_molecules):
        with pytest.raises(FileFormatError, match="has 13 atoms, and its MODEL 6 has 12;"):
            read(path)


def test_pdb_without_hydrogens_is_an_entry(tmp_path):
    path = tmp_path / "heavy.pdb"
    Chem.MolToPDBFile(Chem.MolFromSequence("AG"), str(path))
    (entry,) = read_molecules(path)
    assert entry.graph is None and isinstance(entry.error, MoleculeError)
    with pytest.raises(MoleculeError):
        read_ensembles(path)


def test_pdb_coordinates_are_those_of_openmm(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.pdb")
    content = app.PDBFile(str(path))
    assert content.getNumFrames() == 6
    second = content.getPositions(asNumpy=True, frame=1).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(second, alanine_ensemble.positions[1], atol=0.51e-4)
    assert [a.element.atomic_number for a in content.topology.atoms()] == alanine_ensemble.graph.numbers.tolist()
