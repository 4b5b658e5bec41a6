"""What is attached to a Simulation works on every OpenMM platform that this machine has; a skip names why one cannot be used."""

import math

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate, read_ensembles, score
from openmm_confgf.energies import ContextEnergy, resolve_platform
from openmm_confgf.errors import PlatformError
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import GeneratorMove, HarvestReporter, PartialMove, place_conformer, run_with_moves, states
from openmm_confgf.reweighting import reweight
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency
from tests.openmm_plugin.test_partial_move import untrained  # noqa: F401

T = 300.0
ASKED = {"Precision": "mixed", "DeviceIndex": "0", "DeterministicForces": "true", "Threads": "1"}
"""Under OpenMM's names; each platform is asked for those that it has."""


@pytest.fixture(scope="module", params=["Reference", "CPU", "OpenCL", "CUDA", "HIP"])
def platform(request):
    try:
        return resolve_platform(request.param)
    except PlatformError as error:
        plugin = f"/libOpenMM{request.param}.so: "
        reasons = [text.partition(plugin)[2] for text in openmm.Platform.getPluginLoadFailures() if plugin in text]
        pytest.skip(" ".join([str(error), *reasons]))


@pytest.fixture(scope="module")
def properties(platform):
    return {name: value for name, value in ASKED.items() if name in platform.getPropertyNames()}


@pytest.fixture(scope="module")
def amide():
    return peptide(["ACE", "NME"], name="N-methylacetamide")


@pytest.fixture(scope="module")
def conformers(amide):
    return generate(amide, 3, generator="etkdg", seed=2)


def simulation_of(topology, system, positions, platform, properties):
    integrator = openmm.LangevinMiddleIntegrator(T, 5.0, 0.0005)
    integrator.setRandomNumberSeed(3)
    made = app.Simulation(topology, system, integrator, platform, properties)
    made.context.setPositions(positions * unit.nanometer)
    made.context.setVelocitiesToTemperature(T, 1)
    return made


def positions_of(simulation):
    return simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def of_peroxide(peroxide, positions, platform, properties):
    return simulation_of(MolecularGraph.from_smiles("OO").to_topology(), peroxide, positions, platform, properties)


