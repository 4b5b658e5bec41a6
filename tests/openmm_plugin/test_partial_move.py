"""Partial moves keep the target, alone and in water."""

import math

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from openmm_confgf.energies import create_system
from openmm_confgf.errors import ConfGFError, UnsupportedForceError
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.openmm_plugin import PartialMove
from openmm_confgf.reweighting import reweight
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency
from tests.openmm_plugin.test_generator_move import cosine, simulation_of

T = 300.0
SIZES = {"width": 32, "static_width": 16, "static_layers": 1, "pair_width": 8, "blocks": 1, "lengths": 3, "turns": 6, "bins": 30}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Weights of a network that has learnt nothing: lengths and angles of the force field, flat torsions, and some nonsense on top."""
    torch.manual_seed(0)
    network = AutoregressiveDensity(AutoregressiveConfig(**SIZES))
    for head in (network.length_head, network.second_head, network.turn_head, network.torsion_head):
        torch.nn.init.normal_(head.weight, std=0.1)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    card = Card("untrained", "AutoregressiveDensity", SIZES, "", [1, 6, 8], 3, 30, ["x"], [], {}, target=CardTarget("openff-2.2.1", T))
    save_weights(path, network, card)
    return path


@pytest.mark.parametrize("candidates", [1, 8])
def test_what_is_redrawn_has_its_distribution_given_the_rest(peroxide, peroxide_samples, untrained, candidates):
    """The torsion of this System does not depend on the rest."""
    simulation = simulation_of(peroxide, peroxide_samples.positions[0])
    generator = BoltzmannGenerator(peroxide, T, untrained)
    last = generator.prepare(MolecularGraph.from_smiles("OO")).placement.steps[3].atom
    move = PartialMove(simulation, generator, "OO", [last], candidates=candidates, seed=1)
    frames = []
    for _ in range(700):
        move.apply()
        frames.append(simulation.context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    values = cosine(np.array(frames))
    error = values.std() * math.sqrt(statistical_inefficiency(values[None]) / len(values))
    known = reweight(peroxide_samples, T).average(cosine(peroxide_samples.positions))
    assert abs(values.mean() - known.value) < 6 * math.hypot(error, known.error)
    rest = [k for k in range(4) if k != last]
    assert np.array_equal(frames[-1][rest], frames[0][rest]) and 0.05 < move.acceptance < 1
    assert statistical_inefficiency(values[None]) < (30 if candidates == 1 else 8)


def test_densities_of_parts_add_up(untrained):
    """log q of two parts together is that of the one, and of the other given the one."""
    generator = BoltzmannGenerator("openff-2.2.1", T, untrained)
    graph = MolecularGraph.from_smiles("CCCO")
    prepared = generator.prepare(graph)
    frame = prepared.draw(generator.network, 0, 0, 1)[0][0]
    later = prepared.placement.order[3:]
    some = np.isin(np.arange(len(graph)), later[::2])
    others = np.isin(np.arange(len(graph)), later[1::2])
    nothing = np.zeros((0, len(graph), 6))
    found = [prepared.redraw(generator.network, frame, chosen, nothing)[1][0] for chosen in (some, others, some | others)]
    assert found[0] + found[1] == pytest.approx(found[2], abs=1e-9)
    # two conformations that share the first three atoms differ by the rest alone
    two, log_q = prepared.redraw(generator.network, frame, some | others, np.random.default_rng(0).random((1, len(graph), 6)))
    whole = prepared.log_density(generator.network, two)
    assert np.array_equal(two[0], frame) and whole[1] - whole[0] == pytest.approx(log_q[1] - log_q[0], abs=1e-5)


@pytest.mark.slow
def test_a_tail_moves_in_water(untrained):
    graph = MolecularGraph.from_smiles("CCCO")
    generator = BoltzmannGenerator("openff-2.2.1", T, untrained)
    positions = generator.sample(graph, 1, seed=3, device="cpu").positions[0]
    forcefield = app.ForceField("tip4pew.xml")
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(forcefield, model="tip4pew", boxSize=openmm.Vec3(2, 2, 2))
    water = forcefield.createSystem(modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8)
    solute = create_system(graph, "openff-2.2.1")
    n = len(graph)
    merged, topology = merge(solute, water), app.Modeller(graph.to_topology(), positions * unit.nanometer)
    topology.add(modeller.topology, modeller.positions)
    simulation = app.Simulation(topology.topology, merged, openmm.LangevinMiddleIntegrator(T, 1, 0.001))
    simulation.context.setPeriodicBoxVectors(*modeller.topology.getPeriodicBoxVectors())
    start = np.concatenate([positions + 1.0, np.array(modeller.positions.value_in_unit(unit.nanometer))])
    simulation.context.setPositions(start)
    simulation.context.computeVirtualSites()
    simulation.minimizeEnergy(maxIterations=200)
    atoms = [step.atom for step in generator.prepare(graph).placement.steps[3:]]
    move = PartialMove(simulation, generator, graph, atoms, particles=range(n), candidates=4, seed=0)
    before = simulation.context.getState(getPositions=True).getPositions(asNumpy=True)._value
    for _ in range(5):
        move.apply()
        simulation.step(5)
    state = simulation.context.getState(getPositions=True, getEnergy=True)
    assert move.attempted == 5 and np.isfinite(state.getPotentialEnergy()._value)
    assert np.abs(state.getPositions(asNumpy=True)._value - before).max() < 2


def merge(solute, water):
    """Both in one System, without interactions between them but for what a test needs: they are in one Context."""
    system = openmm.XmlSerializer.clone(water)
    first = system.getNumParticles()
    moved = openmm.System()
    moved.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    n = solute.getNumParticles()
    for k in range(n):
        moved.addParticle(solute.getParticleMass(k))
    for k in range(first):
        moved.addParticle(system.getParticleMass(k))
        if system.isVirtualSite(k):
            site = system.getVirtualSite(k)
            parents = [n + site.getParticle(j) for j in range(3)]
            weights = [site.getWeight(j) for j in range(3)]
            moved.setVirtualSite(n + k, openmm.ThreeParticleAverageSite(*parents, *weights))
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        moved.addConstraint(n + i, n + j, length)
    both = openmm.NonbondedForce()
    both.setNonbondedMethod(openmm.NonbondedForce.PME)
    both.setCutoffDistance(0.8)
    for force, shift in ((nonbonded(solute), 0), (nonbonded(water), n)):
        for k in range(force.getNumParticles()):
            both.addParticle(*force.getParticleParameters(k))
        for k in range(force.getNumExceptions()):
            i, j, *values = force.getExceptionParameters(k)
            both.addException(shift + i, shift + j, *values)
    moved.addForce(both)
    for force in solute.getForces():
        if not isinstance(force, openmm.NonbondedForce | openmm.CMMotionRemover):
            moved.addForce(openmm.XmlSerializer.clone(force))
    return moved


def nonbonded(system):
    return next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))


class TestRefused:
    def test_atoms_that_are_placed_first(self, peroxide, peroxide_samples, untrained):
        generator = BoltzmannGenerator(peroxide, T, untrained)
        with pytest.raises(ConfGFError, match="are placed first and stay; draw the other side"):
            PartialMove(simulation_of(peroxide, peroxide_samples.positions[0]), generator, "OO", [0, 1])

    @pytest.mark.parametrize("atoms", [[], [7]])
    def test_atoms_that_are_none(self, peroxide, peroxide_samples, untrained, atoms):
        with pytest.raises(ConfGFError, match="from 0 to 3"):
            PartialMove(simulation_of(peroxide, peroxide_samples.positions[0]), BoltzmannGenerator(peroxide, T, untrained), "OO", atoms)

    def test_particles_that_are_none(self, peroxide, peroxide_samples, untrained):
        with pytest.raises(ConfGFError, match="give the particle of each"):
            simulation, generator = simulation_of(peroxide, peroxide_samples.positions[0]), BoltzmannGenerator(peroxide, T, untrained)
            PartialMove(simulation, generator, "OO", [3], particles=[0, 1, 2])

    def test_constrained_atoms(self, peroxide, peroxide_samples, untrained):
        generator = BoltzmannGenerator(peroxide, T, untrained)
        last = generator.prepare(MolecularGraph.from_smiles("OO")).placement.steps[3].atom
        system = openmm.XmlSerializer.clone(peroxide)
        system.addConstraint(int(last), 0 if last == 2 else 1, 0.097)
        with pytest.raises(UnsupportedForceError, match="are constrained"):
            PartialMove(simulation_of(system, peroxide_samples.positions[0]), generator, "OO", [last])
