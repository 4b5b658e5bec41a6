import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.divergence import jensen_shannon

frequencies = hnp.arrays(np.float64, 5, elements=st.floats(0, 9)).filter(lambda f: f.sum() > 1e-3)


def test_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4), m = (3/8, 5/8)
    expected = 0.5 * (0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5) + 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5))
    assert jensen_shannon([1, 1], [10, 30]) == pytest.approx(expected)


@given(frequencies, frequencies)
def test_against_scipy_and_its_bounds(first, second):
    found = jensen_shannon(first, second)
    # SciPy's is the square root, and NaN where rounding makes a hair less than 0 of it
    assert found == pytest.approx(np.nan_to_num(jensenshannon(first, second)) ** 2, abs=1e-9) and 0 <= found <= math.log(2) + 1e-12
    assert found == pytest.approx(jensen_shannon(second, first), abs=1e-12) and jensen_shannon(first, 3 * first) == pytest.approx(
        0, abs=1e-12
    )


def test_what_samples_of_one_distribution_give():
    """The mean over 2000 pairs of histograms of 200 and 500 samples in 8 classes, within six standard errors of the second order."""
    rng, shares = np.random.default_rng(0), np.arange(4, 12) / 60
    found = [jensen_shannon(rng.multinomial(200, shares), rng.multinomial(500, shares)) for _ in range(2000)]
    expected = 7 * (1 / 200 + 1 / 500) / 8
    assert abs(np.mean(found) - expected) < 6 * np.std(found) / math.sqrt(2000) + 0.02 * expected


@pytest.mark.parametrize(("first", "second"), [([1, 2], [1]), ([[1]], [[1]]), ([0, 0], [1, 1]), ([1, -1], [1, 1]), ([], [])])
def test_what_are_no_frequencies(first, second):
    with pytest.raises(ConfGFError):
        jensen_shannon(first, second)