def test_properties_reach_the_context_under_openmms_names(peroxide, peroxide_samples, platform):
    values = {
        "Precision": ("single", "mixed", "double"),
        "DeviceIndex": ("0",),
        "DeterministicForces": ("true", "false"),
        "Threads": ("1",),
    }
    with ContextEnergy(peroxide, "Reference") as reference:
        expected = reference.evaluate(peroxide_samples.positions[:20]).energy
    for name in platform.getPropertyNames():
        for value in values.get(name, ()):
            with ContextEnergy(peroxide, platform.getName(), {name: value}) as energy:
                assert energy.context.getPlatform().getPropertyValue(energy.context, name) == value
                np.testing.assert_allclose(energy.evaluate(peroxide_samples.positions[:20]).energy, expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(PlatformError, match="has no property NoSuch"):
        ContextEnergy(peroxide, platform.getName(), {"NoSuch": 1})


def test_generator_moves_keep_the_target(peroxide, peroxide_samples, platform, properties):
    simulation = of_peroxide(peroxide, peroxide_samples.positions[0], platform, properties)
    move = GeneratorMove(simulation, HarmonicGenerator(peroxide), "OO", seed=4, device="cpu")
    run = run_with_moves(move, 400, steps=3)
    with ContextEnergy(peroxide, "Reference") as reference:
        values = reference.evaluate(run.positions).energy
    error = values.std() * math.sqrt(statistical_inefficiency(values[None]) / len(values))
    known = reweight(peroxide_samples).mean_energy()
    assert abs(values.mean() - known.value) < 6 * math.hypot(error, known.error)
    assert move.acceptance > 0.6


def test_partial_moves_change_what_they_are_asked_to(peroxide, peroxide_samples, platform, properties, untrained):  # noqa: F811
    simulation = of_peroxide(peroxide, peroxide_samples.positions[0], platform, properties)
    generator = BoltzmannGenerator(peroxide, T, untrained)
    last = generator.prepare(MolecularGraph.from_smiles("OO")).placement.steps[3].atom
    move = PartialMove(simulation, generator, "OO", [last], candidates=8, seed=1, device="cpu")
    frames = []
    for _ in range(60):
        before = positions_of(simulation)
        accepted = move.apply()
        frames.append(positions_of(simulation))
        rest = [k for k in range(4) if k != last]
        np.testing.assert_allclose(frames[-1][rest], before[rest], rtol=0, atol=1e-6)
        assert accepted == (np.abs(frames[-1][last] - before[last]).max() > 1e-5)
    with ContextEnergy(peroxide, "Reference") as reference:
        assert np.median(reference.evaluate(np.array(frames[20:])).energy) < 30
    assert move.attempted == 60 and move.accepted > 10


def test_harvest_has_the_energies_of_its_frames(amide, conformers, platform, properties, tmp_path):
    system = app.ForceField("amber14-all.xml").createSystem(amide.to_topology())
    start = score(conformers[0], system, minimize=True, platform="Reference").positions[0]
    simulation = simulation_of(amide.to_topology(), system, start, platform, properties)
    reporter = HarvestReporter(tmp_path / "frames.h5", 2)
    simulation.reporters.append(reporter)
    simulation.step(10)
    reporter.close()
    (frames,) = read_ensembles(tmp_path / "frames.h5")
    with ContextEnergy(system, "Reference") as reference:
        expected = reference.evaluate(frames.positions).energy
    assert len(frames) == 5 and frames.target.temperature == T
    np.testing.assert_allclose(frames.energy, expected, rtol=1e-4, atol=0.02)


def test_states_start_where_the_conformations_are(amide, conformers, platform, properties):
    system = app.ForceField("amber14-all.xml").createSystem(amide.to_topology(), constraints=app.HBonds)
    simulation = simulation_of(amide.to_topology(), system, conformers.positions[0], platform, properties)
    made = states(conformers, simulation, seed=1)
    assert len(made) == 3
    for state in made:
        simulation.context.setState(state)
        np.testing.assert_allclose(positions_of(simulation), state.getPositions(asNumpy=True)._value, atol=1e-6)
        simulation.step(2)
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        apart = np.linalg.norm(made[2].getPositions(asNumpy=True)._value[i] - made[2].getPositions(asNumpy=True)._value[j])
        assert apart == pytest.approx(length._value, rel=1e-4)


def test_a_conformer_is_placed_beside_water(amide, conformers, peroxide, platform, properties):
    if "DeviceName" in platform.getPropertyNames():
        with ContextEnergy(peroxide, platform.getName()) as energy:
            device = platform.getPropertyValue(energy.context, "DeviceName")
        if device.startswith(("pthread", "cpu")):
            pytest.skip(f"LocalEnergyMinimizer crashes in OpenMM 8.6 where OpenCL runs on a CPU by pocl ({device})")
    model = app.Modeller(amide.to_topology(), conformers.positions[0] * unit.nanometer)
    water = app.Topology()
    residue = water.addResidue("HOH", water.addChain())
    oxygen, *hydrogens = [water.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")]
    for hydrogen in hydrogens:
        water.addBond(oxygen, hydrogen)
    there = conformers.positions[0].mean(0) + np.array([0.0, 0.0, 0.55])
    model.add(water, (there + np.array([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])) * unit.nanometer)
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    system = field.createSystem(model.topology, constraints=app.HBonds)
    placed = place_conformer(conformers[1], model.topology, model.positions, system, platform=platform.getName(), properties=properties)
    assert placed.shape == (15, 3) and np.isfinite(placed).all()
    assert np.linalg.norm(placed[12] - placed[13]) == pytest.approx(0.09572, abs=1e-5)
    assert np.linalg.norm(placed[:12].mean(0) - conformers.positions[0].mean(0)) < 0.15
    with pytest.raises(PlatformError, match="has no property NoSuch"):
        place_conformer(conformers[1], model.topology, model.positions, system, platform=platform.getName(), properties={"NoSuch": 1})
