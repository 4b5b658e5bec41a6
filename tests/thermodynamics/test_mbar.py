import logging
import math
import subprocess
import sys

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.mbar import mbar


def wells(centres, stiffness, counts, seed=0):
    """Reduced energies (K, B) of samples of harmonic wells."""
    stream = np.random.default_rng(seed)
    drawn = [stream.normal(c, k**-0.5, n) for c, k, n in zip(centres, stiffness, counts, strict=True)]
    x = np.concatenate(drawn)
    return np.array([0.5 * k * (x - c) ** 2 for c, k in zip(centres, stiffness, strict=True)])


def test_two_wells_differ_by_the_ratio_of_their_widths():
    counts = (20_000, 5000)
    found = mbar(wells((0.0, 1.0), (1.0, 9.0), counts), counts)
    assert found.errors[1] < 0.02 and abs(found.free_energies[1] - math.log(3)) < 6 * found.errors[1]
    assert found.free_energies[0] == found.errors[0] == 0
    assert 0.03 < found.overlap[0, 1] < 1 and found.overlap[0, 1] == pytest.approx(found.overlap[1, 0], rel=1e-6)


def test_a_chain_of_wells_overlaps_by_way_of_those_between():
    centres, counts = (0.0, 2.5, 5.0, 7.5), (4000,) * 4
    found = mbar(wells(centres, (1.0, 2.0, 2.0, 4.0), counts), counts)
    exact = 0.5 * np.log([1, 2, 2, 4])
    assert found.overlap[0, 3] < 0.03 < found.overlap[0, 1]
    assert (np.abs(found.free_energies - exact)[1:] < 6 * found.errors[1:]).all()


def test_the_error_is_the_spread():
    found = [mbar(wells((0.0, 1.5), (1.0, 2.0), (500, 500), seed), (500, 500)) for seed in range(200)]
    spread = np.std([one.free_energies[1] for one in found], ddof=1)
    assert spread == pytest.approx(np.mean([one.errors[1] for one in found]), rel=6 / math.sqrt(2 * 199))


def test_states_that_are_the_same_overlap_wholly_whatever_their_counts():
    found = mbar(np.zeros((2, 110)), (100, 10))
    np.testing.assert_allclose(found.overlap, 1, rtol=1e-9)
    np.testing.assert_allclose(found.free_energies, 0, atol=1e-9)


def test_samples_without_density_in_the_other_state_take_part():
    """A box of width 1 in one of width 2: ln 2, told by how many are inside."""
    stream, counts = np.random.default_rng(2), (4000, 4000)
    x = np.r_[stream.uniform(0, 2, counts[0]), stream.uniform(0, 1, counts[1])]
    found = mbar([np.zeros(8000), np.where(x < 1, 0, np.inf)], counts)
    assert abs(found.free_energies[1] - math.log(2)) < 6 * found.errors[1]


def test_the_mixture_is_the_density_of_all_samples():
    """Of normalised densities: log(sum of N_k / N times p_k) up to the error of the free energies, which are all 0."""
    stream, counts = np.random.default_rng(3), (30_000, 10_000)
    x = np.r_[stream.normal(0, 1, counts[0]), stream.normal(1, 1, counts[1])]
    densities = np.array([np.exp(-0.5 * (x - c) ** 2) / math.sqrt(2 * math.pi) for c in (0, 1)])
    found = mbar(-np.log(densities), counts)
    exact = np.log(0.75 * densities[0] + 0.25 * densities[1])
    assert np.abs(found.log_mixture - exact).max() < 6 * found.errors[1]
    assert np.log(np.mean(densities[1] / np.exp(found.log_mixture))) == pytest.approx(-found.free_energies[1], abs=1e-6)


def test_one_state_alone_has_no_difference():
    found = mbar([[0.0, 1.0, 2.0]], (3,))
    assert found.free_energies.tolist() == found.errors.tolist() == [0.0] and found.overlap == pytest.approx(1)
    np.testing.assert_allclose(found.log_mixture, [0.0, -1.0, -2.0], atol=1e-9)


@pytest.mark.parametrize("apart", [8.0, 100.0, 1e6])
def test_without_overlap_there_is_no_number(apart):
    counts = (500, 500)
    with pytest.raises(ConfGFError, match=r"states \[0\] and \[1\] do not overlap.*add states between"):
        mbar(wells((0.0, apart), (1.0, 1.0), counts), counts)


def test_without_a_common_region_there_is_no_number():
    reduced = np.zeros((3, 30))
    reduced[2, :20] = reduced[:2, 20:] = np.inf
    with pytest.raises(ConfGFError, match=r"states \[0, 1\] and \[2\] do not overlap"):
        mbar(reduced, (10, 10, 10))


@pytest.mark.parametrize(
    ("reduced", "counts", "message"),
    [
        (np.zeros((2, 5)), (2, 2), "do not fit"),
        (np.zeros((2, 5)), (5,), "do not fit"),
        (np.zeros((2, 5)), (5, 0), "at least one sample"),
        (np.zeros(5), (5,), "do not fit"),
        ([[0, np.nan], [0, 0]], (1, 1), "1 samples have a reduced energy of NaN"),
        ([[0, -np.inf], [0, 0]], (1, 1), "1 samples have a reduced energy of NaN"),
        ([[np.inf, 0], [0, 0]], (1, 1), "1 samples have no density in the state"),
    ],
)
def test_bad_calls(reduced, counts, message):
    with pytest.raises(ConfGFError, match=message):
        mbar(reduced, counts)


def test_the_notice_about_jax_is_not_shown_and_the_logger_is_left_as_it_was():
    code = (
        "import logging, numpy as np; from openmm_confgf.thermodynamics.mbar import mbar; "
        "mbar(np.zeros((2, 4)), (2, 2)); print(logging.getLogger('pymbar').level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(logging.NOTSET) and "JAX" not in done.stderr and "Warning" not in done.stderr
