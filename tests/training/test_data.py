import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import FileFormatError
from openmm_confgf.files import write_ensembles
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.models.features import GraphFeatures
from openmm_confgf.training.data import (
    TrainingMolecule,
    fingerprints,
    load_training_set,
    prepare,
    read_training_file,
    save_training_set,
    split_validation,
)
from tests.training.conftest import SMILES, write_archive

ROOT = Path(__file__).resolve().parents[2]


def made_up(fingerprint, elements=(1, 6)):
    """A molecule of which only the fingerprint and the elements matter."""
    empty = np.zeros((0, 4), np.int16)
    atoms = np.array([[z, 3, 1, 1, 0, 0] for z in elements], np.int16)
    features = GraphFeatures(atoms, empty, np.zeros((0, 2), np.float32), empty, np.zeros(0, np.int8))
    return TrainingMolecule(features, np.zeros((1, len(elements), 3), np.float32), np.zeros(1, np.float32), f"{fingerprint:012x}")


def assert_same_molecules(a, b, tolerance):
    assert [m.fingerprint for m in a] == [m.fingerprint for m in b]
    for one, other in zip(a, b, strict=True):
        for field in dataclasses.fields(GraphFeatures):
            np.testing.assert_array_equal(getattr(one.features, field.name), getattr(other.features, field.name))
        np.testing.assert_allclose(one.positions, other.positions, atol=tolerance)
        np.testing.assert_allclose(one.energies, other.energies, atol=1e-5)


def test_training_set_file_is_what_was_prepared(archive, tmp_path):
    prepared = prepare(load_archive(archive))
    save_training_set(tmp_path / "set.npz", prepared)
    assert_same_molecules(prepared, load_training_set(tmp_path / "set.npz"), 0)
    assert fingerprints(tmp_path / "set.npz") == fingerprints(archive) == {m.fingerprint for m in prepared}


def test_training_set_file_keeps_paths_where_there_are_some(archive, tmp_path):
    prepared = prepare(load_archive(archive))
    paths = np.random.default_rng(0).normal(size=(len(prepared[1].positions), 3, *prepared[1].positions.shape[1:])).astype(np.float32)
    prepared[1] = dataclasses.replace(prepared[1], paths=paths)
    save_training_set(tmp_path / "set.npz", prepared)
    loaded = load_training_set(tmp_path / "set.npz")
    np.testing.assert_array_equal(loaded[1].paths, paths)
    assert all(m.paths is None for k, m in enumerate(loaded) if k != 1)
    with np.load(tmp_path / "set.npz") as arrays:
        np.savez(tmp_path / "older.npz", **{name: arrays[name] for name in arrays if name not in ("paths", "n_paths")})
    assert_same_molecules(loaded, load_training_set(tmp_path / "older.npz"), 0)


def test_paths_that_do_not_fit_are_named(archive, tmp_path):
    prepared = prepare(load_archive(archive))
    with pytest.raises(ValueError, match="K, F, N, 3"):
        dataclasses.replace(prepared[0], paths=np.zeros((1, 0, 3, 3), np.float32))
    save_training_set(tmp_path / "set.npz", prepared)
    with np.load(tmp_path / "set.npz") as arrays:
        np.savez(tmp_path / "cut.npz", **{name: arrays[name] for name in arrays if name != "n_paths"}, n_paths=np.full(len(prepared), 2))
    with pytest.raises(FileFormatError, match="not a complete training set"):
        load_training_set(tmp_path / "cut.npz")


def test_excluded_molecules_are_left_out_and_counted(archive, tmp_path):
    prepared = prepare(load_archive(archive))
    save_training_set(tmp_path / "set.npz", prepared)
    for path in (archive, tmp_path / "set.npz"):
        read = read_training_file(path, {prepared[0].fingerprint})
        assert len(read.molecules) == len(SMILES) - 1 and read.conformers == 2 * (len(SMILES) - 1)
        assert read.dropped == {"held out": 2}


@pytest.fixture
def scored():
    """Conformers of three molecules with energies, one of them with stereo that is specified and one with stereo that is not."""
    ensembles = [ETKDGGenerator().sample(s, 3) for s in ("C[C@H](N)C(=O)O", "CC(O)CF", "C/C=C/CO")]
    return [e.replace(energy=np.array([7.0, -3.0, 2.5])) for e in ensembles]


def test_sdf_and_npz_of_the_same_conformers_are_the_same_training_set(scored, tmp_path):
    write_archive(tmp_path / "mine.npz", scored)
    arrays = dict(np.load(tmp_path / "mine.npz"))
    np.savez(tmp_path / "mine.npz", **arrays, energies=np.tile([10.0, 0.0, 5.5], 3))
    write_ensembles(scored, tmp_path / "mine.sdf")
    from_npz, from_sdf = (read_training_file(tmp_path / name) for name in ("mine.npz", "mine.sdf"))
    assert from_sdf.dropped == {}
    assert_same_molecules(from_npz.molecules, from_sdf.molecules, 1e-4)  # Angstrom; an SDF has four digits


