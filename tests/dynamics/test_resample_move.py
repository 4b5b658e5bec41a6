import math

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from openmm_confgf.dynamics.resample_move import resample_move
from openmm_confgf.energies import BatchedEnergy
from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import ConfGFError
from openmm_confgf.units import kT

THERMAL = kT(300)


def mean(energy, density, low, high):
    """Of an energy over exp(-energy / kT) times a density of coordinates, and its variance."""
    moments = [quad(lambda v, p=p: energy(v) ** p * density(v) * math.exp(-energy(v) / THERMAL), low, high)[0] for p in (0, 1, 2)]
    return moments[1] / moments[0], moments[2] / moments[0] - (moments[1] / moments[0]) ** 2


@pytest.fixture(scope="module")
def exact():
    """Mean and variance of the energy of peroxide at 300 K: bonds, angles and torsion are independent."""
    parts = [
        mean(lambda r, k=k, c=c: 0.5 * k * (r - c) ** 2, lambda r: r**2, c - 0.04, c + 0.04)
        for c, k in [(0.145, 2.5e5)] + 2 * [(0.097, 4e5)]
    ]
    parts += 2 * [mean(lambda t: 300 * (t - 1.75) ** 2, math.sin, 0, math.pi)]
    parts += [mean(lambda t: 5 * (1 + math.cos(2 * t)) + 4 * (1 + math.cos(t)), lambda t: 1, -math.pi, math.pi)]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def test_samples_of_the_target_come_out(peroxide, peroxide_samples, exact):
    moved = resample_move(peroxide_samples, peroxide, 2000, moves=40, seed=1)
    assert isinstance(moved, Ensemble) and len(moved) == 2000 and moved.log_q is None and moved.ok.all()
    np.testing.assert_allclose(moved.energy, BatchedEnergy(peroxide, device="cpu").evaluate(moved.positions).energy, atol=1e-6)
    average, variance = exact
    # 2000 of 3600 effective ones: both numbers have their part in the error
    assert abs(moved.energy.mean() - average) < 6 * math.sqrt(variance * (1 / 2000 + 1 / 3000))
    # copies have parted
    assert len(np.unique(moved.energy.round(9))) == 2000


def test_provenance_names_the_moves_and_diagnostics_the_weights(peroxide, peroxide_samples):
    moved = resample_move(peroxide_samples, peroxide, 50, moves=2, steps=3, timestep=0.0004, temperature=320, seed=7)
    assert moved.provenance.generator == "harmonic+resample-move" and moved.provenance.seed == peroxide_samples.provenance.seed
    wanted = {"moves": 2, "steps": 3, "timestep": 0.0004, "temperature": 320.0, "seed": 7}
    assert moved.provenance.settings["resample_move"] == wanted and moved.target.temperature == 320
    assert moved.target.system_sha256 == peroxide_samples.target.system_sha256
    assert 0.9 < moved.diagnostics["acceptance"] <= 1 and moved.diagnostics["resampled"]["n"] == 4000
    again = resample_move(peroxide_samples, peroxide, 50, moves=2, steps=3, timestep=0.0004, temperature=320, seed=7)
    np.testing.assert_array_equal(again.positions, moved.positions)


def test_bad_calls(peroxide, peroxide_samples):
    other = openmm.System()
    for k in range(4):
        other.addParticle(peroxide.getParticleMass(k))
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.145, 1e5)
    other.addForce(bond)
    with pytest.raises(ConfGFError, match="another System.*score the samples"):
        resample_move(peroxide_samples, other)
    with pytest.raises(ConfGFError, match="0 moves"):
        resample_move(peroxide_samples, peroxide, moves=0)
    with pytest.raises(ConfGFError, match="There is no log_q"):
        resample_move(peroxide_samples.replace(log_q=None), peroxide)
    with pytest.raises(ConfGFError, match="There is no temperature"):
        resample_move(peroxide_samples.replace(target=None), peroxide)
    with pytest.raises(ConfGFError, match="at least 1"):
        resample_move(peroxide_samples, peroxide, 0)
