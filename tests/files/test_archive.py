import dataclasses
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from openmm_confgf.checksums import sha256_of
from openmm_confgf.errors import FileFormatError
from openmm_confgf.files.archive import ReferenceMolecule, load_archive, save_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.status import Status


def make_arrays(smiles=("CCO", "C[C@H](O)F"), counts=(2, 3)):
    """Arrays of a small archive, from RDKit embeddings."""
    numbers, coords, n_atoms = [], [], []
    for text, count in zip(smiles, counts, strict=True):
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        rdDistGeom.EmbedMultipleConfs(mol, count, randomSeed=7)
        n_atoms.append(mol.GetNumAtoms())
        numbers += [a.GetAtomicNum() for a in mol.GetAtoms()]
        coords += [c.GetPositions() for c in mol.GetConformers()]
    return {
        "smiles": np.array(smiles),
        "n_atoms": np.array(n_atoms, np.int32),
        "n_conf": np.array(counts, np.int32),
        "numbers": np.array(numbers, np.int8),
        "coords": np.concatenate(coords).astype(np.float32),
        "energies": np.arange(sum(counts), dtype=np.float64),
    }


def test_molecules_get_their_own_atoms_conformers_and_energies(tmp_path):
    arrays = make_arrays()
    np.savez(tmp_path / "a.npz", **arrays)
    first, second = load_archive(tmp_path / "a.npz")
    assert (first.name, second.name) == ("CCO", "C[C@H](O)F")
    assert first.positions.shape == (2, 9, 3) and second.positions.shape == (3, 9, 3)
    np.testing.assert_allclose(first.positions[1, 0], arrays["coords"][9].astype(float) / 10, rtol=1e-12)
    np.testing.assert_allclose(second.positions[2, -1], arrays["coords"][-1].astype(float) / 10, rtol=1e-12)
    assert list(first.energies) == [0, 1] and list(second.energies) == [2, 3, 4]
    assert len(second.graph.stereocentres) == 1
    # a C-O bond is a bond only if the unit is nm
    assert 0.13 < np.linalg.norm(first.positions[0, 1] - first.positions[0, 2]) < 0.15


def test_optional_arrays_have_their_documented_defaults(tmp_path):
    arrays = make_arrays(counts=(1, 1))
    del arrays["n_conf"], arrays["energies"]
    np.savez(tmp_path / "a.npz", **arrays, name=np.array(["ethanol", "chiral"]))
    first, second = load_archive(tmp_path / "a.npz")
    assert first.name == "ethanol" and second.graph.name == "chiral"
    assert len(first.positions) == 1 and np.isnan(first.energies).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"coords": None}, "lacks coords"),
        ({"n_conf": np.array([2, 2], np.int32)}, "shape"),
        ({"numbers": np.zeros(3, np.int8)}, "numbers .* shape"),
        ({"smiles": np.array(["CCO", "C[C@H](F)O"])}, "order"),
        ({"smiles": np.array(["CCO", "C[C@H](O"])}, "Molecule 1 .*parsed"),
        ({"energies": np.zeros(4)}, "energies"),
        ({"coords": np.array(["a", "b"])}, "no numbers"),
        ({"n_conf": np.array([-1, 1])}, "n_conf .* at least 1"),
        ({"n_conf": np.array([0, 1])}, "n_conf .* at least 1"),
        ({"n_atoms": np.array([9.5, 9.0])}, "n_atoms .* integer"),
        ({"n_atoms": np.int64(9)}, "n_atoms .* list"),
        ({"n_atoms": np.zeros(0, np.int32)}, "n_atoms .* one molecule"),
        ({"n_atoms": np.array([9, 9, 9, 9])}, "n_conf .* shape"),
        ({"n_conf": np.ones(4, np.int32)}, "n_conf .* shape"),
        ({"n_conf": np.array([2**62, 2**62])}, "coords .* shape"),
        ({"n_conf": np.array([2**62, 2**62]), "energies": None}, "coords .* shape"),
        ({"smiles": np.array([7, 8])}, "smiles .* no text"),
        ({"numbers": np.array(["C"] * 18)}, "numbers .* no integers"),
    ],
)
def test_inconsistent_archives_are_refused(tmp_path, change, match):
    arrays = {key: value for key, value in (make_arrays() | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match=match):
        load_archive(tmp_path / "a.npz")


def test_atom_order_other_than_the_smiles_is_refused(tmp_path):
    arrays = make_arrays()
    arrays["numbers"][:9] = arrays["numbers"][:9][::-1].copy()
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match="not in the order"):
        load_archive(tmp_path / "a.npz")


