import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.fluctuations import Aligned, correlation, mean_pairwise_rmsd
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix

BODY = np.random.default_rng(0).normal(size=(30, 3))
"""Stiff and heavy with atoms, so that one that moves by a little turns nothing."""


def swinging(amplitudes, seed=None):
    """The body, and one more atom that swings along x about (3, 0, 0); turned at random with a seed."""
    frames = np.repeat(np.concatenate([BODY, [[3.0, 0.0, 0.0]]])[None], len(amplitudes), axis=0)
    frames[:, -1, 0] += amplitudes
    return frames if seed is None else frames @ Rotation.random(len(frames), random_state=seed).as_matrix()


def test_rmsf_by_hand():
    """One of 31 atoms at +-0.01: superposed, the others move by 1/31 of that and all turn a little, which the tolerance allows for."""
    ours, theirs = Aligned.of(swinging([0.01, -0.01], 1), swinging([0.03, -0.03], 2)).rmsf()
    assert ours[-1] == pytest.approx(0.01, rel=0.12) and theirs[-1] == pytest.approx(0.03, rel=0.12)
    assert ours[:-1].max() < 0.002 and correlation(ours, theirs) == pytest.approx(1, abs=1e-3)


def test_rmsf_is_mdtrajs():
    import mdtraj

    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCCCO"), 12, 1)
    heavy = ensemble.graph.heavy_atoms
    frames = ensemble.positions[:, heavy]
    aligned = Aligned.of(frames, frames)
    topology = mdtraj.Topology.from_openmm(ensemble.graph.to_topology()).subset(heavy)
    mean = np.einsum("bni->ni", aligned.reference) / len(frames)
    expected = mdtraj.rmsf(mdtraj.Trajectory(frames, topology), mdtraj.Trajectory(mean[None], topology))
    np.testing.assert_allclose(aligned.rmsf()[0], expected, atol=1e-4)


def test_an_ensemble_is_no_distance_from_itself_turned():
    frames = swinging(np.linspace(-0.1, 0.1, 9))
    same = Aligned.of(swinging(np.linspace(-0.1, 0.1, 9), 4)[::-1], frames)
    assert same.pca_w2() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(*same.rmsf(), atol=1e-9)


def test_pca_w2_by_hand():
    """Both halves of the reference at +-a, all samples at +a: half of the mass moves by 2 a, over 31 atoms."""
    found = Aligned.of(swinging([0.1] * 4, 1), swinging([0.1, -0.1] * 3, 2)).pca_w2(components=1)
    assert found == pytest.approx(math.sqrt(0.5) * 0.2 / math.sqrt(31), rel=0.06)
    # with all weight on the samples that are there in both, nothing moves
    weighted = Aligned.of(swinging([0.1] * 4, 1), swinging([0.1, -0.1] * 3, 2), reference_weights=[1, 0] * 3)
    assert weighted.pca_w2() == pytest.approx(0, abs=1e-6)


def test_many_samples_are_thinned():
    rng = np.random.default_rng(0)
    found = Aligned.of(swinging(rng.normal(0, 0.1, 500)), swinging(rng.normal(0, 0.1, 400)))
    assert found.pca_w2(most=50, seed=1) == found.pca_w2(most=50, seed=1) != found.pca_w2(most=50, seed=2)


def test_mean_pairwise_rmsd():
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCCCO"), 5, 1)
    graph, frames = ensemble.graph, ensemble.positions
    matrix = rmsd_matrix(graph, frames, frames)
    assert mean_pairwise_rmsd(graph, frames) == pytest.approx(matrix[np.triu_indices(5, 1)].mean())
    assert mean_pairwise_rmsd(graph, frames, [1, 2, 0, 0, 0]) == pytest.approx(matrix[0, 1])
    assert math.isnan(mean_pairwise_rmsd(graph, frames[:1]))
    assert mean_pairwise_rmsd(graph, np.repeat(frames[:1], 3, axis=0)) == pytest.approx(0, abs=1e-6)
    assert 0 < mean_pairwise_rmsd(graph, frames, most=3, seed=1) < matrix.max()


def test_correlations():
    x = np.array([0.3, 1.0, 2.5])
    assert correlation(x, 3 * x + 1) == pytest.approx(1) and correlation(x, -x) == pytest.approx(-1)
    assert math.isnan(correlation([1.0], [2.0])) and math.isnan(correlation([1, 1], [1, 2]))


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        (np.zeros((2, 4, 3)), np.zeros((2, 5, 3)), "same atoms of both"),
        (np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), "at least three"),
        (np.full((2, 4, 3), np.nan), np.zeros((2, 4, 3)), "not finite"),
        (np.zeros((0, 4, 3)), np.zeros((2, 4, 3)), "no samples"),
    ],
)
def test_what_cannot_be_superposed(ours, theirs, match):
    with pytest.raises(ConfGFError, match=match):
        Aligned.of(ours, theirs)


def test_what_does_not_correlate():
    for first, second in (([1, 2], [1, 2, 3]), ([1, math.nan], [1, 2])):
        with pytest.raises(ConfGFError, match="two finite ones"):
            correlation(first, second)
