import numpy as np
import pytest
from openmm import unit

from openmm_confgf.errors import ConfGFError
from openmm_confgf.status import Status
from openmm_confgf.thermodynamics.log_weights import log_weights

RT = 8.31446261815324e-3 * 300  # kJ/mol


def test_by_hand():
    """log w = -U/(kT) - log q, of all rows; another stereoisomer, and what has no finite energy, weighs nothing."""
    energy = np.array([0.0, 10.0, -2.5, 40.0, np.inf, np.inf, -5.0])
    status = np.array([Status.OK, Status.OK, Status.DISTORTED, Status.CLASH, Status.NON_FINITE, Status.CLASH, Status.WRONG_STEREO])
    log_q = np.array([1.0, -2.0, 0.5, -30.0, 3.0, np.nan, 1.0])
    found = log_weights(log_q, energy, status, 300.0)
    wanted = [-1.0, -10 / RT + 2, 2.5 / RT - 0.5, -40 / RT + 30, -np.inf, -np.inf, -np.inf]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    assert found.dtype == np.float64


def test_quantities_are_what_their_numbers_are():
    kelvin, bare = 300 * unit.kelvin, log_weights([0.3], [4.184], [0], 300)
    np.testing.assert_allclose(log_weights([0.3], [1.0] * unit.kilocalorie_per_mole, [0], kelvin), bare, rtol=1e-13)


def test_nothing_is_written_to_and_no_samples_have_no_weights():
    log_q, energy, status = np.zeros(2), np.array([1.0, np.inf]), np.zeros(2, np.int8)
    for values in (log_q, energy, status):
        values.setflags(write=False)
    log_weights(log_q, energy, status, 300)
    assert log_weights([], [], [], 300).shape == (0,)


def test_weights_make_an_average_over_another_density_right():
    """A harmonic oscillator drawn from too wide a Gaussian: <x^2> = kT/k, within 6 standard errors; without the outer rows it is not."""
    spring, width, n = 500.0, 0.12, 200_000
    x = np.random.default_rng(3).normal(scale=width, size=n)
    log_q = -0.5 * (x / width) ** 2 - np.log(width * np.sqrt(2 * np.pi))
    # statuses of the rows in the tail, which decide nothing
    status = np.where(np.abs(x) > 0.1, Status.CLASH, Status.OK)
    logs = log_weights(log_q, 0.5 * spring * x**2, status, 300)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = (weights * x**2).sum()
    error = np.sqrt((weights**2 * (x**2 - mean) ** 2).sum())
    assert abs(mean - RT / spring) < 6 * error
    usable = status == Status.OK
    assert abs((weights * x**2)[usable].sum() / weights[usable].sum() - RT / spring) > 6 * error
    # the logarithm of the partition function's ratio, in closed form
    assert np.exp(logs).mean() == pytest.approx(np.sqrt(2 * np.pi * RT / spring), rel=0.01)


def test_failed_rows_are_refused_by_name():
    with pytest.raises(ConfGFError, match=r"2 of 3 samples have FAILED: .*biased; score all of them again on another platform"):
        log_weights(np.zeros(3), [1.0, np.inf, 2.0], [0, Status.FAILED, Status.FAILED], 300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, [0.0], [0], 300), "There is no log_q.*generator with a density"),
        (([0.0], None, [0], 300), "There are no energies.*score the samples"),
        (([0.0], [0.0], [0], None), "There is no temperature.*in K"),
        (([0.0], [0.0, 1.0], [0], 300), r"shapes \(1,\), \(2,\) and \(1,\)"),
        (([0.0], [0.0], [0, 0], 300), "give one value each"),
        (([[0.0]], [[0.0]], [[0]], 300), "give one value each"),
        (([0.0, 0.0], [np.nan, -np.inf], [0, 0], 300), r"2 of 2 energies are NaN or -inf"),
        (([np.nan, -np.inf, np.inf, 0.0], np.zeros(4), np.zeros(4), 300), "log_q of 3 samples with an energy is not finite"),
    ],
)
def test_bad_calls(arguments, message):
    with pytest.raises(ConfGFError, match=message):
        log_weights(*arguments)


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_a_temperature_is_finite_and_positive(temperature):
    with pytest.raises(ValueError, match="finite one above 0 K"):
        log_weights([0.0], [0.0], [0], temperature)
