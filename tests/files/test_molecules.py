import gzip
import io
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from openmm_confgf.errors import ConfGFError, FileFormatError, MoleculeError
from openmm_confgf.files import MoleculeEntry, read_ensembles, read_molecules
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph


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


def test_names_in_other_encodings_cost_nothing(tmp_path):
    path = tmp_path / "list.smi"
    path.write_bytes("CCO Säure\n".encode("latin-1") + "CCN Äther\n".encode() + b"C\xff bad\r\n")
    entries = read_molecules(path)
    assert [e.name for e in entries] == ["Säure", "Äther", "bad"]
    assert [e.graph is None for e in entries] == [False, False, True]
    path.write_bytes("CCO ethanol\n".encode("utf-16"))
    with pytest.raises(FileFormatError, match="no text file in UTF-8"):
        read_molecules(path)


@pytest.mark.parametrize("name", ["list.smi.gz", "list.SMI.GZ", "table.csv.gz", "table.tsv.gz", "mol.mol.gz", "peptide.pdb.gz"])
def test_compressed_files(name, tmp_path, shared_data):
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    mol.SetProp("_Name", "ethanol")
    table = "smiles,name\nCCO,ethanol\n"
    kind = name.lower().split(".")[1]
    data = {
        "smi": b"CCO ethanol\n",
        "csv": table.encode(),
        "tsv": table.replace(",", "\t").encode(),
        "mol": Chem.MolToMolBlock(mol).encode(),
        "pdb": (shared_data / "ala2_md" / "ala2.pdb").read_bytes(),
    }[kind]
    path = tmp_path / name
    path.write_bytes(gzip.compress(data))
    for source in (path, str(path)):
        (entry,) = read_molecules(source)
        wanted = ("peptide", Chem.CanonSmiles("CC(=O)N[C@@H](C)C(=O)NC")) if kind == "pdb" else ("ethanol", "CCO")
        assert (entry.name, entry.graph.smiles) == wanted
    path.write_bytes(gzip.compress(data)[:-12])
    with pytest.raises(FileFormatError, match=r"is truncated or damaged; copy or compress it again.$"):
        entries = read_molecules(path)
        raise entries[-1].error


def standard_input(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input(monkeypatch):
    sdf = "".join(Chem.MolToMolBlock(Chem.MolFromSmiles(s)) + "$$$$\n" for s in ("CCO", "CCN")).encode()
    for data in (sdf, gzip.compress(sdf), sdf.replace(b"\n", b"\r\n"), b"\xef\xbb\xbfCCO\nCCN\n", b"# c\nCCO a\n\nCCN b"):
        standard_input(monkeypatch, data)
        assert [e.graph.smiles for e in read_molecules("-")] == ["CCO", "CCN"]
    for data in (b"", b"\n\n", gzip.compress(sdf)[:-20]):
        standard_input(monkeypatch, data)
        with pytest.raises(FileFormatError, match="standard input"):
            read_molecules("-")


def test_a_file_that_shadows_a_smiles_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CCO").write_text("whatever")
    (entry,) = read_molecules("CCO")
    assert entry.graph.smiles == "CCO" and "'CCO' is a file here, too, and was read as a SMILES" in entry.notes[0]
    assert read_molecules("CCN")[0].notes == ()
    with pytest.raises(FileFormatError, match="no suffix that can be read here"):
        read_molecules(Path("CCO"))


def test_hydrogens_are_added_with_the_stereo_of_wedges(shared_cases, tmp_path):
    (entry,) = read_molecules(shared_cases / "I_2d_no_hydrogens.sdf")
    assert entry.graph.smiles == Chem.CanonSmiles("CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O") and len(entry.graph) == 33
    assert entry.notes == ("explicit hydrogens were added, since the file has not all of them",)
    with pytest.raises(ConfGFError, match=r"Record 1 of .* lacks 3 explicit hydrogen"):
        read_ensembles(shared_cases / "I_2d_no_hydrogens.sdf")


def test_hydrogens_are_added_with_the_stereo_of_coordinates(tmp_path):
    for smiles in ("C[C@H](N)C(=O)O", "C/C=C\\[C@@H](F)O"):
        graph = MolecularGraph.from_smiles(smiles)
        bare = Chem.RemoveHs(graph.to_rdkit(embed_etkdg(graph, 1, 0).positions))
        (tmp_path / "bare.mol").write_text(Chem.MolToMolBlock(bare))
        (entry,) = read_molecules(tmp_path / "bare.mol")
        assert entry.graph.smiles == graph.smiles and len(entry.notes) == 1


@pytest.mark.parametrize(
    ("smiles", "kept"),
    [
        ("C[C@H](N)C(=O)O.Cl", "C[C@H](N)C(=O)O"),
        ("[Na+].CC(=O)[O-]", "CC(=O)[O-]"),
        ("O.O.C[N+](C)(C)C.[I-]", "C[N+](C)(C)C"),
        ("CCO.CCN", None),
        ("C1.C1", "CC"),
        ("F/C=C/Cl.O", "F/C=C/Cl"),
        ("CCO", "CCO"),
    ],
)
def test_the_largest_fragment(smiles, kept, tmp_path):
    (tmp_path / "salt.smi").write_text(f"{smiles} salt\n")
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    (tmp_path / "salt.sdf").write_text(Chem.MolToMolBlock(mol))
    for source in (smiles, tmp_path / "salt.smi", tmp_path / "salt.sdf"):
        (entry,) = read_molecules(source, largest_fragment=True)
        assert entry.graph.smiles in ({Chem.CanonSmiles(kept)} if kept else {"CCO", "CCN"})
        several = len(Chem.GetMolFrags(mol)) > 1
        assert ("only the largest fragment was kept" in entry.notes) == several
        assert (read_molecules(source)[0].graph is None) == several


def test_drawings_of_one_molecule_are_entries_each(tmp_path):
    mol = Chem.MolFromSmiles("CCO")
    rdDepictor.Compute2DCoords(mol)
    (tmp_path / "two.sdf").write_text("".join(f"{name}{Chem.MolToMolBlock(mol)}$$$$\n" for name in "ab"))
    assert [e.name for e in read_molecules(tmp_path / "two.sdf")] == ["a", "b"]
