import math

import numpy as np
import pytest
from openmm import unit
from scipy.stats import norm

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.free_energies import free_energy_between, free_energy_difference
from openmm_confgf.units import kT


def test_two_parts_of_a_gaussian_differ_as_their_integrals():
    x = 1.5 * np.random.default_rng(0).standard_normal(100_000)
    log_w = -0.5 * x**2 + 0.5 * (x / 1.5) ** 2
    exact = -kT(310) * math.log(norm.sf(2.0) / norm.cdf(0.5))
    found = free_energy_difference(x < 0.5, x > 2.0, log_w, 310)
    assert found.error < 0.1 and abs(found.value - exact) < 6 * found.error and found.low < found.value < found.high
    back = free_energy_difference(x > 2.0, x < 0.5, log_w + 99, 310 * unit.kelvin)
    assert back.value == pytest.approx(-found.value, abs=1e-9) and back.error == pytest.approx(found.error, rel=1e-6)
    # k_B T of the counted errors of both shares, were the weights equal to those of the target
    assert free_energy_difference(x < 0.5, x < 0.5, log_w, 310).value == 0


def test_too_few_samples_in_a_state_have_an_infinite_error():
    mask = np.zeros(50, bool)
    mask[3] = True
    found = free_energy_difference(~mask, mask, np.zeros(50), 300)
    assert found.value == pytest.approx(kT(300) * math.log(49)) and found.error == np.inf and found.high == np.inf


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True, False], [False, False], "No sample with a weight is in the second state"),
        ([True, False], [False, True], "No sample with a weight is in the second state"),  # there is one, of weight zero
        ([0, 1], [False, True], "first state is int64"),
        ([True], [True, True], r"first state is bool of shape \(1,\)"),
    ],
)
def test_states_that_are_none(first, second, message):
    with pytest.raises(ConfGFError, match=message):
        free_energy_difference(first, second, [0.0, -np.inf], 300)


def test_the_difference_of_two_springs_is_the_ratio_of_their_widths():
    x = np.random.default_rng(4).standard_normal(20_000)
    found = free_energy_between(-0.5 * x**2, -1.5 * x**2, 300)
    # the targets have the stiffness 2 and 4
    assert found.error < 0.05 and abs(found.value - 0.5 * kT(300) * math.log(2)) < 6 * found.error
    back = free_energy_between(-1.5 * x**2, -0.5 * x**2, 300)
    assert back.value == pytest.approx(-found.value) and back.error == pytest.approx(found.error)


def test_the_error_of_a_difference_is_its_spread():
    stream = np.random.default_rng(5)
    found = [free_energy_between(np.zeros(400), -0.5 * stream.standard_normal(400) ** 2, 300) for _ in range(200)]
    spread = np.std([one.value for one in found], ddof=1)
    # 200 values tell a spread to 5 %, and the bootstrap of 400 samples is as good
    assert spread == pytest.approx(np.mean([one.error for one in found]), rel=6 / math.sqrt(2 * 199))


def test_targets_of_different_samples_have_no_difference():
    with pytest.raises(ConfGFError, match="weights of 2 and of 3 samples"):
        free_energy_between([0.0, 0.0], [0.0, 0.0, 0.0], 300)
