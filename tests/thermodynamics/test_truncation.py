import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.truncation import truncated


def test_the_largest_are_lowered_to_the_largest_of_the_others_and_counted():
    logs = np.random.default_rng(0).permutation(np.arange(1000.0))
    logs.setflags(write=False)
    lowered, count = truncated(logs, 0.003)
    assert count == 3 and lowered.max() == 996 and (lowered == 996).sum() == 4
    np.testing.assert_array_equal(lowered[logs <= 996], logs[logs <= 996])


@pytest.mark.parametrize(("fraction", "n", "count"), [(0.0, 10, 0), (0.05, 10, 0), (0.29, 100, 29), (0.999, 1000, 999), (0.1, 19, 1)])
def test_how_many_is_the_whole_part(fraction, n, count):
    assert truncated(np.arange(float(n)), fraction)[1] == count


def test_ties_with_the_bound_are_not_lowered():
    lowered, count = truncated([1.0, 1.0, 1.0, 0.0], 0.5)
    assert count == 0 and lowered.tolist() == [1, 1, 1, 0]


def test_samples_without_weight_count_among_all_and_stay_without():
    lowered, count = truncated([0.0, 1.0, 2.0, -np.inf], 0.25)
    assert count == 1 and lowered.tolist() == [0, 1, 1, -np.inf]
    with pytest.raises(ConfGFError, match="All samples with a weight are among the 3 of 4"):
        truncated([0.0, 1.0, 2.0, -np.inf], 0.75)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_fractions_that_cannot_be(fraction):
    with pytest.raises(ConfGFError, match="from 0 to below 1"):
        truncated(np.zeros(3), fraction)
