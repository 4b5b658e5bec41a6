import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.resampling import resample


def test_each_comes_as_often_as_its_weight_rounded_either_way():
    weights = np.random.default_rng(0).dirichlet(np.ones(50))
    for n in (7, 50, 5000):
        counts = np.bincount(resample(np.log(weights), n, seed=n), minlength=50)
        assert counts.sum() == n and (np.abs(counts - n * weights) < 1).all()


def test_on_average_it_is_its_weight_exactly():
    weights = np.array([0.07, 0.51, 0.0, 0.42])
    with np.errstate(divide="ignore"):
        log_w = np.log(weights)
    counts = np.mean([np.bincount(resample(log_w, 3, seed), minlength=4) for seed in range(4000)], axis=0)
    assert (np.abs(counts - 3 * weights) <= 6 * 0.5 / np.sqrt(4000)).all() and counts[2] == 0


def test_the_same_seed_draws_the_same_and_zero_weights_never_come():
    log_w = np.r_[-np.inf, np.random.default_rng(1).normal(size=100), -np.inf]
    chosen = resample(log_w, 1000, 5)
    np.testing.assert_array_equal(chosen, resample(log_w, 1000, 5))
    assert chosen.min() >= 1 and chosen.max() <= 100 and (np.diff(chosen) >= 0).all()
    assert resample([0.0, -np.inf], 5).tolist() == [0] * 5


def test_what_cannot_be_drawn():
    with pytest.raises(ConfGFError, match="at least 1"):
        resample([0.0], 0)
    with pytest.raises(ConfGFError, match="None of 2"):
        resample([-np.inf] * 2, 3)
