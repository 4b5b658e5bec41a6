import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from scipy import integrate

from openmm_confgf.dynamics.langevin import ReplicaLangevin
from openmm_confgf.units import GAS_CONSTANT

MASSES = [12.0, 1.0]
LADDER = (300.0, 400.0, 520.0)


def springs(positions, k=1000.0):
    """Each atom on a spring to the origin."""
    return 0.5 * k * (positions**2).sum((0, 1)), -k * positions


def double_well(positions, barrier=6.0, width=0.1):
    """U = barrier ((x / width)^2 - 1)^2 along x, springs along y and z."""
    scaled = positions[0] / width
    energy = barrier * (scaled**2 - 1) ** 2
    force = torch.zeros_like(positions)
    force[0] = -barrier * 4 * scaled * (scaled**2 - 1) / width
    other = positions[1:]
    force[1:] = -1000.0 * other
    return (energy + 500.0 * (other**2).sum(0)).sum(0), force


def dynamics(energy=springs, **settings):
    settings = {"temperatures": LADDER, "timestep": 0.002, "seed": 1, "recentre": False, "exchange_interval": 10} | settings
    return ReplicaLangevin(energy, settings.pop("masses", MASSES), **settings)


def test_harmonic_oscillators_have_the_temperatures_of_the_ladder():
    md = dynamics()
    state = md.run(md.start(torch.zeros(3, 2, 3 * 2000, dtype=torch.float64)), 1500)
    # 2000 independent ladders, 2 x 3 coordinates: the variance of x^2 is 2 <x^2>^2; the integrator's positions are exact for oscillators
    squares = (state.positions**2).sum((0, 1)).numpy().reshape(-1, 3)
    for k, temperature in enumerate(LADDER):
        expected = 6 * GAS_CONSTANT * temperature / 1000.0
        sigma = np.sqrt(2 * 6) * GAS_CONSTANT * temperature / 1000.0 / np.sqrt(len(squares))
        assert abs(squares[:, k].mean() - expected) < 6 * sigma
    assert (state.accepted > 0.3 * state.attempts).all()


def test_velocities_of_free_particles_are_maxwellian():
    md = dynamics(lambda x: (x.new_zeros(x.shape[-1]), torch.zeros_like(x)), temperatures=(300.0,))
    state = md.run(md.start(torch.zeros(3, 2, 5000, dtype=torch.float64)), 20)
    temperature = md.kinetic_temperature(state)
    sigma = 300.0 * np.sqrt(2 / 6)  # six degrees of freedom
    assert abs(temperature.mean() - 300.0) < 6 * sigma / np.sqrt(5000)
    assert temperature.std() == pytest.approx(sigma, rel=6 / np.sqrt(2 * 5000))


