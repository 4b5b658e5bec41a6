import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_confgf.energies import ContextEnergy, minimize
from openmm_confgf.status import Status

LENGTH, STIFFNESS = 0.15, 2e5


@pytest.fixture
def chain():
    """Three particles on two springs: the minimum is known, and 0."""
    system = openmm.System()
    springs = openmm.HarmonicBondForce()
    for i in range(3):
        system.addParticle(12.0)
        if i:
            springs.addBond(i - 1, i, LENGTH, STIFFNESS)
    system.addForce(springs)
    return system


@pytest.fixture
def stretched():
    start = np.array([[0, 0, 0], [0.2, 0, 0], [0.2, 0.11, 0]], dtype=float)
    return np.array([start, start * 1.2, start * 0.9])


def test_minima_are_those_of_the_springs(chain, stretched):
    relaxed = minimize(ContextEnergy(chain, "Reference"), stretched, tolerance=1e-3)
    assert (relaxed.status == Status.OK).all()
    lengths = np.linalg.norm(np.diff(relaxed.positions, axis=1), axis=-1)
    np.testing.assert_allclose(lengths, LENGTH, atol=1e-6)
    np.testing.assert_allclose(relaxed.energy, 0, atol=1e-6)


def test_energy_is_that_of_the_returned_positions(chain, stretched):
    with ContextEnergy(chain, "Reference") as energy:
        relaxed = minimize(energy, stretched, tolerance=1.0 * unit.kilojoule_per_mole / unit.nanometer)
        again = energy.evaluate(relaxed.positions, forces=True)
    np.testing.assert_allclose(relaxed.energy, again.energy, atol=1e-9)
    assert (np.sqrt((again.forces**2).mean(axis=(1, 2))) <= 1.0).all()


def test_the_iteration_limit_is_told(chain, stretched):
    relaxed = minimize(chain, stretched, tolerance=1e-6, max_iterations=2)
    assert (relaxed.status == Status.NOT_CONVERGED).all()
    assert np.isfinite(relaxed.energy).all()


def test_a_minimum_stays_where_it_is(chain):
    at_rest = np.array([[[0, 0, 0], [LENGTH, 0, 0], [2 * LENGTH, 0, 0]]])
    relaxed = minimize(ContextEnergy(chain, "Reference"), at_rest, max_iterations=1)
    assert relaxed.status.tolist() == [Status.OK]
    np.testing.assert_allclose(relaxed.positions, at_rest, atol=1e-9)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_bad_samples_stay_untouched(chain, stretched, platform):
    bad = stretched.copy()
    bad[1, 0, 0] = np.nan
    with ContextEnergy(chain, platform) as energy:
        clean, mixed = minimize(energy, stretched), minimize(energy, bad)
    np.testing.assert_array_equal(mixed.positions[1], bad[1])
    assert mixed.status.tolist() == [0, Status.NON_FINITE, 0] and np.isposinf(mixed.energy[1])
    np.testing.assert_array_equal(mixed.positions[::2], clean.positions[::2])
    assert np.isfinite(stretched).all()  # the input is not written to


def test_constraints_are_kept(stretched):
    system = openmm.System()
    angle = openmm.HarmonicAngleForce()
    for _ in range(3):
        system.addParticle(12.0)
    system.addConstraint(0, 1, 0.2)
    system.addConstraint(1, 2, 0.11)
    angle.addAngle(0, 1, 2, np.pi * 2 / 3, 500.0)
    system.addForce(angle)
    relaxed = minimize(ContextEnergy(system, "Reference"), stretched[:1])
    assert relaxed.status.tolist() == [Status.OK]
    lengths = np.linalg.norm(np.diff(relaxed.positions, axis=1), axis=-1)
    np.testing.assert_allclose(lengths, [[0.2, 0.11]], rtol=1e-4)


def test_bad_calls(chain, stretched):
    with pytest.raises(ValueError, match="2 atoms"):
        minimize(chain, stretched[:, :2])
    for wrong in ({"tolerance": 0}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match="positive"):
            minimize(chain, stretched, **wrong)
    assert minimize(chain, np.empty((0, 3, 3))).energy.shape == (0,)
