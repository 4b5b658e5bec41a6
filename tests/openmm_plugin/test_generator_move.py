"""Generator moves keep the target, whatever the generator."""

import dataclasses
import math

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import create_system, score
from openmm_confgf.energies import BatchedEnergy
from openmm_confgf.errors import ConfGFError, ForceFieldError, UnsupportedForceError
from openmm_confgf.generators import HarmonicGenerator, create_generator
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.geometry import dihedrals
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.openmm_plugin import GeneratorMove, run_with_moves
from openmm_confgf.reweighting import reweight
from openmm_confgf.status import Status
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency

T = 300.0


def simulation_of(system, positions, smiles="OO", integrator=None):
    graph = MolecularGraph.from_smiles(smiles)
    integrator = integrator or openmm.LangevinMiddleIntegrator(T, 1.0, 0.0005)
    made = app.Simulation(graph.to_topology(), system, integrator, openmm.Platform.getPlatformByName("Reference"))
    made.context.setPositions(positions * unit.nanometer)
    made.context.setVelocitiesToTemperature(T, 1)
    return made


@pytest.fixture(scope="module")
def trans(peroxide_samples):
    """cos of the torsion, and its average by weights."""
    found = reweight(peroxide_samples, T).average(cosine(peroxide_samples.positions))
    return found.value, found.error


def cosine(positions):
    import torch

    return dihedrals(torch.tensor(np.asarray(positions)), torch.tensor([[2, 0, 1, 3]]))[..., 0].cos().numpy()


@pytest.mark.filterwarnings("ignore:.*another temperature")
@pytest.mark.parametrize("temperature", [300.0, 900.0], ids=["near", "far"])
def test_averages_are_those_of_the_target_whatever_the_generator(peroxide, peroxide_samples, trans, temperature):
    """A generator of 900 K is accepted less often, and the average is the same."""
    simulation = simulation_of(peroxide, peroxide_samples.positions[0])
    move = GeneratorMove(simulation, HarmonicGenerator(peroxide, temperature), "OO", seed=5)
    run = run_with_moves(move, 3000, 0)
    values = cosine(run.positions)
    error = values.std() * math.sqrt(statistical_inefficiency(values[None]) / len(values))
    assert abs(values.mean() - trans[0]) < 6 * math.hypot(error, trans[1])
    assert move.attempted == 3000 and move.acceptance == run.accepted.mean()
    assert move.acceptance > 0.8 if temperature == T else 0.02 < move.acceptance < 0.6


class Flat(HarmonicGenerator):
    """Tells a density that is not its own."""

    def _draw_many(self, *arguments):
        for index, draws in super()._draw_many(*arguments):
            yield index, dataclasses.replace(draws, log_q=np.zeros_like(draws.log_q))

    def _log_density(self, graph, positions, device):
        return np.zeros(len(positions))


@pytest.mark.parametrize(("kind", "right"), [(HarmonicGenerator, True), (Flat, False)])
@pytest.mark.filterwarnings("ignore:.*another temperature")
def test_the_mean_energy_needs_the_density(peroxide, peroxide_samples, kind, right):
    """What the moves are accepted by: without log q samples are drawn of some 225 K instead of 300."""
    move = GeneratorMove(simulation_of(peroxide, peroxide_samples.positions[0]), kind(peroxide, 900.0), "OO", seed=5)
    values = BatchedEnergy(peroxide).evaluate(run_with_moves(move, 3000, 0).positions).energy
    error, known = (
        values.std() * math.sqrt(statistical_inefficiency(values[None]) / len(values)),
        reweight(peroxide_samples, T).mean_energy(),
    )
    assert (abs(values.mean() - known.value) < 6 * math.hypot(error, known.error)) == right


def test_moves_mix_with_dynamics(peroxide, peroxide_samples):
    simulation = simulation_of(peroxide, peroxide_samples.positions[0] + 1.5)
    move = GeneratorMove(simulation, HarmonicGenerator(peroxide, T), "OO", pool=20, seed=1)
    run = run_with_moves(move, 50, 10)
    assert simulation.currentStep == 500 and run.accepted.mean() > 0.6 and run.force_evaluations == 600
    assert run.positions.shape == (50, 4, 3) and abs(run.positions.mean() - 1.5) < 0.5  # the centre stays, but for its own motion
    assert run.round_trips((cosine(run.positions) > 0).astype(int)) >= 0
    speeds = simulation.context.getState(getVelocities=True).getVelocities(asNumpy=True)._value
    assert np.isfinite(speeds).all()


