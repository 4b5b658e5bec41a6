import json
import os

import h5py
import mdtraj
import numpy as np
import pytest
from openmm import app, unit
from rdkit import Chem
from rdkit.Chem import rdDepictor

from openmm_confgf.ensemble import Ensemble, Status
from openmm_confgf.errors import FileFormatError, MoleculeError
from openmm_confgf.files import MoleculeEntry, check_writable, read_each_ensemble, read_ensembles, read_molecules, write_ensembles
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecule import MolecularGraph

# every kind of stereo, specified and open, charges, aromatic rings
SMILES = [
    "C[C@H](N)C(=O)O",
    "CC(F)(Cl)Br",
    "C/C=C/CO",
    "CC=CN",
    "[H]/N=C(\\C)NC",
    "C[C@H]1CC[C@@H](C)CC1",
    "C[N+](C)(C)CC(=O)[O-]",
    "c1cc[nH]c1",
    "C[S@](=O)c1ccccc1",
    "OP(=O)([O-])OC",
]


@pytest.fixture(scope="module")
def ensembles(alanine_ensemble):
    made = [alanine_ensemble]
    for seed, smiles in enumerate(SMILES):
        ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles, name=f"molecule {seed}"), 5, seed)
        status = ensemble.status.copy()
        status[1] = Status.CLASH
        made.append(ensemble.replace(status=status, energy=np.linspace(1, 2, 5) / 3))
    return made


def same_molecule(a, b):
    return (
        a.smiles == b.smiles
        and a.numbers.tolist() == b.numbers.tolist()
        and a.bonds.tolist() == b.bonds.tolist()
        and [x.GetFormalCharge() for x in a.mol.GetAtoms()] == [x.GetFormalCharge() for x in b.mol.GetAtoms()]
        and {tuple(r) for r in a.stereocentres.tolist()} == {tuple(r) for r in b.stereocentres.tolist()}
        and {tuple(r) for r in a.stereobonds.tolist()} == {tuple(r) for r in b.stereobonds.tolist()}
    )


def test_hdf5_gives_everything_back(ensembles, tmp_path):
    paths = write_ensembles(ensembles, tmp_path / "out.h5")
    assert [p.name for p in paths] == ["out-0000-alanine.h5", *(f"out-{k:04d}-molecule_{k - 1}.h5" for k in range(1, len(ensembles)))]
    for wanted, path in zip(ensembles, paths, strict=True):
        (found,) = read_ensembles(path)
        assert same_molecule(found.graph, wanted.graph)
        assert found.graph.name == wanted.graph.name
        assert found.provenance == wanted.provenance
        for name in ("positions", "status", "energy", "log_q"):
            ours, theirs = getattr(found, name), getattr(wanted, name)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)


def test_mdtraj_loads_the_usable_samples(alanine_ensemble, tmp_path):
    pytest.importorskip("tables", reason="mdtraj reads HDF5 with PyTables")
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    trajectory, wanted = mdtraj.load(str(path)), alanine_ensemble.to_mdtraj()
    np.testing.assert_array_equal(trajectory.xyz, wanted.xyz)
    assert np.isfinite(trajectory.xyz).all() and trajectory.n_frames == 6
    assert trajectory.topology == wanted.topology
    assert trajectory.topology.n_bonds == 12


def test_an_ensemble_without_usable_samples_survives_in_hdf5_only(alanine_ensemble, tmp_path):
    bad = alanine_ensemble.replace(status=np.full(8, Status.FAILED, np.int8))
    (path,) = write_ensembles([bad], tmp_path / "bad.h5")
    assert read_ensembles(path)[0].counts() == {"FAILED": 8}
    for suffix in (".sdf", ".pdb"):
        with pytest.raises(FileFormatError, match="no usable conformation"):
            write_ensembles([bad], tmp_path / f"bad{suffix}")
    assert [p.name for p in write_ensembles([bad, alanine_ensemble], tmp_path / "two.pdb")] == ["two-0001-alanine.pdb"]
    assert len(read_ensembles(*write_ensembles([bad, alanine_ensemble], tmp_path / "two.sdf"))) == 1


def test_residues_survive_hdf5(shared_data, tmp_path):
    (peptide,) = read_ensembles(shared_data / "ala2_md" / "ala2.pdb")
    (path,) = write_ensembles([peptide], tmp_path / "peptide.h5")
    (back,) = read_ensembles(path)
    wanted, found = ([(a.name, a.residue.name, a.residue.id) for a in e.graph.to_topology().atoms()] for e in (peptide, back))
    assert {row[1] for row in wanted} == {"ACE", "ALA", "NME"}
    assert found == wanted


