import dataclasses
import json

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.diagnostics import FEWEST_EFFECTIVE, diagnose
from openmm_confgf.thermodynamics.truncation import truncated


def gaussian(n, width=1.3, seed=0):
    """Unnormalised weights of exp(-x^2 / 2) drawn from a Gaussian: log Z is log sqrt(2 pi)."""
    x = width * np.random.default_rng(seed).standard_normal(n)
    return -0.5 * x**2 + 0.5 * (x / width) ** 2 + np.log(width * np.sqrt(2 * np.pi))


def test_weights_that_are_good():
    found = diagnose(gaussian(50_000))
    assert found.trusted and found.verdict.startswith("To be trusted where the generator has samples")
    assert found.k_hat < found.threshold == 0.7 and (found.n, found.n_bad, found.truncated) == (50_000, 0, 0)
    second = 1.3 / np.sqrt(2 - 1 / 1.3**2)
    assert found.ess_fraction == pytest.approx(1 / second, rel=0.01) and found.ess == pytest.approx(found.ess_fraction * 50_000)
    assert found.log_z_error == pytest.approx(np.sqrt((second - 1) / 50_000), rel=0.05)
    assert abs(found.log_z - 0.5 * np.log(2 * np.pi)) < 6 * found.log_z_error


def test_the_error_of_log_z_is_its_spread():
    found = [diagnose(gaussian(500, seed=seed)) for seed in range(300)]
    errors, spread = np.mean([one.log_z_error for one in found]), np.std([one.log_z for one in found], ddof=1)
    assert abs(spread / errors - 1) < 6 / np.sqrt(2 * 299)


def test_a_constant_moves_log_z_alone():
    one, other = diagnose(gaussian(1000)), diagnose(gaussian(1000) - 7000.0)
    assert other.log_z == pytest.approx(one.log_z - 7000, abs=1e-9)
    assert other.ess == pytest.approx(one.ess, rel=1e-9) and other.k_hat == pytest.approx(one.k_hat, abs=1e-6)


def test_above_the_threshold_there_is_no_effective_sample_size():
    found = diagnose(-1.1 * np.log(np.random.default_rng(1).random(10_000)))
    assert found.k_hat > 0.7 == found.threshold and not found.trusted
    assert found.ess is None and found.ess_fraction is None and found.log_z_error is None and np.isfinite(found.log_z)
    assert "Not to be trusted: k-hat 1." in found.verdict and "draw more" in found.verdict


def test_fewer_than_a_hundred_samples_have_no_diagnostics():
    found = diagnose(np.r_[np.zeros(99), np.full(500, -np.inf)])
    assert (found.n, found.n_bad, found.k_hat, found.threshold, found.ess, found.trusted) == (599, 500, None, None, None, False)
    assert found.verdict == "Not to be trusted: 99 samples with a weight are fewer than the 100 that k-hat needs; draw more."
    assert found.log_z == pytest.approx(np.log(99 / 599))


def test_samples_without_weight_count():
    good = gaussian(1000)
    found = diagnose(np.r_[good, np.full(1000, -np.inf)])
    alone = diagnose(good)
    assert found.n_bad == 1000 and found.ess == pytest.approx(alone.ess) and found.ess_fraction == pytest.approx(alone.ess / 2000)
    assert found.log_z == pytest.approx(alone.log_z - np.log(2)) and found.threshold == alone.threshold


def test_a_few_that_decide_are_not_trusted_though_k_hat_does_not_see_them():
    log_w = 0.1 * np.random.default_rng(2).standard_normal(20_000)
    log_w[7] = 25
    found = diagnose(log_w)
    assert found.k_hat < found.threshold and found.ess < FEWEST_EFFECTIVE and not found.trusted
    assert "worth 1.0, fewer than 50" in found.verdict


def test_truncation_is_counted_and_does_not_make_trust():
    heavy = -1.1 * np.log(np.random.default_rng(1).random(10_000))
    found, before = diagnose(heavy, truncate=0.01), diagnose(heavy)
    assert found.truncated == 100 and found.k_hat == before.k_hat and not found.trusted and found.ess is None
    assert found.log_z < before.log_z and found.verdict.endswith("100 of 10000 weights were truncated.")
    light = gaussian(10_000)
    lowered = diagnose(light, truncate=0.2)
    weights = np.exp(truncated(light, 0.2)[0])
    assert lowered.truncated == 2000 and lowered.trusted and lowered.ess == pytest.approx(weights.sum() ** 2 / np.square(weights).sum())
    assert diagnose(light, truncate=0.0) == diagnose(light)


def test_it_is_frozen_and_fits_in_json():
    found = diagnose(gaussian(200))
    assert json.loads(json.dumps(dataclasses.asdict(found)))["n"] == 200
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.ess = 5


def test_no_weights_at_all_are_refused():
    with pytest.raises(ConfGFError, match="None of 3 samples"):
        diagnose([-np.inf] * 3)