def test_records_that_are_not_their_molecule_are_dropped_and_counted(scored, tmp_path):
    broken, status = scored[0].positions.copy(), np.zeros(3, np.int8)
    broken[1, 0] += 0.1
    write_ensembles([Ensemble(scored[0].graph, broken, scored[0].provenance, status), scored[1]], tmp_path / "mine.sdf")
    read = read_training_file(tmp_path / "mine.sdf")  # though the file says that all are OK
    assert read.dropped == {"WRONG_GRAPH": 1}
    assert [len(m.positions) for m in read.molecules] == [2, 3]


def test_unreadable_records_are_counted_and_cost_no_others(scored, tmp_path):
    write_ensembles(scored[:1], tmp_path / "mine.sdf")
    flat = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO")))
    (tmp_path / "mixed.sdf").write_text(f"{flat}$$$$\n" + (tmp_path / "mine.sdf").read_text() + "nonsense\n$$$$\n")
    read = read_training_file(tmp_path / "mixed.sdf")
    assert len(read.molecules) == 1 and read.dropped == {"unreadable": 2}
    assert "no 3D coordinates" in read.first_problem


def test_files_without_a_usable_conformer_are_refused(scored, tmp_path):
    flat = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO")))
    (tmp_path / "flat.sdf").write_text(f"{flat}$$$$\n")
    with pytest.raises(FileFormatError, match="no 3D coordinates"):
        read_training_file(tmp_path / "flat.sdf")
    write_archive(tmp_path / "tiny.npz", [ETKDGGenerator().sample("[H][H]", 1)])
    with pytest.raises(FileFormatError, match="fewer than 3 atoms"):
        read_training_file(tmp_path / "tiny.npz")
    stretched = scored[0].replace(positions=1.5 * scored[0].positions)
    write_ensembles([stretched], tmp_path / "stretched.sdf")
    with pytest.raises(FileFormatError, match="3 WRONG_GRAPH"):
        read_training_file(tmp_path / "stretched.sdf")
    for name in ("none.sdf", "none.npz"):
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_training_file(tmp_path / name)
    (tmp_path / "notes.txt").write_text("CCO\n")
    with pytest.raises(FileFormatError, match="notes.txt"):
        read_training_file(tmp_path / "notes.txt")


def test_large_sets_are_split_by_the_fingerprint_alone():
    molecules = [made_up(k) for k in range(800)]
    fitted, held = split_validation(molecules)
    assert [int(m.fingerprint, 16) for m in held] == list(range(0, 800, 40))
    assert [int(m.fingerprint, 16) for m in fitted] == [k for k in range(800) if k % 40]
    again = split_validation(molecules[::2])[1]
    assert {m.fingerprint for m in again} <= {m.fingerprint for m in held}  # whatever the other data


@pytest.mark.parametrize(("count", "validating"), [(1, 0), (2, 1), (5, 1), (6, 2), (39, 8), (60, 8), (320, 8), (400, 10)])
def test_small_sets_have_validation_molecules_too(count, validating):
    molecules = [m for k in range(1, count + 1) for m in (made_up(k), made_up(k))]  # two entries for each constitution
    fitted, held = split_validation(molecules)
    assert len({m.fingerprint for m in held}) == validating and len(fitted) + len(held) == 2 * count
    assert {m.fingerprint for m in fitted} & {m.fingerprint for m in held} == set()


def test_the_only_molecule_of_an_element_is_learned_from():
    molecules = [made_up(40 * 7, (6, 34)), *(made_up(k) for k in range(1, 8))]
    fitted, held = split_validation(molecules)
    assert len(held) == 2 and 34 in set().union(*(m.elements for m in fitted))


def test_split_of_real_molecules_goes_by_constitution(archive):
    molecules = read_training_file(archive).molecules
    fitted, held = split_validation(molecules, share=2)
    assert {m.fingerprint for m in fitted} & {m.fingerprint for m in held} == set()
    assert len(fitted) + len(held) == len(molecules)


def test_prepared_sets_are_fine_tuned_on_without_openmm_and_rdkit(archive, tmp_path):
    save_training_set(tmp_path / "set.npz", prepare(load_archive(archive)))
    code = f"""
import sys
sys.modules.update(dict.fromkeys(['openmm', 'rdkit', 'openff', 'mdtraj', 'typer']))
import openmm_confgf.training.recipe as recipe
from openmm_confgf.training.config import RunConfig
recipe.VALIDATION_STEPS = 1
run = RunConfig(steps=1, round_steps=1, pair_budget=100, patience=1)
print(recipe.train([{str(tmp_path / "set.npz")!r}], {str(tmp_path / "run")!r}, run, parent='confgf', device='cpu', progress=False))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path(done.stdout.strip()).with_suffix(".json").read_text())["parent"]["name"] == "confgf"
