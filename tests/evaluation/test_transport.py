import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtri

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.transport import wasserstein, wasserstein_on_line

values = hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(-10, 10))


def test_a_weighted_line_by_hand():
    # quantiles: 0 up to 1/4, 4 above; of the reference 1 up to 1/2, 3 above
    expected = math.sqrt(0.25 * 1 + 0.25 * 9 + 0.5 * 1)
    assert wasserstein_on_line([4.0, 0.0], [1.0, 3.0], [3, 1]) == pytest.approx(expected)
    squares = np.subtract.outer([4.0, 0.0], [1.0, 3.0]) ** 2
    assert wasserstein(squares, np.array([0.75, 0.25])) == pytest.approx(expected)


def test_two_gaussians():
    """sqrt((m1 - m2)^2 + (s1 - s2)^2) (Peyré & Cuturi 2019, remark 2.31); the quantiles at equal steps miss a little of the tails."""
    quantiles = ndtri((np.arange(20_000) + 0.5) / 20_000)
    found = wasserstein_on_line(1.0 + 2.0 * quantiles, -2.0 + 0.5 * quantiles)
    assert found == pytest.approx(math.hypot(3.0, 1.5), rel=1e-3)


@given(values, st.floats(-5, 5))
def test_a_shift_is_as_far_as_it_is_large(numbers, shift):
    assert wasserstein_on_line(numbers + shift, numbers) == pytest.approx(abs(shift), abs=1e-6)
    assert wasserstein_on_line(numbers, numbers[::-1]) == pytest.approx(0, abs=1e-6)


@given(values, values)
def test_both_ways_agree(first, second):
    found = wasserstein_on_line(first, second)
    assert found == pytest.approx(wasserstein_on_line(second, first), abs=1e-6)
    assert found == pytest.approx(wasserstein(np.subtract.outer(first, second) ** 2), abs=1e-6)


def test_a_weight_is_a_number_of_copies():
    rng = np.random.default_rng(0)
    first, second, copies = rng.normal(size=(5, 2)), rng.normal(size=(7, 2)), np.array([1, 3, 2, 1, 4])
    squares = np.square(first[:, None] - second).sum(-1)
    assert wasserstein(squares, copies.astype(float)) == pytest.approx(wasserstein(np.repeat(squares, copies, axis=0)))
    line = wasserstein_on_line(first[:, 0], second[:, 0], copies)
    assert line == pytest.approx(wasserstein_on_line(np.repeat(first[:, 0], copies), second[:, 0]))


def test_against_all_permutations():
    squares = np.random.default_rng(1).random((6, 6))
    best = min(squares[np.arange(6), list(order)].mean() for order in itertools.permutations(range(6)))
    assert wasserstein(squares) == pytest.approx(math.sqrt(best))


def test_what_cannot_be_compared():
    with pytest.raises(ConfGFError, match="finite value"):
        wasserstein_on_line([0.0, math.inf], [0.0])
    with pytest.raises(ConfGFError, match="no samples"):
        wasserstein_on_line([], [0.0])
    with pytest.raises(ConfGFError, match="finite squared distance"):
        wasserstein(np.array([[math.nan]]))
    with pytest.raises(ConfGFError, match="give one each"):
        wasserstein(np.zeros((2, 3)), np.ones(3))
