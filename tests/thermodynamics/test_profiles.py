import math

import numpy as np
import pytest
from scipy.stats import vonmises

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.profiles import torsion_profile
from openmm_confgf.units import kT


def exact(kappa, edges):
    """Free energies in kT of the bins of a von Mises density, and their probabilities."""
    shares = np.diff(vonmises.cdf(edges, kappa))
    return -np.log(shares), shares


@pytest.fixture(scope="module")
def uniform():
    return np.random.default_rng(0).uniform(-math.pi, math.pi, (100_000, 2))


def test_a_known_density_of_one_torsion(uniform):
    log_w = 2.0 * np.cos(uniform[:, 0])
    found = torsion_profile(uniform[:, 0], log_w, 330, bins=30)
    energies, shares = exact(2.0, found.edges)
    lowest = int(np.argmin(found.free_energy))
    # the zero is the lowest bin of the samples, so compare what is above the exact value of that bin
    away = found.free_energy - kT(330) * (energies - energies[lowest])
    assert (np.abs(away) < 6 * np.hypot(found.error, found.error[lowest])).all()
    assert found.free_energy.min() == 0 and found.probability.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.probability, shares, atol=6e-3)
    np.testing.assert_allclose(found.free_energy_kT * kT(330), found.free_energy)
    assert (found.low <= found.free_energy).all() and (found.free_energy <= found.high).all() and found.temperature == 330
    assert found.centres[0] == pytest.approx(-math.pi + math.pi / 30)


def test_a_known_density_of_two_torsions(uniform):
    log_w = 1.5 * np.cos(uniform[:, 0]) + 0.5 * np.cos(uniform[:, 1])
    found = torsion_profile(uniform, log_w, 300, bins=12)
    shares = exact(1.5, found.edges)[1][:, None] * exact(0.5, found.edges)[1]
    assert found.free_energy.shape == found.error.shape == (12, 12)
    # errors of ln p times p are errors of p
    assert (np.abs(found.probability - shares) < 6 * found.error / kT(300) * found.probability).all()
    one = torsion_profile(uniform[:, 0], log_w, 300, bins=12)
    np.testing.assert_allclose(found.probability.sum(axis=1), one.probability, rtol=1e-9)


def test_errors_are_those_of_counted_samples():
    """Of n samples without weights, the relative error of a share p is sqrt((1 - p) / (n p))."""
    angles = np.random.default_rng(1).uniform(-math.pi, math.pi, 4000)
    found = torsion_profile(angles, np.zeros(4000), 300, bins=4, replicates=2000)
    sigma = kT(300) * np.sqrt((1 - found.probability) / (4000 * found.probability))
    np.testing.assert_allclose(found.error, sigma, rtol=6 / np.sqrt(2 * 2000))


def test_samples_of_a_group_count_once():
    """Each sample four times over, in a group of its own: the error is that of the samples, half as large where groups are not told."""
    angles = np.random.default_rng(4).uniform(-np.pi, np.pi, 800)
    fourfold, groups = np.repeat(angles, 4), np.repeat(np.arange(800), 4)
    once, told, untold = (
        torsion_profile(values, np.zeros(len(values)), 300, bins=4, groups=of).error
        for values, of in ((angles, None), (fourfold, groups), (fourfold, None))
    )
    np.testing.assert_allclose(told, once, rtol=1e-12)
    np.testing.assert_allclose(untold, once / 2, rtol=6 * np.sqrt(2 / (2 * 400)))
    with pytest.raises(ConfGFError, match="groups of 800 samples for 3200 weights"):
        torsion_profile(fourfold, np.zeros(3200), 300, groups=groups[:800])


def test_bins_without_weight_are_infinite_and_have_no_error():
    found = torsion_profile([0.1, 0.1, 0.1, 3.0, -3.0], [0, 0, 0, -1.0, -np.inf], 300, bins=4)
    assert np.isinf(found.free_energy).tolist() == [True, True, False, False]
    for values in (found.error, found.low, found.high):
        assert np.isnan(values).tolist() == [True, True, False, False]
    # so few samples that a replicate has none of them
    assert found.error[3] == np.inf


@pytest.mark.parametrize("angle", [math.pi, -math.pi, 3 * math.pi, np.nextafter(math.pi, 0), -math.pi - 1e-17, 101 * math.pi])
def test_a_full_turn_is_none(angle):
    found = torsion_profile([angle], [0.0], 300, bins=7)
    assert found.probability[0] + found.probability[-1] == 1


def test_a_constant_in_the_energy_changes_nothing(uniform):
    log_w = np.cos(uniform[:500, 0])
    one, other = (torsion_profile(uniform[:500, 0], log_w + constant, 300, bins=5) for constant in (0, 1e4))
    np.testing.assert_allclose(other.free_energy, one.free_energy, atol=1e-8)
    np.testing.assert_allclose(other.error, one.error, rtol=1e-6)


def test_samples_without_weight_may_have_no_angle():
    assert torsion_profile([0.5, np.nan], [0.0, -np.inf], 300, bins=2).probability.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("angles", "bins", "message"),
    [
        ([0.0, np.nan], 4, "torsion of 1 samples with a weight is NaN"),
        ([0.0], 4, "for 2 weights"),
        (np.zeros((2, 3)), 4, "one torsion or two"),
        (np.zeros((2, 0)), 4, "one torsion or two"),
        ([0.0, 1.0], 0, "at least 1"),
    ],
)
def test_what_has_no_profile(angles, bins, message):
    with pytest.raises(ConfGFError, match=message):
        torsion_profile(angles, [0.0, 0.0], 300, bins=bins)
