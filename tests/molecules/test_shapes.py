import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.molecules.shapes import novel_picks, shape_vectors

MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def isopentanol():
    graph = MolecularGraph.from_smiles("CC(C)CCO")
    return graph, embed_etkdg(graph, 30, seed=0).positions


def far(a, b):
    return np.linalg.norm(a - b, axis=-1)


def test_moving_a_conformation_as_a_whole_changes_nothing(isopentanol):
    graph, positions = isopentanol
    moved = positions @ Rotation.random(random_state=1).as_matrix().T + np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(shape_vectors(graph, moved), shape_vectors(graph, positions), atol=1e-9)


def test_exchanging_equivalent_atoms_changes_nothing(isopentanol):
    graph, positions = isopentanol
    swapped = positions.copy()
    swapped[:, [0, 2]] = positions[:, [2, 0]]  # the two methyl carbons
    np.testing.assert_allclose(shape_vectors(graph, swapped), shape_vectors(graph, positions), atol=1e-12)


def test_mirror_images_differ_unless_they_superpose():
    flat, bent = (MolecularGraph.from_smiles(s) for s in ("CCC", "CCCC"))
    propane, butane = embed_etkdg(flat, 1, 0).positions, embed_etkdg(bent, 40, 0).positions
    np.testing.assert_allclose(shape_vectors(flat, propane * MIRROR), shape_vectors(flat, propane), atol=1e-12)
    change = far(shape_vectors(bent, butane * MIRROR), shape_vectors(bent, butane))
    itself = rmsd_matrix(bent, butane, butane * MIRROR).diagonal()
    assert change[itself < 0.005].max() < 0.01 and change[itself > 0.03].min() > 0.03  # trans and gauche, nm


def test_vectors_of_like_conformations_are_near_and_of_unlike_ones_far(isopentanol):
    graph, positions = isopentanol
    vectors, pairs = shape_vectors(graph, positions), np.triu_indices(len(positions), 1)
    between, rmsd = far(vectors[:, None], vectors[None])[pairs], rmsd_matrix(graph, positions, positions)[pairs]
    assert np.corrcoef(between, rmsd)[0, 1] > 0.8
    assert 0.5 < between.mean() / rmsd.mean() < 2


@pytest.mark.parametrize("smiles", ["C", "CO", "O=C=O", "CCO"])
def test_the_smallest_molecules_have_vectors_too(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    vectors = shape_vectors(graph, embed_etkdg(graph, 2, 0).positions)
    assert vectors.shape[0] == 2 and vectors.shape[1] >= 1 and np.isfinite(vectors).all()


def test_picks_are_farthest_from_those_before_and_the_first_of_more_are_those_of_fewer():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 5))
    picks = novel_picks(vectors, 3)
    assert len(picks) == 20 and (picks // 3 == np.arange(20)).all()
    for k in range(1, 20):  # an independent evaluation
        nearest = [min(far(vectors[c], vectors[p]) for p in picks[:k]) for c in range(3 * k, 3 * k + 3)]
        assert picks[k] == 3 * k + np.argmax(nearest)
    np.testing.assert_array_equal(novel_picks(vectors[:30], 3), picks[:10])
    np.testing.assert_array_equal(novel_picks(vectors, 1), np.arange(60))


def test_a_row_of_nan_is_picked_only_where_there_is_no_other():
    vectors = np.arange(12.0).reshape(6, 2)
    vectors[[0, 2, 3]] = np.nan
    picks = novel_picks(vectors, 2)
    assert picks[0] == 1 and picks[1] in (2, 3) and picks[2] == 5


def test_picks_reach_more_shapes_than_the_first_ones_do():
    graph = MolecularGraph.from_smiles("CCCCCO")
    vectors = shape_vectors(graph, embed_etkdg(graph, 160, 0).positions)

    def nearest_neighbour(chosen):
        apart = far(vectors[chosen][:, None], vectors[chosen][None])
        np.fill_diagonal(apart, np.inf)
        return apart.min(1).mean()

    assert nearest_neighbour(novel_picks(vectors, 4)) > 1.3 * nearest_neighbour(np.arange(40))
