import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.distance_distributions import distance_mmd, distance_pairs, squared_mmd
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph


def published(x, y):
    """As ConfGF's code computes it: five kernels of a matrix of both, means over blocks."""
    both = np.concatenate([x, y])
    squares = np.square(both[None] - both[:, None]).sum(2)
    scale = squares.sum() / (len(both) ** 2 - len(both)) / 4
    kernel = sum(np.exp(-squares / (scale * 2**i)) for i in range(5))
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_it_is_the_published_one(columns):
    rng = np.random.default_rng(columns)
    x, y = rng.normal(0, 1, (8, columns)), rng.normal(0.5, 2, (11, columns))
    assert squared_mmd(x, y) == pytest.approx(published(x, y), rel=1e-9)
    assert squared_mmd(x, y) == pytest.approx(squared_mmd(y, x)) and squared_mmd(7 * x, 7 * y) == pytest.approx(squared_mmd(x, y))


def test_the_same_samples_and_weights_by_hand():
    x = np.array([[0.0], [1.0]])
    assert squared_mmd(x, x[::-1]) == pytest.approx(0, abs=1e-12) and squared_mmd(x, x, [1, 0], [1, 0]) == 0
    assert squared_mmd(np.ones((3, 1)), np.ones((2, 1))) == 0
    # weights 1, 0 against 0, 1: 2 (5 - k), and s = 2/3, since four of six pairs of different samples are 1 apart
    kernel = sum(math.exp(-1.5 / 2**j) for j in (-2, -1, 0, 1, 2))
    assert squared_mmd(x, x, [1, 0], [0, 1]) == pytest.approx(2 * (5 - kernel))


def test_what_samples_of_one_distribution_give():
    rng, found, kernel = np.random.default_rng(0), [], []
    for _ in range(300):
        x, y = rng.normal(size=(20, 1)), rng.normal(size=(30, 1))
        found.append(squared_mmd(x, y))
        squares = np.square(x - y.T)
        kernel.append(sum(np.exp(-squares / (2.0 * 2.0**j)).mean() for j in (-2, -1, 0, 1, 2)))
    # s is about 2, the mean square of the difference of two normal numbers
    expected = (1 / 20 + 1 / 30) * (5 - np.mean(kernel))
    assert np.mean(found) == pytest.approx(expected, abs=6 * np.std(found) / math.sqrt(300) + 0.02 * expected)


def test_distances_are_those_within_three_bonds_of_heavy_atoms():
    graph = MolecularGraph.from_smiles("CCCCC")
    assert distance_pairs(graph).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]]


def test_of_a_molecule():
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCCCO"), 30, 1)
    graph, frames = ensemble.graph, ensemble.positions
    same = distance_mmd(graph, frames, frames[::-1])
    assert max(same.single, same.pair, same.all) < 1e-9
    stretched = distance_mmd(graph, 1.2 * frames, frames)
    assert min(stretched.single, stretched.pair, stretched.all) > 0.3
    pairs = distance_pairs(graph)
    lengths = np.linalg.norm(frames[:, pairs[:, 0]] - frames[:, pairs[:, 1]], axis=-1)
    assert stretched.all == pytest.approx(published(1.2 * lengths, lengths))
    assert stretched.single == pytest.approx(np.mean([published(1.2 * lengths[:, [k]], lengths[:, [k]]) for k in range(len(pairs))]))
    assert distance_mmd(graph, 1.2 * frames, frames, most=10, seed=1).all == distance_mmd(graph, 1.2 * frames, frames, most=10, seed=1).all


def test_bad_calls():
    with pytest.raises(ConfGFError, match="same of the samples"):
        squared_mmd(np.zeros((2, 1)), np.zeros((2, 2)))
    with pytest.raises(ConfGFError, match="not finite"):
        squared_mmd(np.full((2, 1), np.nan), np.zeros((2, 1)))
    with pytest.raises(ConfGFError, match="fewer than two distances"):
        distance_mmd(MolecularGraph.from_smiles("CO"), np.zeros((1, 6, 3)), np.zeros((1, 6, 3)))