def test_non_finite_coordinates_are_refused(tmp_path):
    arrays = make_arrays()
    arrays["coords"][3, 1] = np.inf
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match="not finite"):
        load_archive(tmp_path / "a.npz")


def test_files_that_are_no_archive_are_refused_in_one_line(tmp_path):
    np.savez(tmp_path / "whole.npz", **make_arrays())
    whole = (tmp_path / "whole.npz").read_bytes()
    contents = {"text.npz": b"hello", "empty.npz": b"", "cut.npz": whole[: len(whole) // 2]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=name) as caught:
            load_archive(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileFormatError, match=r"missing\.npz"):
        load_archive(tmp_path / "missing.npz")


def test_spoiled_bytes_are_refused_or_read_as_they_were(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", **make_arrays())
    whole = (tmp_path / "whole.npz").read_bytes()
    expected = [molecule.positions for molecule in load_archive(tmp_path / "whole.npz")]
    refused, path = 0, tmp_path / "spoiled.npz"
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = load_archive(path)
        except FileFormatError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert all(np.array_equal(molecule.positions, old) for molecule, old in zip(found, expected, strict=True))
    assert refused > len(whole) / 14


@pytest.mark.parametrize("claimed", [(2**40, 3), (2**62, 2**62)])
def test_arrays_larger_than_their_bytes_are_refused_before_there_is_room_for_them(tmp_path, claimed):
    np.savez_compressed(tmp_path / "a.npz", **make_arrays())
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"descr": "<f8", "fortran_order": False, "shape": claimed})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in (members | {"coords.npy": header.getvalue() + bytes(24)}).items():
            archive.writestr(name, content)
    with pytest.raises(FileFormatError, match=r"a\.npz is not a complete npz file") as caught:
        load_archive(tmp_path / "a.npz")
    assert "claims to be larger" in str(caught.value.__cause__)


def test_pickled_objects_are_never_loaded(tmp_path):
    arrays = make_arrays()
    arrays["smiles"] = arrays["smiles"].astype(object)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match="pickled"):
        load_archive(tmp_path / "a.npz")


def test_a_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(FileFormatError):
        load_archive(tmp_path / "a.npy")


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()
    with pytest.raises(FileFormatError, match="cannot be read"):
        sha256_of(tmp_path / "y")


def test_the_test_set_of_this_project_loads_whole(shared_data):
    molecules = load_archive(shared_data / "qm9_xtb_test.npz")
    assert len(molecules) == 200 and sum(len(m.positions) for m in molecules) == 3168
    for molecule in molecules:
        bonds = molecule.graph.bonds
        lengths = np.linalg.norm(molecule.positions[:, bonds[:, 0]] - molecule.positions[:, bonds[:, 1]], axis=-1)
        assert 0.08 < lengths.min() and lengths.max() < 0.2
        assert molecule.energies.min() == pytest.approx(0.0, abs=1e-6)


def test_stereo_that_nothing_checks_is_left_open(tmp_path):
    smiles = "FP(Cl)(C)(C)C"  # embedded without stereo; the archive names one all the same
    arrays = make_arrays((smiles,), (1,))
    arrays["smiles"] = np.array(["F[P@TB15](Cl)(C)(C)C"])
    np.savez(tmp_path / "a.npz", **arrays)
    (molecule,) = load_archive(tmp_path / "a.npz")
    assert molecule.graph.smiles == Chem.CanonSmiles(smiles) and len(molecule.graph.stereocentres) == 0


