import os

import numpy as np
import pytest

from openmm_confgf.errors import FileFormatError, GenerationError, MoleculeError, UnsupportedMoleculeError, WorkerError
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.library import Store, kept_or_made
from openmm_confgf.library.store import key_of
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

SETTINGS = {"command": "test", "seed": 1, "sigmas": (0.2, 0.1)}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.sdf"


@pytest.fixture(scope="module")
def graphs():
    return [MolecularGraph.from_smiles(smiles) for smiles in ("CCO", "CCN", "CCC")]


def made_of(graph):
    return ETKDGGenerator().sample(graph, 2)


def test_an_ensemble_comes_back_to_the_last_bit(output, alanine_ensemble):
    Store(output, SETTINGS).keep("key", alanine_ensemble)
    again = Store(output, SETTINGS, resume=True)
    found = again.read("key")
    for name in ("positions", "energy", "log_q", "status"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alanine_ensemble, name))
    assert found.provenance == alanine_ensemble.provenance and again.has("key") and not again.has("other") and len(again) == 1


@pytest.mark.parametrize("error", [GenerationError("no luck"), UnsupportedMoleculeError("boron; take etkdg"), MoleculeError("radical")])
def test_a_failure_comes_back_with_its_exit_code(output, error):
    Store(output, SETTINGS).keep("key", error)
    found = Store(output, SETTINGS, resume=True).read("key")
    assert type(found) is type(error) and str(found) == str(error)


def test_the_death_of_a_process_is_no_result(output):
    store = Store(output, SETTINGS)
    store.keep("key", WorkerError("its process died"))
    assert not store.has("key") and not output.parent.joinpath("out.sdf.partial").exists()


def test_what_an_earlier_call_left_is_never_lost_silently(output, alanine_ensemble):
    Store(output, SETTINGS).keep("key", alanine_ensemble)
    with pytest.raises(FileFormatError, match="keeps 1 molecules that an earlier call finished; add --resume .* or delete the folder"):
        Store(output, SETTINGS)
    with pytest.raises(
        FileFormatError, match="is of a call with seed 1; give the same settings to go on, name another output file, or delete"
    ):
        Store(output, SETTINGS | {"seed": 2}, resume=True)
    (output.parent / "out.sdf.partial" / "call.json").write_text("[")
    with pytest.raises(FileFormatError, match="does not tell which call it is of; delete it"):
        Store(output, SETTINGS, resume=True)


def test_there_may_be_nothing_to_resume(output):
    assert len(Store(output, SETTINGS, resume=True)) == 0


def test_it_goes_and_leaves_what_is_not_its_own(output, alanine_ensemble):
    store = Store(output, SETTINGS)
    store.keep("key", alanine_ensemble)
    (store.folder / f".key.h5-{os.getpid()}.partial").touch()
    store.remove()
    assert not store.folder.exists()
    store.keep("key", alanine_ensemble)
    (store.folder / "notes.txt").touch()
    store.remove()
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"] and len(Store(output, SETTINGS)) == 0


def test_a_damaged_file_is_named(output, alanine_ensemble):
    store = Store(output, SETTINGS)
    store.keep("key", alanine_ensemble)
    (store.folder / "key.h5").write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match=r"out.sdf.partial/key.h5 is damaged .*; delete it and go on with --resume"):
        store.read("key")
    (store.folder / "key.h5").unlink()
    with pytest.raises(FileFormatError, match=r"out.sdf.partial/key.h5 is gone; go on with --resume, which makes it again"):
        store.read("key")


def test_a_key_is_of_everything_that_decides(alanine, alanine_ensemble):
    reordered = MolecularGraph.from_smiles("OC(=O)[C@@H](N)C", name="alanine")
    named = MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name="ala")
    moved = alanine_ensemble.replace(positions=np.nextafter(alanine_ensemble.positions, 1))
    worse = alanine_ensemble.replace(status=np.full(8, Status.CLASH, np.int8))
    keys = [key_of(item) for item in (alanine, reordered, named, alanine_ensemble, moved, worse)]
    assert len(set(keys)) == len(keys) and key_of(MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name="alanine")) == keys[0]


def test_what_is_kept_is_not_made_again(output, graphs):
    unreadable, asked = MoleculeError("radical"), []

    def make(left):
        for place, graph in enumerate(left):
            asked.append(graph.smiles)
            yield place, GenerationError("no") if graph.smiles == "CCN" else made_of(graph)

    items = [(0, graphs[0]), (2, unreadable), (3, graphs[1]), (4, graphs[2])]
    stream = kept_or_made(Store(output, SETTINGS), items, make)
    first = [next(stream), next(stream)]
    assert [index for index, _ in first] == [0, 2] and first[1][1] is unreadable and asked == ["CCO", "CCN"]
    stream.close()

    asked.clear()
    store = Store(output, SETTINGS, resume=True)
    found = dict(kept_or_made(store, items, make))
    assert asked == ["CCN", "CCC"] and sorted(found) == [0, 2, 3, 4] and str(found[3]) == "no"
    np.testing.assert_array_equal(found[0].positions, first[0][1].positions)
    assert [(index, e.graph.smiles) for index, e in store.ensembles(sorted({0, 3, 4}))] == [(0, "CCO"), (4, "CCC")]

    asked.clear()
    assert sorted(dict(kept_or_made(Store(output, SETTINGS, resume=True), items, make))) == [0, 2, 3, 4] and asked == []


def test_without_a_store_everything_is_made(graphs):
    found = dict(kept_or_made(None, enumerate(graphs), lambda left: ((place, made_of(graph)) for place, graph in enumerate(left))))
    assert [found[k].graph.smiles for k in range(3)] == ["CCO", "CCN", "CCC"]


def test_results_are_not_held(output, graphs):
    """One ensemble at a time: the one before is gone when the next is made."""
    import weakref

    alive = []

    def make(left):
        for place, graph in enumerate(left):
            assert not any(reference() is not None for reference in alive[:-1])
            ensemble = made_of(graph)
            alive.append(weakref.ref(ensemble))
            yield place, ensemble
            del ensemble

    for _, ensemble in kept_or_made(Store(output, SETTINGS), enumerate(graphs), make):
        del ensemble
    assert len(alive) == 3
