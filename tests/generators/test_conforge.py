import sys

import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, GenerationError
from openmm_confgf.evaluation.stereo import stereo_is_right
from openmm_confgf.generators import ConforgeGenerator, create_generator
from openmm_confgf.generators.conforge import relabelled
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix

LIGAND = "CC(C)C[C@H](NC(=O)/C=C/c1ccccc1)C(=O)OC"


def test_it_says_how_to_get_cdpkit(monkeypatch):
    monkeypatch.setitem(sys.modules, "CDPL", None)
    with pytest.raises(ConfGFError, match="pip install cdpkit") as caught:
        create_generator("conforge")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.fixture(scope="module")
def generator():
    pytest.importorskip("CDPL", reason="CDPKit is not installed")
    return ConforgeGenerator()


def test_samples_are_distinct_conformers_of_the_molecule_in_its_atom_order(generator):
    ensemble = generator.sample(LIGAND, 8)
    assert ensemble.counts() == {"OK": 8} and stereo_is_right(ensemble).all()
    assert ensemble.diagnostics["distinct"] == 8
    rmsd = rmsd_matrix(ensemble.graph, ensemble.positions, ensemble.positions)
    assert (rmsd + np.eye(8)).min() > 0.02  # nm; CONFORGE's own threshold is 0.03, by another way of aligning


def test_rows_beyond_what_it_finds_repeat_in_order(generator):
    ensemble = generator.sample("CCCO", 20)
    distinct = ensemble.diagnostics["distinct"]
    assert 1 < distinct < 20 and len(ensemble) == 20
    np.testing.assert_array_equal(ensemble.positions[distinct:], ensemble.positions[np.arange(distinct, 20) % distinct])
    assert len(ensemble.deduplicated(0.001)) == distinct


def test_it_is_deterministic_whatever_the_seed_and_the_other_molecules(generator):
    molecules = [MolecularGraph.from_smiles(s) for s in ("CCO", LIGAND, "OCCCCN")]
    together = dict(generator.sample_many(molecules, [4, 6, 5], seed=1))
    for i, molecule in enumerate(molecules):
        np.testing.assert_array_equal(together[i].positions, generator.sample(molecule, len(together[i]), seed=9).positions)


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H]1CC[C@@H](C)CC1",
        "C[C@H]1CC[C@H](C)CC1",
        "CN=CO[C@H]1C[C@@H](O)C1",
        "O[C@H]1C[C@@H]([C@H](C)F)C1",
        "C[C@@H](O)[C@H](F)[C@H](C)O",
        "C/C=N\\O",
    ],
)
def test_specified_stereo_is_right_in_symmetric_molecules_too(generator, smiles):
    ensemble = generator.sample(smiles, 4)
    assert ensemble.ok.all() and stereo_is_right(ensemble).all()


def test_elements_without_mmff94_parameters_and_the_smallest_molecules(generator):
    for smiles in ("OB(O)c1ccccc1", "C[Si](C)(C)C", "O", "[Cl-]", "C[N+](C)(C)CC([O-])=O"):
        assert generator.sample(smiles, 2).ok.all()


def test_what_it_cannot_embed_is_an_error_and_stops_no_others(generator):
    results = dict(generator.sample_many([MolecularGraph.from_smiles(s) for s in ("CCO", "[H][H]", "CCN")], 2))
    assert isinstance(results[1], GenerationError) and "FRAGMENT_CONF_GEN_FAILED" in str(results[1])
    assert results[0].ok.all() and results[2].ok.all()


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (1, -1)])
def test_bad_calls_are_refused_before_work_starts(generator, n, seed):
    with pytest.raises(ConfGFError, match="at least"):
        generator.sample_many([MolecularGraph.from_smiles("CCO")], n, seed=seed)


def test_relabelling_exchanges_equivalent_atoms_and_moves_none():
    graph = MolecularGraph.from_smiles("C[C@H]1CC[C@@H](C)CC1")
    right = embed_etkdg(graph, 3, 0).positions
    # the mirror image of an achiral molecule is the molecule itself with its ring's arms exchanged
    wrong = right * [1, 1, -1]
    assert not (check_conformations(graph, wrong) == 0).any()
    mended = relabelled(graph, wrong)
    assert (check_conformations(graph, mended) == 0).all()
    for before, after in zip(wrong, mended, strict=True):
        assert {tuple(row) for row in before} == {tuple(row) for row in after}
        for number in set(graph.numbers):
            assert {tuple(row) for row in before[graph.numbers == number]} == {tuple(row) for row in after[graph.numbers == number]}
    np.testing.assert_array_equal(relabelled(graph, right), right)


def test_relabelling_does_not_make_one_enantiomer_of_the_other():
    graph = MolecularGraph.from_smiles("C[C@H](O)CN")
    wrong = embed_etkdg(graph, 2, 0).positions * [1, 1, -1]
    np.testing.assert_array_equal(relabelled(graph, wrong), wrong)


def test_open_double_bonds_do_not_hide_that_the_stereo_is_right():
    graph = MolecularGraph.from_smiles("CN=CO[C@H]1C[C@@H](O)C1")
    mirrored = embed_etkdg(graph, 3, 0).positions * [1, 1, -1]
    assert Chem.MolFromSmiles(graph.smiles) is not None
    assert stereo_is_right(Ensemble(graph, mirrored, Provenance("mirror", "0"))).all()
