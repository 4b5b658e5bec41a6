import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.torsion_distances import RotatableTorsions, torsion_js, torus_w2
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def two_torsions():
    """3000 and 500 samples around (3.0, -1.0) and (-3.0, -1.0) radians, which are 0.28 apart around the circle."""
    rng = np.random.default_rng(0)
    return rng.normal([3.0, -1.0], 0.05, (3000, 2)), rng.normal([-3.0, -1.0], 0.05, (500, 2))


def test_torsions_of_molecules():
    pentane = RotatableTorsions.of(MolecularGraph.from_smiles("CCCCC"))
    assert len(pentane) == 2 and pentane.orders.tolist() == [1, 1]
    biphenyl = RotatableTorsions.of(MolecularGraph.from_smiles("c1ccccc1-c1ccccc1"))
    assert len(biphenyl) == 1 and biphenyl.orders.tolist() == [2]
    ethane = RotatableTorsions.of(MolecularGraph.from_smiles("CC"))
    assert len(ethane) == 0 and ethane.angles(np.zeros((3, 8, 3))).shape == (3, 1, 0)


def test_angles_are_those_of_rdkit():
    from rdkit.Chem import rdMolTransforms

    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCCC"), 3, 1)
    torsions = RotatableTorsions.of(ensemble.graph)
    mol = ensemble.to_rdkit()
    expected = [rdMolTransforms.GetDihedralRad(c, *torsions.atoms[0].tolist()) for c in mol.GetConformers()]
    np.testing.assert_allclose(torsions.angles(ensemble.positions)[:, 0, 0], expected, atol=1e-9)
    with pytest.raises(ConfGFError, match="of 1 conformations is not defined"):
        torsions.angles(np.zeros((1, 14, 3)))


def test_the_same_samples_are_no_distance_apart(two_torsions):
    angles = two_torsions[1]
    turned = np.random.default_rng(1).permutation(angles) + np.array([2 * math.pi, -4 * math.pi])
    assert torsion_js(angles, turned).tolist() == [0, 0]
    assert torus_w2(angles, turned) == pytest.approx(0, abs=1e-6)


def test_distances_are_around_the_circle(two_torsions):
    ours, theirs = two_torsions
    js = torsion_js(ours, theirs, bins=36)
    assert js[0] > 0.6 and js[1] < 0.01
    # between Gaussians of the same width it is the distance of their means; noise of 500 samples in two dimensions is below their width
    assert torus_w2(ours, theirs) == pytest.approx(2 * math.pi - 6, abs=0.02)
    assert torus_w2(ours, theirs) == torus_w2(ours, theirs, seed=0) != torus_w2(ours, theirs, seed=2)


def test_weights_by_hand():
    """Three quarters at 0 and a quarter at 1 rad, against one half each: a quarter moves by one."""
    angles = np.array([[0.0], [1.0]])
    assert torus_w2(angles, angles, weights=[3, 1]) == pytest.approx(0.5)
    expected = 0.5 * (0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3))
    assert torsion_js(angles, angles, weights=[3, 1])[0] == pytest.approx(expected)


def test_half_a_turn_of_a_phenyl_is_none():
    ours, theirs = np.array([[0.3, 0.3]]), np.array([[0.3 - math.pi, 0.3 - math.pi]])
    np.testing.assert_allclose(torsion_js(ours, theirs, orders=[2, 1]), [0, math.log(2)], atol=1e-12)
    assert torus_w2(ours, theirs, orders=[2, 1]) == pytest.approx(math.pi)


def test_many_samples_are_thinned(two_torsions):
    ours, theirs = two_torsions
    assert torus_w2(ours, theirs, most=50) == pytest.approx(2 * math.pi - 6, abs=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "match"),
    [
        (np.zeros((3, 1)), np.zeros((3, 2)), {}, "same torsions"),
        (np.zeros(3), np.zeros(3), {}, "same torsions"),
        (np.full((3, 1), np.nan), np.zeros((3, 1)), {}, "in line"),
        (np.zeros((3, 1)), np.zeros((3, 1)), {"orders": [0]}, "at least 1"),
        (np.zeros((0, 1)), np.zeros((3, 1)), {}, "no samples"),
    ],
)
def test_bad_calls(ours, theirs, options, match):
    for function in (torsion_js, torus_w2):
        with pytest.raises(ConfGFError, match=match):
            function(ours, theirs, **options)


def test_without_torsions():
    assert torsion_js(np.zeros((3, 0)), np.zeros((2, 0))).shape == (0,)
    with pytest.raises(ConfGFError, match="no bond of the molecule turns"):
        torus_w2(np.zeros((3, 0)), np.zeros((2, 0)))
    with pytest.raises(ConfGFError, match="at least 1"):
        torsion_js(np.zeros((3, 1)), np.zeros((2, 1)), bins=0)


@pytest.mark.parametrize("smiles", ["CC(C)CCO", "CCOCC", "CC(C)CC(C)C", "OC(=O)CCC(=O)O", "CCC(CC)O"])
def test_the_numbers_of_like_atoms_do_not_matter(smiles):
    """Conformations with their heavy atoms exchanged by a symmetry of the molecule are the same to both metrics."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 40, 1)
    graph, positions = ensemble.graph, ensemble.positions.copy()
    torsions = RotatableTorsions.of(graph)
    assert len(torsions.images) > 1
    matches = [m for m in graph.mol.GetSubstructMatches(graph.mol, uniquify=False, maxMatches=5000)]
    heavy = graph.heavy_atoms
    other = next(
        np.array(m) for m in matches if (np.array(m)[heavy] != heavy).any() and (torsions.atoms != np.array(m)[torsions.atoms]).any()
    )
    exchanged = positions.copy()
    exchanged[::2] = exchanged[::2][:, other]
    ours, theirs = torsions.angles(positions), torsions.angles(exchanged)
    assert torsion_js(ours, theirs, orders=torsions.orders).max() == pytest.approx(0, abs=1e-9)
    assert torus_w2(ours, theirs, orders=torsions.orders) == pytest.approx(0, abs=1e-6)
    assert torus_w2(ours[:, 0], theirs[:, 0], orders=torsions.orders) > 1e-3


def test_mirror_images_are_not_the_same():
    """Hexan-2-ol, of which only R is drawn, and its mirror images."""
    graph = MolecularGraph.from_smiles("CCCC[C@@H](C)O")
    positions = embed_etkdg(graph, 40, 1).positions
    torsions = RotatableTorsions.of(graph)
    assert len(torsions.images) == 1
    assert torus_w2(torsions.angles(positions), torsions.angles(positions * [-1, 1, 1])) > 0.3
