"""The learned potential in Systems: an energy and its gradient, minimised and simulated."""

import copy
import importlib.util
import pickle

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate, relax
from openmm_confgf.energies import ContextEnergy
from openmm_confgf.errors import MoleculeError, UnsupportedMoleculeError, WeightsError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import learned_force, learned_system, potential_level
from openmm_confgf.openmm_plugin.graph_force import TEMPERATURE
from openmm_confgf.openmm_plugin.learned_potential import POTENTIAL, LearnedPotential, graph_and_particles
from openmm_confgf.units import kT

if importlib.util.find_spec("torchmdnet") is None:
    pytest.skip("torchmd-net is not installed", allow_module_level=True)

PLATFORMS = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
SMILES = "CCO"


@pytest.fixture(scope="module")
def start():
    return generate(SMILES, 2, generator="etkdg", seed=1)


@pytest.fixture(scope="module")
def system():
    return learned_system(SMILES)


@pytest.fixture(scope="module")
def minimum(start):
    return relax(start, potential_level())


def context_of(system, positions, integrator, platform="Reference"):
    made = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    made.setPositions(positions * unit.nanometer)
    return made


@pytest.mark.parametrize("platform", PLATFORMS)
def test_forces_are_the_gradient_on_every_platform(system, start, platform):
    x, along = start.positions[0], np.random.default_rng(0).standard_normal((9, 3))
    step = 2e-4  # above the rounding of positions in single precision
    with ContextEnergy(system, platform) as energy:
        found = energy.evaluate(x[None], forces=True)
        ahead, behind = energy.evaluate(np.stack([x + step * along, x - step * along])).energy
    assert (found.forces[0] * along).sum() == pytest.approx(-(ahead - behind) / (2 * step), rel=2e-3)


def test_minima_are_lower_and_are_stationary(system, start, minimum):
    assert minimum.counts() == {"OK": 2} and minimum.provenance.generator == f"etkdg+{POTENTIAL}"
    with ContextEnergy(system, "Reference") as energy:
        before, after = energy.evaluate(start.positions), energy.evaluate(minimum.positions, forces=True)
    assert (after.energy < before.energy).all() and np.sqrt((after.forces**2).mean()) < 10
    assert rmsd_matrix(minimum.graph, minimum.positions[:1], minimum.positions[1:])[0, 0] < 0.06


def test_nve_conserves_the_energy(system, minimum):
    """0.2 ps from 300 K: the total energy drifts by less than a hundredth of the kinetic energy, and faster with longer steps."""
    spread = {}
    for step in (0.00025, 0.0005):
        context = context_of(system, minimum.positions[0], openmm.VerletIntegrator(step))
        context.setVelocitiesToTemperature(300, 1)
        totals = []
        for _ in range(20):
            context.getIntegrator().step(round(0.2 / step / 20))
            state = context.getState(energy=True)
            totals.append((state.getPotentialEnergy() + state.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole))
        spread[step] = np.ptp(totals)
        thermal = 1.5 * 9 * kT(300)
        assert abs(np.mean(totals[10:]) - np.mean(totals[:10])) < 0.01 * thermal
    assert spread[0.00025] < spread[0.0005] < 0.05 * thermal


def test_langevin_dynamics_keep_the_molecule_and_its_temperature(system, minimum):
    context = context_of(system, minimum.positions[0], openmm.LangevinMiddleIntegrator(300, 10, 0.001))
    context.getIntegrator().setRandomNumberSeed(3)
    context.setVelocitiesToTemperature(300, 2)
    kinetic = []
    for _ in range(40):
        context.getIntegrator().step(20)
        kinetic.append(context.getState(energy=True).getKineticEnergy().value_in_unit(unit.kilojoule_per_mole))
    # 27 degrees of freedom, and 8 correlation times of 0.1 ps
    assert abs(np.mean(kinetic) / (13.5 * kT(300)) - 1) < 6 * np.sqrt(2 / 27 / 8)
    frame = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    assert rmsd_matrix(minimum.graph, minimum.positions[:1], frame[None])[0, 0] < 0.06


