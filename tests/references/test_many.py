import functools
import re

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError, FileFormatError
from openmm_confgf.executors import ProcessExecutor
from openmm_confgf.files.archive import load_archive, save_archive
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.references import ReferenceMaker, ReferenceProtocol, many, reference_ensembles, reference_store


@pytest.fixture(scope="module")
def maker(toy_level):
    return ReferenceMaker(ReferenceProtocol(toy_level, starts=2))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "e.npz"


@pytest.fixture
def asked(monkeypatch):
    """What would be made, by SMILES and name, from the moment it is asked for; nothing is made."""

    def none_made(setup, items, *rest):
        found.extend(items)
        return iter(())

    found = []

    def watch():
        monkeypatch.setattr(many, "work_through", none_made)
        return found

    return watch


def test_finished_molecules_are_kept_and_not_made_again(maker, output, asked):
    graphs = [MolecularGraph.from_smiles(s, name=n) for s, n in (("OCC", "ethanol"), ("C[Xe]C", "xenon"), ("CO", "methanol"))]
    made = dict(reference_ensembles(graphs, reference_store(output, maker), maker, workers=1))
    assert isinstance(made[1], ConfGFError) and "xenon" in str(made[1])
    assert [made[k].name for k in (0, 2)] == ["ethanol", "methanol"] and made[0].graph.smiles == "CCO"
    assert len(list(output.parent.glob("e.npz.partial/*.h5"))) == 2

    left = asked()
    renamed = [MolecularGraph.from_smiles("CCO", name="alcohol"), *graphs[1:], MolecularGraph.from_smiles("CCC", name="new")]
    again = dict(reference_ensembles(renamed, reference_store(output, maker), maker))
    assert left == [("C[Xe]C", "xenon"), ("CCC", "new")] and set(again) == {0, 2} and again[0].name == again[0].graph.name == "alcohol"
    for k in (0, 2):
        np.testing.assert_array_equal(again[k].positions, made[k].positions)
        np.testing.assert_array_equal(again[k].energies, made[k].energies)
        assert again[k].graph.same_as(made[k].graph)


def test_a_damaged_file_is_made_again(maker, output, asked):
    graph = MolecularGraph.from_smiles("CO")
    assert len(dict(reference_ensembles([graph], reference_store(output, maker), maker))) == 1
    (path,) = output.parent.glob("e.npz.partial/*.h5")
    path.write_bytes(path.read_bytes()[:100])
    ((_, again),) = reference_ensembles([graph], reference_store(output, maker), maker)
    left = asked()
    ((_, taken),) = reference_ensembles([graph], reference_store(output, maker), maker)
    np.testing.assert_array_equal(again.positions, taken.positions)
    assert left == []


def test_what_was_made_in_another_way_is_refused(maker, output):
    assert len(dict(reference_ensembles([MolecularGraph.from_smiles("CO")], reference_store(output, maker), maker))) == 1
    other = ReferenceMaker.__new__(ReferenceMaker)
    other.protocol, other.provenance = maker.protocol, maker.provenance | {"starts": 3}
    words = f"{re.escape(str(output))}.partial is of a call with starts 2; give the same settings to go on, name another .* or delete"
    with pytest.raises(FileFormatError, match=words):
        reference_store(output, other)


def test_what_an_earlier_version_kept_is_refused(maker, output):
    folder = output.with_name("e.npz.partial")
    molecule = maker.make(MolecularGraph.from_smiles("CO"))
    save_archive(folder / "mine.npz", [molecule])
    reference_store(output, maker)  # what is not its own is no matter
    save_archive(folder / "0123456789abcdef0123.npz", [molecule])
    with pytest.raises(FileFormatError, match="as an earlier version did, .* cannot go on from them; finish with that version, .* delete"):
        reference_store(output, maker)


def test_a_full_disk_says_how_the_call_goes_on(maker, output):
    store = reference_store(output, maker)
    store.folder.write_text("no folder")
    with pytest.raises(FileFormatError, match=r"What is finished is kept in .*e.npz.partial; give the same command again\.$"):
        list(reference_ensembles([MolecularGraph.from_smiles("CO")], store, maker))


@pytest.mark.parametrize("workers", [1, functools.partial(ProcessExecutor, workers=1)])
def test_a_worker_makes_what_the_library_makes(maker, output, workers):
    graph = MolecularGraph.from_smiles("CCO")
    ((_, from_worker),) = reference_ensembles([graph], reference_store(output, maker), maker, workers=workers)
    here = maker.make(graph)
    np.testing.assert_array_equal(from_worker.positions, here.positions)
    np.testing.assert_array_equal(from_worker.energies, here.energies)


@pytest.mark.parametrize(("workers", "time_limit"), [(0, 1.0), (1, 0.0)])
def test_bad_calls_are_refused_by_the_call(maker, output, workers, time_limit):
    with pytest.raises(ConfGFError, match="at least 1|positive"):
        reference_ensembles(
            [MolecularGraph.from_smiles("CO")], reference_store(output, maker), maker, workers=workers, time_limit=time_limit
        )


def test_an_archive_of_those_taken_up_is_that_of_one_run(maker, output):
    graphs = [MolecularGraph.from_smiles(smiles) for smiles in ("CO", "CCO")]
    store = reference_store(output, maker)
    whole = [molecule for _, molecule in sorted(reference_ensembles(graphs, store, maker), key=lambda pair: pair[0])]
    taken = [molecule for _, molecule in reference_ensembles(graphs, reference_store(output, maker), maker)]
    for name, molecules in (("a.npz", whole), ("b.npz", taken)):
        save_archive(output.with_name(name), molecules)
    for one, other in zip(load_archive(output.with_name("a.npz")), load_archive(output.with_name("b.npz")), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    store.remove()
    assert not store.folder.exists()
