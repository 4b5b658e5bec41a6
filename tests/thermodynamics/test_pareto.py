import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.pareto import k_hat_threshold, pareto_k


@pytest.mark.parametrize("index", [0.3, 0.5, 0.7, 1.0])
def test_the_index_of_a_pareto_distribution_is_found(index):
    """The weights U^-k have the tail index k; the error of the fit to M points is (1 + k) / sqrt(M) (Zhang & Stephens 2009)."""
    n = 100_000
    log_w = -index * np.log(np.random.default_rng(4).random(n))
    assert abs(pareto_k(log_w) - index) < 6 * (1 + index) / np.sqrt(3 * np.sqrt(n))


def test_students_t_has_the_inverse_of_its_degrees_of_freedom():
    n, degrees = 400_000, 2
    weights = np.abs(np.random.default_rng(5).standard_t(degrees, n))
    assert abs(pareto_k(np.log(weights)) - 1 / degrees) < 6 * 1.5 / np.sqrt(3 * np.sqrt(n))


def test_weights_that_are_bounded_have_a_negative_one():
    """Uniform ones are -1 at their end; the prior of the fit draws small tails to 1/2."""
    assert pareto_k(np.log(np.random.default_rng(6).random(100_000))) < -0.8
    assert pareto_k(np.zeros(500)) == -np.inf
    assert pareto_k(np.r_[np.zeros(500), np.full(700, -40.0)]) == -np.inf


def test_neither_a_constant_nor_samples_without_weight_matter():
    log_w = np.random.default_rng(7).normal(size=3000)
    assert pareto_k(log_w + 1234.5) == pytest.approx(pareto_k(log_w), abs=1e-9)
    assert pareto_k(np.r_[log_w, np.full(2000, -np.inf)]) == pareto_k(log_w)


@pytest.mark.parametrize("lead", [400.0, 740.0, 2000.0])
def test_one_weight_beyond_all_others_is_no_light_tail(lead):
    log_w = np.random.default_rng(8).normal(size=1000)
    log_w[10] = lead
    assert pareto_k(log_w) > 1


def test_fewer_than_a_hundred_weights_have_none():
    assert pareto_k(np.zeros(99)) is None and pareto_k(np.r_[np.zeros(99), [-np.inf] * 100]) is None
    assert pareto_k(np.arange(100.0)) is not None
    with pytest.raises(ConfGFError, match="has a weight"):
        pareto_k([])


@pytest.mark.parametrize(("samples", "limit"), [(100, 0.5), (1000, 2 / 3), (2154, 0.69999), (10**7, 0.7)])
def test_the_threshold_is_that_of_the_paper(samples, limit):
    assert k_hat_threshold(samples) == pytest.approx(limit, abs=1e-4)
