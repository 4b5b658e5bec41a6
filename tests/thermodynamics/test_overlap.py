import math

import numpy as np
import pytest
from scipy.integrate import quad

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.mbar import mbar
from openmm_confgf.thermodynamics.overlap import check_overlap, overlap


def normal(x, centre):
    return math.exp(-0.5 * (x - centre) ** 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_it_is_the_integral(apart):
    exact = quad(lambda x: 2 / (1 / normal(x, 0) + 1 / normal(x, apart)), -8, 8 + apart)[0]
    x = np.random.default_rng(1).normal(apart / 2, 3.0, 40_000)
    logs = [-0.5 * (x - centre) ** 2 + 0.5 * ((x - apart / 2) / 3.0) ** 2 for centre in (0.0, apart)]
    a, b = (np.exp(one) / np.exp(one).sum() for one in logs)
    terms = 2 * a * b / (a + b)
    # by the delta method: f(a, b) = 2ab/(a + b) has the derivatives 2 b^2 / (a + b)^2 and 2 a^2 / (a + b)^2
    slopes = [(2 * (other / (a + b)) ** 2 * one).sum() for one, other in ((a, b), (b, a))]
    error = math.sqrt(np.square(terms - slopes[0] * a - slopes[1] * b).sum())
    assert abs(overlap(*logs) - exact) < max(6 * error, 1e-9)


def test_it_is_that_of_mbar_where_both_have_samples():
    stream, n = np.random.default_rng(2), 20_000
    x = np.r_[stream.normal(0, 1, n), stream.normal(1.5, 1, n)]
    reduced = np.array([0.5 * x**2, 0.5 * (x - 1.5) ** 2])
    found = mbar(reduced, (n, n))
    assert overlap(*(-reduced - found.log_mixture)) == pytest.approx(found.overlap[0, 1], rel=1e-6)


def test_what_does_not_overlap_is_refused():
    x = np.random.default_rng(0).standard_normal(2000)
    assert check_overlap(np.zeros(2000), 0.1 * x, "a and b") > 0.9
    with pytest.raises(ConfGFError, match=r"weights of a and b do not overlap \(0.0.*at least 0.03"):
        check_overlap(np.zeros(2000), 20 * x, "a and b")
    with pytest.raises(ConfGFError, match="weights of 2 and of 3 samples"):
        overlap([0.0, 0.0], [0.0, 0.0, 0.0])
