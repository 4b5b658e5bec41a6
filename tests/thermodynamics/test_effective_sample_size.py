import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.effective_sample_size import effective_sample_size


def gaussian_moment(power, width):
    """<w^k> of the weights p/q of N(0, 1) samples drawn from N(0, width^2): width^(k-1) / sqrt(k + (1 - k) / width^2)."""
    return width ** (power - 1) / np.sqrt(power + (1 - power) / width**2)


@pytest.mark.parametrize(("width", "dimensions"), [(1.2, 1), (1.1, 5), (1.4, 3)])
def test_of_a_gaussian_drawn_from_a_wider_one_it_is_the_analytic_one(width, dimensions):
    n = 200_000
    x = width * np.random.default_rng(1).standard_normal((n, dimensions))
    log_w = (-0.5 * x**2 + 0.5 * (x / width) ** 2 + np.log(width)).sum(axis=1)
    first, second, third, fourth = (gaussian_moment(k, width) ** dimensions for k in range(1, 5))
    # the error of m1^2 / m2 from those of the moments and their covariance
    gradient = np.array([2 / second, -1 / second**2])
    covariance = np.array([[second - 1, third - second], [third - second, fourth - second**2]]) / n
    sigma = np.sqrt(gradient @ covariance @ gradient)
    assert first == pytest.approx(1)
    assert abs(effective_sample_size(log_w) / n - 1 / second) < 6 * sigma


def test_by_hand_and_whatever_the_constant():
    logs = np.log([1.0, 2.0, 3.0, 1e-300])
    assert effective_sample_size(logs) == pytest.approx(36 / 14)
    for constant in (-2000, 1500):
        assert effective_sample_size(logs + constant) == pytest.approx(36 / 14)
    assert effective_sample_size([0.0, -800.0]) == 1


@pytest.mark.parametrize(
    ("log_w", "message"),
    [
        ([], "None of 0 samples has a weight"),
        ([-np.inf, -np.inf], "None of 2 samples has a weight.*draw others"),
        ([0.0, np.nan, np.inf], "2 of 3 logarithms of weights are NaN"),
        ([[0.0]], r"shape \(1, 1\)"),
        (0.0, r"shape \(\)"),
    ],
)
def test_what_is_no_weights_is_refused(log_w, message):
    with pytest.raises(ConfGFError, match=message):
        effective_sample_size(log_w)
