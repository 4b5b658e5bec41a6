import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.averages import average


def draw(n, seed, width=1.3):
    """Samples of N(0, width^2), and their weights in N(0, 1)."""
    x = width * np.random.default_rng(seed).standard_normal(n)
    return x, -0.5 * x**2 + 0.5 * (x / width) ** 2


def test_moments_of_a_gaussian():
    x, log_w = draw(100_000, 0)
    found = average(np.column_stack([x, x**2, x**4]), log_w)
    assert found.value.shape == found.error.shape == found.low.shape == (3,)
    assert (np.abs(found.value - [0, 1, 3]) < 6 * found.error).all()
    assert (found.low < found.value).all() and (found.value < found.high).all() and found.level == 0.95
    one = average(x**2, log_w)
    assert isinstance(one.value, float) and one.value == pytest.approx(found.value[1], rel=1e-12)


def test_the_error_is_that_of_the_delta_method():
    x, log_w = draw(20_000, 1)
    weights = np.exp(log_w) / np.exp(log_w).sum()
    sigma = np.sqrt((weights**2 * (x**2 - 1) ** 2).sum())
    assert average(x**2, log_w, replicates=2000).error == pytest.approx(sigma, rel=6 / np.sqrt(2 * 2000))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    repeats, level = 500, 0.9
    held = 0
    for seed in range(repeats):
        x, log_w = draw(400, seed)
        found = average(x**2, log_w, level=level, replicates=200)
        held += found.low <= 1 <= found.high
    # two per cent for what a percentile interval of 400 skewed values lacks
    assert abs(held / repeats - level) < 6 * np.sqrt(level * (1 - level) / repeats) and held / repeats > level - 0.06


def test_a_constant_in_the_energy_changes_nothing():
    x, log_w = draw(1000, 2)
    one, other = average(x**2, log_w), average(x**2, log_w - 300.0)
    assert other.value == pytest.approx(one.value, rel=1e-12) and other.error == pytest.approx(one.error, rel=1e-9)


def test_the_same_seed_gives_the_same_interval():
    x, log_w = draw(1000, 3)
    assert average(x, log_w) == average(x, log_w) and average(x, log_w, seed=1) != average(x, log_w)


def test_samples_without_weight_may_have_no_value():
    found = average([1.0, 3.0, np.nan, np.inf], [0.0, 0.0, -np.inf, -np.inf])
    assert found.value == 2


def test_few_samples_have_no_finite_error_where_none_may_be_drawn():
    found = average([1.0, np.nan], [0.0, -np.inf])
    assert found.value == 1 and found.error == np.inf


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan, np.nan], "observable of 2 samples with a weight is NaN"),
        ([1.0, 2.0], "for 3 weights"),
        (5.0, "for 3 weights"),
        (np.zeros((3, 2, 2))[:2], "for 3 weights"),
    ],
)
def test_values_that_are_missing(values, message):
    with pytest.raises(ConfGFError, match=message):
        average(values, np.zeros(3))
