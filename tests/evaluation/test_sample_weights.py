import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.sample_weights import boltzmann_weights, sample_weights, thinned
from openmm_confgf.units import GAS_CONSTANT


def test_populations_by_hand():
    found = boltzmann_weights([3.0, 0.0, math.inf], 350.0)
    ratio = math.exp(-3.0 / (GAS_CONSTANT * 350.0))
    np.testing.assert_allclose(found, [ratio / (1 + ratio), 1 / (1 + ratio), 0])
    np.testing.assert_allclose(boltzmann_weights([1003.0, 1000.0, math.inf], 350.0), found)


@pytest.mark.parametrize("weights", [[1.0], [1, -1, 1], [0, 0, 0], [1, math.nan, 1], [1, math.inf, 1]])
def test_weights_that_are_none(weights):
    with pytest.raises(ConfGFError, match="weights|Weights"):
        sample_weights(weights, 3)


def test_without_samples_there_is_nothing_to_compare():
    with pytest.raises(ConfGFError, match="no samples"):
        sample_weights(None, 0)
    with pytest.raises(ConfGFError, match="has a weight"):
        boltzmann_weights([math.inf], 300)
    with pytest.raises(ValueError, match="temperature"):
        boltzmann_weights([0.0], -1)


def test_few_are_all_kept_and_many_are_drawn():
    weights = sample_weights(np.arange(1, 11), 10)
    rows, kept = thinned(weights, 10, 0)
    assert rows.tolist() == list(range(10)) and kept is weights
    rows, kept = thinned(sample_weights(None, 10), 4, 0)
    assert len(set(rows.tolist())) == 4 and kept.tolist() == [0.25] * 4
    assert rows.tolist() == thinned(sample_weights(None, 10), 4, 0)[0].tolist() != thinned(sample_weights(None, 10), 4, 1)[0].tolist()


def test_samples_that_count_more_are_drawn_more_often():
    rows, kept = thinned(np.array([0.5, 0.0, 0.25, 0.25, 0.0]), 4, 3)
    assert rows.tolist() == [0, 0, 2, 3] and kept.tolist() == [0.25] * 4
