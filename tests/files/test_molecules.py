import pytest
from rdkit import Chem

from openmm_confgf.errors import FileFormatError, MoleculeError
from openmm_confgf.files import MoleculeEntry, read_ensembles, read_molecules


def test_smi_file(tmp_path):
    path = tmp_path / "list.smi"
    lines = ["\ufeffSMILES\tName", "# a comment", "", "CCO ethanol, absolute", "CC(\tbroken\r", "C#N", "  CCN   amine ", "CCO.CCO", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    entries = read_molecules(str(path))
    assert [e.name for e in entries] == ["ethanol, absolute", "broken", "C#N", "amine", "CCO.CCO"]
    assert [e.graph.smiles if e.graph else None for e in entries] == ["CCO", None, "C#N", "CCN", None]
    assert "cannot be parsed" in str(entries[1].error) and "2 fragments" in str(entries[4].error)
    assert isinstance(entries[1].error, MoleculeError)


def test_a_word_that_is_a_smiles_is_no_header(tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("CO methanol\nsmiles not a header any more\n")
    assert [e.graph is None for e in read_molecules(path)] == [False, True]


@pytest.mark.parametrize("smiles", ["CCO", "C/C=C/C", "C\\C=C\\C", "[NH3+]CC(=O)[O-]", "C" * 400])
def test_a_smiles_is_one_molecule(smiles):
    (entry,) = read_molecules(smiles)
    assert isinstance(entry, MoleculeEntry)
    assert entry.graph.smiles == Chem.CanonSmiles(smiles)
    assert entry.name == smiles and entry.error is None


def test_a_bad_smiles_is_an_entry():
    for smiles in ("CC(", "CCO.[Na+].[Cl-]", "C.Cl", ""):
        (entry,) = read_molecules(smiles)
        assert entry.graph is None and isinstance(entry.error, MoleculeError)


@pytest.mark.parametrize("name", ["missing.sdf", "missing.SMI", "no/such/folder/x.pdb", "missing.h5", "missing.csv", "no.sdf.gz"])
def test_missing_files_are_no_smiles(name):
    with pytest.raises(FileFormatError, match="No such file"):
        read_molecules(name)


@pytest.mark.parametrize("name", ["ligand.mol2", "list.xlsx", "coordinates.xyz"])
def test_names_of_unknown_files_are_no_smiles(name, tmp_path, monkeypatch):
    with pytest.raises(FileFormatError, match="neither a file of a known format"):
        read_molecules(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("CCO")
    for read in (read_molecules, read_ensembles):
        with pytest.raises(FileFormatError, match="no suffix that can be read here; give one of"):
            read(name)
