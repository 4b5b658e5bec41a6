"""Moves of openmmtools' samplers keep each thermodynamic state. They run with the real openmmtools, and are skipped without it."""

import copy
import math

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_confgf.energies import ContextEnergy
from openmm_confgf.errors import ConfGFError, ForceFieldError, UnsupportedForceError
from openmm_confgf.generators import HarmonicGenerator, create_generator
from openmm_confgf.openmm_plugin import GeneratorMCMCMove
from openmm_confgf.reweighting import reweight
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency

pytest.importorskip("openmmtools", reason="openmmtools is not installed")

from openmmtools import cache, mcmc, states
from openmmtools.multistate import MultiStateReporter, ReplicaExchangeSampler


@pytest.fixture
def contexts():
    return cache.ContextCache(platform=openmm.Platform.getPlatformByName("Reference"))


def sampler_of(system, positions, move, temperature=300.0):
    state = states.ThermodynamicState(system, temperature * unit.kelvin)
    return mcmc.MCMCSampler(state, states.SamplerState(positions * unit.nanometer), move)


def mean_of(values):
    return values.mean(), values.std() * math.sqrt(statistical_inefficiency(values[None]) / len(values))


@pytest.mark.parametrize("temperature", [300.0, 600.0], ids=["near", "far"])
def test_averages_are_those_of_the_state_whatever_the_generator(peroxide, peroxide_samples, contexts, temperature):
    move = GeneratorMCMCMove(HarmonicGenerator(peroxide, temperature), "OO", seed=5, device="cpu")
    assert isinstance(move, mcmc.MCMCMove)
    sampler, energies = sampler_of(peroxide, peroxide_samples.positions[0] + 0.3, move), []
    for _ in range(1500):
        sampler.run(1, context_cache=contexts)
        energies.append(sampler.sampler_state.potential_energy if move.n_accepted else None)
    found = ContextEnergy(peroxide, "Reference").evaluate(sampler.sampler_state.positions / unit.nanometer)
    kilojoules = unit.kilojoule_per_mole
    assert found.energy[0] == pytest.approx(sampler.sampler_state.potential_energy.value_in_unit(kilojoules), abs=1e-9)
    values = np.array([energy.value_in_unit(kilojoules) for energy in energies if energy is not None])
    mean, error = mean_of(values)
    known = reweight(peroxide_samples).mean_energy()
    assert abs(mean - known.value) < 6 * math.hypot(error, known.error)
    assert move.n_proposed == 1500 and (move.n_accepted > 1200 if temperature == 300 else 75 < move.n_accepted < 900)
    np.testing.assert_allclose((sampler.sampler_state.positions / unit.nanometer).mean(axis=0), peroxide_samples.positions[0].mean(0) + 0.3)
    assert np.abs(sampler.sampler_state.velocities / (unit.nanometer / unit.picosecond)).max() > 0


def test_it_goes_between_moves_of_dynamics(peroxide, peroxide_samples, contexts):
    move = GeneratorMCMCMove(HarmonicGenerator(peroxide), "OO", seed=1, device="cpu")
    dynamics = mcmc.LangevinDynamicsMove(0.5 * unit.femtosecond, 1 / unit.picosecond, n_steps=5)
    sampler = sampler_of(peroxide, peroxide_samples.positions[0], mcmc.SequenceMove([dynamics, move]))
    sampler.run(20, context_cache=contexts)
    assert sampler.move.statistics[1] == move.statistics == {"n_accepted": move.n_accepted, "n_proposed": 20}
    assert move.n_accepted > 5
    move.apply(sampler.thermodynamic_state, sampler.sampler_state)  # with openmmtools' own contexts
    assert move.n_proposed == 21


def test_replica_exchange_has_both_temperatures(peroxide, peroxide_samples, contexts, tmp_path):
    """Each replica has proposals of its own, and each state its own average."""
    move = GeneratorMCMCMove(HarmonicGenerator(peroxide, 360.0), "OO", seed=2, device="cpu")
    ladder = [states.ThermodynamicState(peroxide, t * unit.kelvin) for t in (300, 420)]
    sampler = ReplicaExchangeSampler(mcmc_moves=move, number_of_iterations=400, online_analysis_interval=None)
    sampler.sampler_context_cache = sampler.energy_context_cache = contexts
    reporter = MultiStateReporter(str(tmp_path / "run.nc"), checkpoint_interval=400)
    sampler.create(ladder, [states.SamplerState(peroxide_samples.positions[k] * unit.nanometer) for k in range(2)], reporter)
    sampler.run()
    reduced, _, _ = reporter.read_energies()
    which = reporter.read_replica_thermodynamic_states()
    reporter.close()
    for k, temperature in enumerate((300.0, 420.0)):
        rows, replicas = np.nonzero(which == k)
        values = reduced[rows, replicas, k][1:]
        mean, error = mean_of(np.asarray(values))
        samples = reweight(peroxide_samples, temperature)
        kT = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin) * temperature
        known = samples.mean_energy()
        assert abs(mean - known.value / kT) < 6 * math.hypot(error, known.error / kT)
    assert all(one.n_proposed == 400 and one.n_accepted > 50 for one in sampler.mcmc_moves)
    assert sampler.mcmc_moves[0].n_accepted != sampler.mcmc_moves[1].n_accepted
    with pytest.raises(ConfGFError, match="cannot be taken up from storage"):
        ReplicaExchangeSampler.from_storage(str(tmp_path / "run.nc"))


def test_copies_draw_samples_of_their_own(peroxide):
    move = GeneratorMCMCMove(HarmonicGenerator(peroxide), "OO", seed=3, pool=4, device="cpu")
    first, second, again = copy.deepcopy(move), copy.deepcopy(move), GeneratorMCMCMove(move.generator, "OO", seed=3, pool=4, device="cpu")
    frames = [one._proposal()[0] for one in (move, first, second, again)]
    np.testing.assert_array_equal(frames[0], frames[3])
    assert all(np.abs(frames[a] - frames[b]).max() > 1e-3 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_what_it_cannot_move(peroxide, peroxide_samples, contexts):
    with pytest.raises(ConfGFError, match="has no density"):
        GeneratorMCMCMove(create_generator("etkdg"), "OO")
    move, positions = GeneratorMCMCMove(HarmonicGenerator(peroxide), "OO", device="cpu"), peroxide_samples.positions[0]
    stiff = openmm.XmlSerializer.clone(peroxide)
    stiff.addConstraint(0, 1, 0.145)
    with pytest.raises(UnsupportedForceError, match="constraints"):
        sampler_of(stiff, positions, move).run(1, context_cache=contexts)
    other = GeneratorMCMCMove(HarmonicGenerator(peroxide), "CO", device="cpu")
    with pytest.raises(ForceFieldError):
        sampler_of(peroxide, positions, other).run(1, context_cache=contexts)