@pytest.mark.parametrize("ladder", [(300.0,), (300.0, 420.0, 600.0)])
def test_a_double_well_has_its_analytic_averages(ladder):
    n = 3000
    md = dynamics(double_well, temperatures=ladder, masses=[12.0], friction=10.0)
    start = torch.zeros(3, 1, n * len(ladder), dtype=torch.float64)
    start[0] = 0.1 * (torch.arange(start.shape[-1]) // len(ladder) % 2 * 2 - 1)
    state = md.run(md.start(start), 6000)
    x = state.positions[0, 0].numpy().reshape(n, len(ladder))
    for k, temperature in enumerate(ladder):
        boltzmann = lambda v, power: v**power * np.exp(-6.0 * ((v / 0.1) ** 2 - 1) ** 2 / (GAS_CONSTANT * temperature))  # noqa: B023, E731
        moments = [integrate.quad(boltzmann, -0.4, 0.4, args=(p,), points=[-0.1, 0.1])[0] for p in (0, 2, 4)]
        mean, variance = moments[1] / moments[0], moments[2] / moments[0] - (moments[1] / moments[0]) ** 2
        assert abs((x[:, k] ** 2).mean() - mean) < 6 * np.sqrt(variance / n)
        assert abs((x[:, k] > 0).mean() - 0.5) < 6 * np.sqrt(0.25 / n)


@pytest.mark.parametrize("friction", [0.0, 5.0])
def test_without_noise_the_path_is_that_of_openmm(friction):
    """Close to 0 K the noise vanishes, and what remains is LangevinMiddle's own order of kicks, drifts and friction."""
    system = openmm.System()
    for mass in MASSES:
        system.addParticle(mass)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.1, 5000.0)
    system.addForce(bond)
    integrator = openmm.LangevinMiddleIntegrator(1e-20, friction, 0.002)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    rng = np.random.default_rng(3)
    positions, velocities = np.array([[0, 0, 0], [0.13, 0.02, 0]]), rng.normal(size=(2, 3))
    context.setPositions(positions)
    context.setVelocities(velocities)
    integrator.step(200)
    expected = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)

    def energy(x):
        difference = x[:, 1] - x[:, 0]
        length = difference.norm(dim=0)
        push = -5000.0 * (length - 0.1) * difference / length
        return 2500.0 * (length - 0.1) ** 2, torch.stack([-push, push], 1)

    md = dynamics(energy, temperatures=(1e-20,), friction=friction)
    state = md.start(torch.from_numpy(positions.T[..., None].copy()))
    state.velocities.copy_(torch.from_numpy(velocities.T[..., None].copy()))
    np.testing.assert_allclose(md.run(state, 200).positions[..., 0].T.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("recentre", [True, False])
def test_two_halves_are_one_whole_bit_for_bit(recentre):
    md = dynamics(recentre=recentre, exchange_interval=7)
    start = md.start(torch.zeros(3, 2, 12, dtype=torch.float64))
    whole, halves = md.run(start, 100), dynamics(recentre=recentre, exchange_interval=7).run(md.run(start, 50), 50)
    assert torch.equal(whole.positions, halves.positions) and torch.equal(whole.velocities, halves.velocities)
    assert (whole.accepted == halves.accepted).all() and whole.attempts.sum() > 0 and whole.step == halves.step == 100


def test_another_seed_is_another_path():
    start = torch.zeros(3, 2, 3, dtype=torch.float64)
    paths = [dynamics(seed=seed).run(dynamics(seed=seed).start(start), 10).positions for seed in (1, 2)]
    assert not torch.isclose(*paths).any()


def test_a_replica_that_explodes_stays_alone():
    md = dynamics()
    start = md.start(torch.zeros(3, 2, 6, dtype=torch.float64))
    spoilt = md.start(torch.zeros(3, 2, 6, dtype=torch.float64))
    spoilt.positions[0, 0, 1] = torch.nan
    clean, mixed = md.run(start, 9), md.run(spoilt, 9)  # before the first exchange the others are untouched
    others = [0, 2, 3, 4, 5]
    assert torch.equal(clean.positions[..., others], mixed.positions[..., others])
    later = md.run(mixed, 200)
    assert torch.isfinite(later.positions[..., others]).all() and not torch.isfinite(later.positions[..., 1]).all()


def test_exchanges_rescale_velocities_and_keep_all_conformations():
    def level(x):
        """Energies that fall with the temperature of the rung, so that every exchange is accepted."""
        return -x[0, 0] * 1e6, torch.zeros_like(x)

    md = dynamics(level, exchange_interval=1, masses=[1e12])
    start = md.start(torch.zeros(3, 1, 3, dtype=torch.float64))
    start.positions[0, 0] = torch.tensor([0.0, 1.0, 2.0])
    state = md.run(start, 2)  # one attempt, at step 1, of the second and the third rung
    np.testing.assert_allclose(state.positions[0, 0].numpy(), [0, 2, 1], atol=1e-3)
    assert state.attempts.tolist() == [0, 1] and state.accepted.tolist() == [0, 1]
    state = md.run(state, 1)  # at step 2, of the first and the second
    np.testing.assert_allclose(state.positions[0, 0].numpy(), [2, 0, 1], atol=1e-3)


def test_replicas_must_fill_the_ladders():
    with pytest.raises(ValueError, match="4 replicas cannot be shared out among 3 temperatures"):
        dynamics().start(torch.zeros(3, 2, 4))