def test_a_rejected_move_changes_nothing(peroxide, peroxide_samples):
    cold = HarmonicGenerator(peroxide, T)
    simulation = simulation_of(peroxide, peroxide_samples.positions[0])
    move = GeneratorMove(simulation, cold, "OO", temperature=1.0, seed=2)  # of a target at 1 K hardly anything is accepted
    with pytest.warns(UserWarning, match="another temperature than the Simulation; averages stay right"):
        while move.apply():
            pass
    state = simulation.context.getState(getPositions=True, getVelocities=True)
    before = state.getPositions(asNumpy=True)._value.copy(), state.getVelocities(asNumpy=True)._value.copy()
    while move.apply():
        before = None
    state = simulation.context.getState(getPositions=True, getVelocities=True)
    if before is not None:
        assert np.array_equal(state.getPositions(asNumpy=True)._value, before[0])
        assert np.array_equal(state.getVelocities(asNumpy=True)._value, before[1])


class BothHands(HarmonicGenerator):
    """Half of the samples are mirror images; the density of both hands is half of that of one."""

    def _draw_many(self, molecules, counts, seed, device):
        for index, draws in super()._draw_many(molecules, counts, seed, device):
            hands = np.where(np.arange(len(draws.positions)) % 2, 1.0, -1.0)
            positions = draws.positions * np.stack([np.ones_like(hands)] * 2 + [hands], axis=1)[:, None]
            yield index, dataclasses.replace(draws, positions=positions, log_q=draws.log_q - math.log(2))


def test_the_other_hand_is_another_molecule():
    """It has the same energy, no weight, and is never moved to; log Z is that of one hand."""
    smiles = "[H][C@](F)(Cl)Br"
    system = create_system(smiles, "openff-2.2.1")
    both, one = (kind(system, T).sample(smiles, 400, seed=3, device="cpu") for kind in (BothHands, HarmonicGenerator))
    scored = [score(samples, system) for samples in (both, one)]
    assert (both.status == Status.WRONG_STEREO).sum() == 200 and scored[0].energy.max() < np.inf
    weighed = [reweight(samples, T).diagnostics for samples in scored]
    assert weighed[0].n_bad == 200
    assert abs(weighed[0].log_z - weighed[1].log_z) < 6 * math.hypot(weighed[0].log_z_error, weighed[1].log_z_error)
    move = GeneratorMove(simulation_of(system, one.positions[0], smiles), BothHands(system, T), smiles, seed=4)
    run = run_with_moves(move, 200, 0)
    assert (check_conformations(one.graph, run.positions) == Status.OK).all() and 0.3 < move.acceptance < 0.6


class TestRefused:
    def test_a_generator_without_density(self, peroxide, peroxide_samples):
        with pytest.raises(ConfGFError, match="'etkdg' has no density"):
            GeneratorMove(simulation_of(peroxide, peroxide_samples.positions[0]), create_generator("etkdg"), "OO")

    def test_a_periodic_system(self, peroxide, peroxide_samples):
        system = openmm.XmlSerializer.clone(peroxide)
        force = openmm.NonbondedForce()
        for _ in range(4):
            force.addParticle(0, 1, 0)
        force.setNonbondedMethod(openmm.NonbondedForce.PME)
        system.addForce(force)
        with pytest.raises(UnsupportedForceError, match="is periodic; moves of a whole molecule"):
            GeneratorMove(simulation_of(system, peroxide_samples.positions[0]), HarmonicGenerator(peroxide, T), "OO")

    def test_constraints(self, peroxide, peroxide_samples):
        system = openmm.XmlSerializer.clone(peroxide)
        system.addConstraint(0, 2, 0.097)
        with pytest.raises(UnsupportedForceError, match="constraints=None"):
            GeneratorMove(simulation_of(system, peroxide_samples.positions[0]), HarmonicGenerator(peroxide, T), "OO")

    def test_atoms_in_another_order(self, peroxide, peroxide_samples):
        with pytest.raises(ForceFieldError, match="particles"):
            GeneratorMove(simulation_of(peroxide, peroxide_samples.positions[0]), HarmonicGenerator(peroxide, T), "CO")

    def test_an_integrator_without_temperature(self, peroxide, peroxide_samples):
        simulation = simulation_of(peroxide, peroxide_samples.positions[0], integrator=openmm.VerletIntegrator(0.001))
        with pytest.raises(ConfGFError, match="VerletIntegrator has no temperature; give one"):
            GeneratorMove(simulation, HarmonicGenerator(peroxide, T), "OO")

    def test_no_cycle(self, peroxide, peroxide_samples):
        move = GeneratorMove(simulation_of(peroxide, peroxide_samples.positions[0]), HarmonicGenerator(peroxide, T), "OO")
        with pytest.raises(ConfGFError, match="no run"):
            run_with_moves(move, 0)