def test_the_temperature_is_a_parameter_that_energies_are_proportional_to(system, start):
    context = context_of(system, start.positions[0], openmm.VerletIntegrator(0.001))
    energies = []
    for kelvin in (298.15, 596.3):
        context.setParameter(TEMPERATURE, kelvin)
        energies.append(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    assert energies[1] == pytest.approx(2 * energies[0], rel=1e-12)
    assert dict(learned_force(start.graph, temperature=400 * unit.kelvin).getGlobalParameters()) == {TEMPERATURE: 400}
    with pytest.raises(ValueError, match="0.0 K"):
        learned_force(start.graph, temperature=0)


def test_a_system_is_copied_by_its_weights_name_checksum_and_molecule(system, start):
    force = LearnedPotential(*LearnedPotential.__reduce__(compute_of(start.graph))[1])
    assert force.graph.same_as(start.graph) and force.graph.name == start.graph.name
    assert len(pickle.dumps(force)) < 2000 + len(force.molecule)
    copied = copy.deepcopy(system)
    with ContextEnergy(system, "Reference") as one, ContextEnergy(copied, "Reference") as other:
        assert (one.evaluate(start.positions).energy == other.evaluate(start.positions).energy).all()


def compute_of(graph):
    from openmm_confgf.openmm_plugin.graph_force import latest_sha256, molecule_text

    return LearnedPotential(POTENTIAL, latest_sha256(POTENTIAL), molecule_text(graph))


def test_a_box_that_cuts_the_molecule_changes_nothing(system, start):
    graph, box = start.graph, 1.5 * np.eye(3)
    periodic = openmm.System()
    periodic.setDefaultPeriodicBoxVectors(*box)
    for k in range(9):
        periodic.addParticle(system.getParticleMass(k))
    periodic.addForce(learned_force(graph, periodic=True))
    torn = start.positions[0] + np.arange(9)[:, None] % 3 * np.array([1.5, 0, -1.5])
    with ContextEnergy(system, "Reference") as whole, ContextEnergy(periodic, "Reference") as cut:
        wanted, found = whole.evaluate(start.positions[0], forces=True), cut.evaluate(torn, forces=True)
    assert found.energy[0] == pytest.approx(wanted.energy[0], abs=1e-8)
    np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-6)


def test_what_the_weights_never_saw_and_other_weights_are_refused(start):
    with pytest.raises(UnsupportedMoleculeError, match="Xe|Se|never saw"):
        learned_system("C[Se]C")
    with pytest.raises(WeightsError, match="are those of a PairField"):
        learned_force(start.graph, weights="confgf")
    with pytest.raises(WeightsError, match="sha256.*make the force again"):
        LearnedPotential(POTENTIAL, "0" * 64, compute_of(start.graph).molecule)
    with pytest.raises(MoleculeError, match="no molecule"):
        LearnedPotential(POTENTIAL, compute_of(start.graph).sha256, "{}")


def test_a_topology_in_another_order_is_matched_by_its_graph(start):
    graph, other = start.graph, MolecularGraph.from_smiles("OCC")
    found, particles = graph_and_particles(other.to_topology(), None, graph)
    assert found is graph and (other.numbers[particles] == graph.numbers).all() and particles.tolist() != list(range(9))
    system = openmm.System()
    for atom in other.to_topology().atoms():
        system.addParticle(atom.element.mass)
    system.addForce(learned_force(graph, particles))
    moved = np.empty((9, 3))
    moved[particles] = start.positions[0]
    with ContextEnergy(system, "Reference") as theirs, ContextEnergy(learned_system(graph), "Reference") as ours:
        assert theirs.evaluate(moved).energy[0] == pytest.approx(ours.evaluate(start.positions[0]).energy[0], rel=1e-12)


def test_another_molecule_is_refused_and_both_orders_are_named(start):
    with pytest.raises(MoleculeError, match="C C O H H H H H H, those of the Topology C O C H H H H H H"):
        graph_and_particles(MolecularGraph.from_smiles("COC").to_topology(), None, SMILES)


def test_atoms_beside_the_molecule_are_refused(start):
    model = app.Modeller(start.graph.to_topology(), start.positions[0] * unit.nanometer)
    water = MolecularGraph.from_smiles("O")
    model.add(water.to_topology(), np.full((3, 3), 2.0) * unit.nanometer)
    with pytest.raises(MoleculeError, match="createMixedSystem"):
        graph_and_particles(model.topology, None, SMILES)
    graph, particles = graph_and_particles(model.topology, range(9), None)
    assert graph.same_as(start.graph) and particles.tolist() == list(range(9))


def test_a_topology_without_bond_orders_needs_the_molecule_or_positions(start):
    bare = app.Topology()
    residue = bare.addResidue("UNL", bare.addChain())
    atoms = [bare.addAtom(f"A{k}", app.Element.getByAtomicNumber(int(z)), residue) for k, z in enumerate(start.graph.numbers)]
    for i, j in start.graph.bonds.tolist():
        bare.addBond(atoms[i], atoms[j])
    assert graph_and_particles(bare, None, None, start.positions[0])[0].same_as(start.graph)
    assert graph_and_particles(bare, None, SMILES)[1].tolist() == list(range(9))
    with pytest.raises(MoleculeError, match="molecule="):
        graph_and_particles(bare, None, None)