def test_sdf_gives_the_usable_samples_back(ensembles, tmp_path):
    (path,) = write_ensembles(ensembles, tmp_path / "out.sdf")
    found = read_ensembles(path)
    assert len(found) == len(ensembles)
    for ours, theirs in zip(found, ensembles, strict=True):
        usable = theirs.select(theirs.ok)
        assert same_molecule(ours.graph, theirs.graph)
        assert ours.graph.name == theirs.graph.name
        np.testing.assert_allclose(ours.positions, usable.positions, atol=0.51e-5)
        np.testing.assert_array_equal(ours.energy, usable.energy)
        assert ours.ok.all()
        assert ours.provenance.generator == "out.sdf"


def test_sdf_is_what_other_programs_read(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.sdf")
    records = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert len(records) == 6
    assert [float(m.GetProp("energy_kj_per_mol")) for m in records] == [5, 1, 3, 2, 4, -6.5]
    assert {m.GetProp("status") for m in records} == {"OK"}
    assert {Chem.MolToSmiles(Chem.RemoveHs(m)) for m in records} == {alanine_ensemble.graph.smiles}
    assert {m.GetProp("_Name") for m in records} == {"alanine"}


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


def test_peptide_pdb(shared_data):
    (ensemble,) = read_ensembles(shared_data / "ala2_md" / "ala2.pdb")
    assert ensemble.graph.smiles == Chem.CanonSmiles("CC(=O)N[C@@H](C)C(=O)NC")
    assert ensemble.graph.name == "ala2"
    assert ensemble.ok.all()
    (entry,) = read_molecules(shared_data / "ala2_md" / "ala2.pdb")
    assert same_molecule(entry.graph, ensemble.graph)


def test_foreign_sdf_is_grouped_by_molecule_and_order(tmp_path):
    """Titles differ from record to record; a mirror image and another atom order are other molecules; no status is given."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles("C[C@H](O)CF"), 3, 0)
    mols = [ensemble.graph.to_rdkit(frame) for frame in [*ensemble.positions, -ensemble.positions[0]]]
    mols.append(Chem.RenumberAtoms(mols[-1], list(range(len(ensemble.graph)))[::-1]))
    stretched = ensemble.graph.to_rdkit(ensemble.positions[0] * 1.5)
    path = tmp_path / "foreign.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for k, mol in enumerate([*mols, stretched]):
            mol.SetProp("_Name", f"conformer {k}")
            writer.write(mol)
    found = read_ensembles(path)
    assert [len(e) for e in found] == [3, 1, 1, 1]
    assert [e.counts() for e in found] == [{"OK": 3}, {"OK": 1}, {"OK": 1}, {"WRONG_GRAPH": 1}]
    assert found[0].graph.smiles != found[1].graph.smiles == found[2].graph.smiles
    assert found[0].energy is None
    assert [e.name for e in read_molecules(path)] == ["conformer 0", "conformer 3", "conformer 4", "conformer 5"]


def test_mol_file(tmp_path, alanine_ensemble):
    path = tmp_path / "one.mol"
    Chem.MolToMolFile(alanine_ensemble.graph.to_rdkit(alanine_ensemble.positions[0]), str(path))
    (ensemble,) = read_ensembles(path)
    assert same_molecule(ensemble.graph, alanine_ensemble.graph)
    assert [e.name for e in read_molecules(path)] == ["alanine"]


def test_flat_records_make_molecules_but_no_ensembles(tmp_path):
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](F)O"))
    rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "flat.sdf"
    with Chem.SDWriter(str(path)) as writer:
        writer.write(mol)
    assert read_molecules(path)[0].graph.smiles == Chem.CanonSmiles("C[C@H](F)O")
    with pytest.raises(FileFormatError, match=r"Record 1 of .* has no 3D coordinates"):
        read_ensembles(path)


def test_bad_records_are_named_and_stop_no_others(tmp_path):
    good = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO")))
    no_hydrogens = Chem.MolToMolBlock(Chem.MolFromSmiles("CCN"))
    five_bonds = good.replace("  1  2  1  0", "  1  2  3  0")
    assert five_bonds != good
    path = tmp_path / "mixed.sdf"
    path.write_text("$$$$\n".join([good, "no molecule at all\n", no_hydrogens, five_bonds, good, ""]))
    entries = read_molecules(path)
    assert [e.graph is not None for e in entries] == [True, False, False, False, True]
    assert all((e.graph is None) != (e.error is None) for e in entries)
    assert isinstance(entries[1].error, FileFormatError) and "Record 2" in str(entries[1].error)
    assert "Record 3" in str(entries[2].error) and "Chem.AddHs" in str(entries[2].error)
    assert "Record 4" in str(entries[3].error) and "valence" in str(entries[3].error)
    assert entries[2].name == "record 3 of mixed.sdf"
    with pytest.raises(FileFormatError, match=r"Record 1 of .* no 3D"):
        read_ensembles(path)


def test_ensembles_beside_bad_records_can_be_had(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "good.sdf")
    good, flat = path.read_text(), Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO"))) + "$$$$\n"
    path.write_text(good + "no molecule at all\n$$$$\n" + flat + good.replace("-6.5", "low") + good)
    outcomes = read_each_ensemble(path)
    assert [isinstance(outcome, Ensemble) for outcome in outcomes] == [True, False, False, False]
    assert ["Record 7" in str(outcomes[1]), "no 3D" in str(outcomes[2]), "'low'" in str(outcomes[3])] == [True] * 3
    np.testing.assert_array_equal(outcomes[0].energy, alanine_ensemble.energy[alanine_ensemble.ok])
    path.write_text(good + "no molecule at all\n$$$$\n" + good)
    first, _, last = read_each_ensemble(path)
    np.testing.assert_array_equal(first.positions, last.positions)
    with pytest.raises(FileFormatError, match="Record 7"):
        read_ensembles(path)


def test_the_status_of_another_program_is_no_status_here(tmp_path):
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCO"), 1, 0)
    mol = ensemble.to_rdkit()
    mol.SetProp("status", "in stock")
    with Chem.SDWriter(str(tmp_path / "vendor.sdf")) as writer:
        writer.write(mol)
    assert read_ensembles(tmp_path / "vendor.sdf")[0].status.tolist() == [Status.OK]


def test_bad_properties_are_named(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.sdf")
    text = path.read_text()
    path.write_text(text.replace("-6.5", "low"))
    with pytest.raises(FileFormatError, match=r"Record 6 of .*energy_kj_per_mol 'low'"):
        read_ensembles(path)
    path.write_text(text.replace("\nOK\n", "\nFINE\n", 1))
    with pytest.raises(FileFormatError, match=r"Record 1 of .*status 'FINE'; known are OK"):
        read_ensembles(path)


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


@pytest.mark.parametrize("name", ["missing.sdf", "missing.SMI", "no/such/folder/x.pdb", "missing.h5"])
def test_missing_files_are_no_smiles(name):
    with pytest.raises(FileFormatError, match="No such file"):
        read_molecules(name)


@pytest.mark.parametrize("name", ["ligand.mol2", "list.csv", "coordinates.xyz"])
def test_names_of_unknown_files_are_no_smiles(name, tmp_path, monkeypatch):
    with pytest.raises(FileFormatError, match="neither a file of a known format"):
        read_molecules(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("CCO")
    for read in (read_molecules, read_ensembles):
        with pytest.raises(FileFormatError, match="no suffix that can be read here; give one of"):
            read(name)


@pytest.mark.parametrize("suffix", [".smi", ".sdf", ".mol", ".pdb", ".h5"])
def test_empty_files(suffix, tmp_path):
    path = tmp_path / f"empty{suffix}"
    path.touch()
    for read in (read_molecules, *([] if suffix == ".smi" else [read_ensembles])):
        with pytest.raises(FileFormatError, match="is empty"):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "text", "said"),
    [
        (".smi", "# nothing\n\n", "holds no molecule"),
        (".sdf", "\n", "holds no molecule"),
        (".pdb", "REMARK nothing\nEND\n", "no ATOM or HETATM|no PDB file"),
        (".h5", "no HDF5", "no HDF5 file"),
    ],
)
def test_files_without_molecules(suffix, text, said, tmp_path):
    path = tmp_path / f"nothing{suffix}"
    path.write_text(text)
    for read in (read_molecules, *([] if suffix == ".smi" else [read_ensembles])):
        with pytest.raises(FileFormatError, match=said):
            read(path)


def test_binary_smi_file(tmp_path):
    path = tmp_path / "list.smi"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(FileFormatError, match="no text file"):
        read_molecules(path)


def test_directories(tmp_path):
    folder = tmp_path / "folder.sdf"
    folder.mkdir()
    for call in (read_molecules, read_ensembles, check_writable, lambda path: write_ensembles([], path)):
        with pytest.raises(FileFormatError, match="is a directory"):
            call(folder)
    with pytest.raises(FileFormatError, match="is a directory"):
        read_molecules(str(tmp_path))


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


def test_truncated_or_foreign_hdf5(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    whole = path.read_bytes()
    for kept in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(FileFormatError, match="truncated or no HDF5"):
            read_ensembles(path)
    with h5py.File(path, "w") as file:
        file["coordinates"] = np.zeros((2, 3, 3))
    with pytest.raises(FileFormatError, match="holds no ensemble of openmm_confgf"):
        read_ensembles(path)


def test_hdf5_with_nonsense_in_it(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["openmm_confgf"]["status"][0] = 77
    with pytest.raises(FileFormatError, match="was altered .*status"):
        read_ensembles(path)
    with h5py.File(path, "a") as file:
        file["openmm_confgf"].create_group("inner")
    with pytest.raises(FileFormatError, match="no HDF5"):
        read_ensembles(path)


@pytest.mark.parametrize("change", ["molecule", "provenance", "status", "layout"])
def test_altered_hdf5(alanine_ensemble, tmp_path, change):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        group = file["openmm_confgf"]
        if change == "layout":
            group.attrs["layout"] = 99
        else:
            del group[change]
            group[change] = {"molecule": "{}", "provenance": json.dumps({"nonsense": 1}), "status": np.zeros(2, np.int8)}[change]
    with pytest.raises(FileFormatError, match="newer than this version" if change == "layout" else "was altered"):
        read_ensembles(path)


@pytest.mark.parametrize("suffix", [".sdf", ".pdb", ".h5"])
def test_files_are_complete_or_absent(alanine_ensemble, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("older")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    for target in ("sdf.write_sdf", "pdb.write_pdb", "hdf5.hdf5_bytes"):
        monkeypatch.setattr(f"openmm_confgf.files.{target}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_ensembles([alanine_ensemble], path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]
    monkeypatch.undo()
    write_ensembles([alanine_ensemble], path)
    assert os.listdir(tmp_path) == [path.name]
    assert len(read_ensembles(path)[0]) == (8 if suffix == ".h5" else 6)


def test_check_writable(tmp_path):
    assert check_writable(tmp_path / "out.SDF") == ".sdf"
    assert check_writable(tmp_path / "new" / "deep" / "out.h5") == ".h5"
    assert os.listdir(tmp_path) == []
    for name in ("out", "out.xyz", "out.mol"):
        with pytest.raises(FileFormatError, match="no suffix that can be written; give one of"):
            check_writable(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(FileFormatError, match="cannot be written to"):
        check_writable(tmp_path / "file" / "out.sdf")
    with pytest.raises(FileFormatError, match="cannot be written to"):
        check_writable("/proc/out.sdf")


def test_missing_folders_are_made(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "new" / "deep" / "out.sdf")
    assert path.is_file()


def test_names_that_would_break_a_record(alanine_ensemble, tmp_path):
    graph = MolecularGraph(alanine_ensemble.graph.mol, "two\nlines $$$$")
    (path,) = write_ensembles([alanine_ensemble.replace(graph=graph)], tmp_path / "out.sdf")
    (found,) = read_ensembles(path)
    assert found.graph.name == "two lines $$$$"
    assert len(found) == 6
    graph = MolecularGraph(alanine_ensemble.graph.mol, "$$$$ rich")
    (path,) = write_ensembles([alanine_ensemble.replace(graph=graph)] * 2, tmp_path / "out.sdf")
    assert [(e.graph.name, len(e)) for e in read_ensembles(path)] == [("rich", 12)]


def test_pdb_coordinates_are_those_of_openmm(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.pdb")
    content = app.PDBFile(str(path))
    assert content.getNumFrames() == 6
    second = content.getPositions(asNumpy=True, frame=1).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(second, alanine_ensemble.positions[1], atol=0.51e-4)
    assert [a.element.atomic_number for a in content.topology.atoms()] == alanine_ensemble.graph.numbers.tolist()
