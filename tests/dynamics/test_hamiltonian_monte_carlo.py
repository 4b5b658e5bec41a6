import math

import numpy as np
import pytest
import torch
from scipy import integrate

from openmm_confgf.dynamics.hamiltonian_monte_carlo import hamiltonian_monte_carlo
from openmm_confgf.units import kT

MASSES = [12.0, 1.0]


def springs(positions, k=1000.0):
    """Each atom on a spring to the origin."""
    return 0.5 * k * (positions**2).sum((0, 1)), -k * positions


def double_well(positions, barrier=6.0, width=0.1):
    """U = barrier ((x / width)^2 - 1)^2 of each coordinate."""
    scaled = positions / width
    return (barrier * (scaled**2 - 1) ** 2).sum((0, 1)), -barrier * 4 * scaled * (scaled**2 - 1) / width


@pytest.mark.parametrize("steps", [1, 5])
def test_a_timestep_that_distorts_dynamics_leaves_oscillators_as_they_are(steps):
    """The step is so long that velocity Verlet alone would have <x^2> wrong by a fifth."""
    n, timestep = 4000, 1.2 / math.sqrt(1000.0)  # omega dt = 1.2 of the light atom
    start = torch.zeros(3, 2, n, dtype=torch.float64)
    positions, energies, acceptance = hamiltonian_monte_carlo(
        springs, start, MASSES, 300.0, moves=400 // steps, steps=steps, timestep=timestep, seed=1
    )
    assert 0.3 < acceptance < 0.95
    for atom in range(2):
        squares = (positions[:, atom] ** 2).sum(0).numpy()
        expected = 3 * kT(300) / 1000.0
        assert abs(squares.mean() - expected) < 6 * expected * math.sqrt(2 / 3 / n)
    torch.testing.assert_close(energies, springs(positions)[0])


def test_a_double_well_has_its_analytic_averages():
    n = 4000
    start = torch.full((3, 1, n), 0.1, dtype=torch.float64)
    positions, _, acceptance = hamiltonian_monte_carlo(double_well, start, [12.0], 600.0, moves=400, steps=8, timestep=0.02, seed=2)
    assert 0.2 < acceptance < 0.99
    x = positions.numpy().ravel()
    moments = [integrate.quad(lambda v, p=p: v**p * math.exp(-6.0 * ((v / 0.1) ** 2 - 1) ** 2 / kT(600)), -0.4, 0.4)[0] for p in (0, 2, 4)]
    mean, variance = moments[1] / moments[0], moments[2] / moments[0] - (moments[1] / moments[0]) ** 2
    assert abs((x**2).mean() - mean) < 6 * math.sqrt(variance / len(x))
    assert abs((x > 0).mean() - 0.5) < 6 * math.sqrt(0.25 / len(x))


def test_trials_without_a_finite_energy_are_rejected():
    def wall(positions):
        energy, force = springs(positions)
        outside = (positions[0, 0] < 0).expand_as(energy)
        return torch.where(outside, torch.nan, energy), force

    start = torch.full((3, 2, 2000), 0.01, dtype=torch.float64)
    positions, energies, acceptance = hamiltonian_monte_carlo(wall, start, MASSES, 300.0, moves=60, steps=4, timestep=0.01, seed=3)
    assert (positions[0, 0] >= 0).all() and energies.isfinite().all() and 0.2 < acceptance < 0.9
    # half a Gaussian
    sigma = math.sqrt(kT(300) / 1000)
    x = positions[0, 0].numpy()
    assert abs(x.mean() - sigma * math.sqrt(2 / math.pi)) < 6 * sigma * math.sqrt((1 - 2 / math.pi) / len(x))


def test_the_same_seed_moves_alike_and_what_is_given_is_not_changed():
    start = torch.zeros(3, 2, 5, dtype=torch.float64)
    one, other, third = (hamiltonian_monte_carlo(springs, start, MASSES, 300.0, moves=3, seed=s)[0] for s in (4, 4, 5))
    assert torch.equal(one, other) and not torch.equal(one, third) and not start.any()


def test_no_moves_leave_everything_in_place():
    start = torch.ones(3, 2, 5, dtype=torch.float64)
    positions, energies, acceptance = hamiltonian_monte_carlo(springs, start, MASSES, 300.0, moves=0)
    assert torch.equal(positions, start) and np.isnan(acceptance) and energies.tolist() == [3000.0] * 5
