import numpy as np
import openmm
import pytest

from openmm_confgf.dynamics.thermal_frames import TEMPERATURE, thermal_frames
from openmm_confgf.units import kT


@pytest.fixture
def springs():
    """A chain of four atoms on springs of 1e5 kJ/mol/nm^2."""
    system, force = openmm.System(), openmm.HarmonicBondForce()
    for i in range(4):
        system.addParticle(12.0)
        if i:
            force.addBond(i - 1, i, 0.15, 1e5)
    system.addForce(force)
    return system


def test_bonds_vibrate_as_at_room_temperature(springs):
    frames = thermal_frames(springs, np.arange(12.0).reshape(4, 3), 400, seed=2)
    assert frames.shape == (400, 4, 3) and len(np.unique(frames[:, 0, 0])) == 400
    stretched = np.linalg.norm(np.diff(frames, axis=1), axis=2) - 0.15
    np.testing.assert_allclose(0.5e5 * np.square(stretched).mean(), 0.5 * kT(TEMPERATURE), rtol=0.25)


def test_the_seed_decides(springs):
    start = np.arange(12.0).reshape(4, 3)
    first, again, other = (thermal_frames(springs, start, 2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_other_molecules_positions_are_refused(springs):
    with pytest.raises(ValueError, match="3 atoms"):
        thermal_frames(springs, np.zeros((3, 3)), 1)
