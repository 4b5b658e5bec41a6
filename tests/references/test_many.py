import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.references import ReferenceMaker, ReferenceProtocol, many, reference_ensembles


@pytest.fixture(scope="module")
def maker(toy_level):
    return ReferenceMaker(ReferenceProtocol(toy_level, starts=2))


def test_finished_molecules_are_kept_and_not_made_again(maker, tmp_path, monkeypatch):
    graphs = [MolecularGraph.from_smiles(s, name=n) for s, n in (("OCC", "ethanol"), ("C[Xe]C", "xenon"), ("CO", "methanol"))]
    made = dict(reference_ensembles(graphs, tmp_path, maker, workers=1))
    assert isinstance(made[1], ConfGFError) and "xenon" in str(made[1])
    assert [made[k].name for k in (0, 2)] == ["ethanol", "methanol"] and made[0].graph.smiles == "CCO"
    assert len(list(tmp_path.glob("*.npz"))) == 2

    asked = []
    monkeypatch.setattr(many, "work_through", lambda setup, items, *rest: asked.extend(items) or iter(()))
    renamed = [MolecularGraph.from_smiles("CCO", name="alcohol"), *graphs[1:], MolecularGraph.from_smiles("CCC", name="new")]
    again = dict(reference_ensembles(renamed, tmp_path, maker))
    assert asked == [("C[Xe]C", "xenon"), ("CCC", "new")] and set(again) == {0, 2} and again[0].name == "alcohol"
    np.testing.assert_allclose(again[0].positions, made[0].positions, atol=1e-7)


def test_damaged_files_and_those_of_other_protocols_are_not_taken(maker, tmp_path, monkeypatch):
    graph = MolecularGraph.from_smiles("CO")
    assert len(dict(reference_ensembles([graph], tmp_path, maker))) == 1
    (path,) = tmp_path.glob("*.npz")
    asked = []
    monkeypatch.setattr(many, "work_through", lambda setup, items, *rest: asked.extend(items) or iter(()))
    assert [index for index, _ in reference_ensembles([graph], tmp_path, maker)] == [0] and not asked
    other = ReferenceMaker.__new__(ReferenceMaker)
    other.protocol, other.provenance = maker.protocol, maker.provenance | {"seed": 1}
    assert list(reference_ensembles([graph], tmp_path, other)) == [] and asked == [("CO", "CO")]
    path.write_bytes(path.read_bytes()[:100])
    assert list(reference_ensembles([graph], tmp_path, maker)) == [] and len(asked) == 2


def test_a_worker_makes_what_the_library_makes(maker, tmp_path):
    graph = MolecularGraph.from_smiles("CCO")
    ((_, from_worker),) = reference_ensembles([graph], tmp_path, maker)
    here = maker.make(graph)
    np.testing.assert_array_equal(from_worker.positions, here.positions)
    np.testing.assert_array_equal(from_worker.energies, here.energies)
    (path,) = tmp_path.glob("*.npz")
    assert load_archive(path)[0].graph.smiles == "CCO"