def test_archives_of_the_project_can_all_be_read(shared_data):
    sizes = {"qm9_xtb_test": 200, "qm9_xtb_train": 3660, "druglike_xtb_train": 1174, "druglike_b3lyp_test": 344}
    assert {name: len(load_archive(shared_data / f"{name}.npz")) for name in sizes} == sizes


def test_what_is_saved_is_what_is_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", **make_arrays(("CCO", "C[C@@H](O)F")))
    molecules = load_archive(tmp_path / "a.npz")
    save_archive(tmp_path / "new" / "b.npz", molecules, {"level": "none", "starts": 3})
    again = load_archive(tmp_path / "new" / "b.npz")
    for old, new in zip(molecules, again, strict=True):
        assert old.name == new.name and old.graph.smiles == new.graph.smiles
        np.testing.assert_allclose(new.positions, old.positions, atol=1e-8)  # single precision of the coordinates in Angstrom
        np.testing.assert_array_equal(new.energies, old.energies)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b.npz"]
    with np.load(tmp_path / "new" / "b.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["provenance"])) == {"level": "none", "starts": 3}


def test_other_atom_orders_become_that_of_the_smiles(tmp_path):
    # hydrogens first and the carboxylate's oxygens exchanged: the same molecule, in an order that no SMILES has
    graph = MolecularGraph.from_smiles("C[C@H](N)C(=O)[O-]")
    positions = embed_etkdg(graph, 2, 3).positions
    order = np.array([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    shuffled = MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order.tolist()), name="alaninate")
    save_archive(tmp_path / "a.npz", [ReferenceMolecule("alaninate", shuffled, positions[:, order], np.zeros(2))])
    (molecule,) = load_archive(tmp_path / "a.npz")
    assert molecule.graph.smiles == graph.smiles and molecule.name == "alaninate"
    assert (check_conformations(molecule.graph, molecule.positions) == Status.OK).all()
    back = Chem.RenumberAtoms(molecule.graph.mol, list(molecule.graph.mol.GetSubstructMatch(graph.mol, useChirality=True)))
    assert Chem.MolToSmiles(back, canonical=False) == Chem.MolToSmiles(graph.mol, canonical=False)
    matrix = rmsd_matrix(molecule.graph, molecule.positions, molecule.positions)
    np.testing.assert_allclose(matrix, rmsd_matrix(graph, positions, positions), atol=1e-6)


@pytest.mark.parametrize("bad", ["none", "no conformers", "not finite"])
def test_what_no_archive_can_hold_is_refused(tmp_path, bad):
    np.savez(tmp_path / "a.npz", **make_arrays())
    first, second = load_archive(tmp_path / "a.npz")
    empty = dataclasses.replace(first, positions=first.positions[:0], energies=first.energies[:0])
    molecules = {
        "none": [],
        "no conformers": [second, empty],
        "not finite": [dataclasses.replace(first, positions=first.positions * np.nan)],
    }
    with pytest.raises(FileFormatError, match="leave"):
        save_archive(tmp_path / "b.npz", molecules[bad])
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", **make_arrays())
    with pytest.raises(FileFormatError, match="cannot be written"):
        save_archive(tmp_path / "a.npz" / "b.npz", load_archive(tmp_path / "a.npz"))


def test_the_sets_of_this_project_can_be_saved(shared_data, tmp_path):
    molecules = load_archive(shared_data / "druglike_xtb_train.npz")[::40]
    save_archive(tmp_path / "a.npz", molecules)
    for old, new in zip(molecules, load_archive(tmp_path / "a.npz"), strict=True):
        assert old.graph.smiles == new.graph.smiles
        np.testing.assert_array_equal(check_conformations(new.graph, new.positions), check_conformations(old.graph, old.positions))
