import numpy as np
import pytest

from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.torsions import MOST_IMAGES, rotatable_torsions, torsion_images, torsion_orders


@pytest.mark.parametrize(
    ("smiles", "bonds"),
    [
        ("CCCC", 1),
        ("CCCCO", 2),
        ("c1ccccc1-c1ccccc1", 1),
        ("CC#CC", 0),
        ("C1CCCCC1", 0),
        ("CC", 0),
        ("CC(=O)NC", 1),
        ("CCC#CCC", 0),
        ("O", 0),
    ],
)
def test_rotatable_bonds(smiles, bonds):
    graph = MolecularGraph.from_smiles(smiles)
    torsions = rotatable_torsions(graph)
    assert torsions.shape == (bonds, 4)
    assert set(torsions.ravel()) <= set(graph.heavy_atoms)
    bonded = {tuple(pair) for pair in graph.bonds}
    for a, b, c, d in torsions:
        assert all(tuple(sorted(pair)) in bonded for pair in ((a, b), (b, c), (c, d)))


@pytest.mark.parametrize(
    ("smiles", "orders"),
    [
        ("CCCC", [1]),
        ("CCc1ccccc1", [2]),
        ("CCc1cccnc1", [1]),
        ("CCC(=O)[O-]", [2]),
        ("CCC(=O)O", [1]),
        ("CCC(F)(F)F", [3]),
        ("c1ccccc1-c1ccccc1", [2]),
        ("FC(F)(F)c1ccccc1", [6]),
        ("CCC(C)C", [1]),
    ],
)
def test_by_how_many_angles_a_torsion_is_the_same(smiles, orders):
    graph = MolecularGraph.from_smiles(smiles)
    torsions = rotatable_torsions(graph)
    assert torsion_orders(graph, torsions) == orders


@pytest.mark.parametrize(
    ("smiles", "count"),
    [("CCCO", 1), ("CCOCC", 2), ("CC(C)CCO", 2), ("CC(C)(C)CCO", 3), ("OC(=O)CC(=O)O", 2), ("CC(=O)[O-]", 1), ("c1ccccc1CC", 2)],
)
def test_images_under_exchanges_of_like_atoms(smiles, count):
    graph = MolecularGraph.from_smiles(smiles)
    torsions = rotatable_torsions(graph)
    images = torsion_images(graph, torsions)
    assert images.shape == (count, *torsions.shape)
    np.testing.assert_array_equal(images[0], torsions)


def test_molecules_with_very_many_images_have_some_of_them():
    graph = MolecularGraph.from_smiles("CC(C)CN(CC(C)C)CC(C)C")
    assert len(torsion_images(graph, rotatable_torsions(graph))) == MOST_IMAGES
