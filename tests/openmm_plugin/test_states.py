import builtins
import sys

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate
from openmm_confgf.energies import ContextEnergy
from openmm_confgf.ensemble import Ensemble, Provenance, Target
from openmm_confgf.errors import ConfGFError, GenerationError, MoleculeError, WrongTypeError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import sampler_states, states, write_states
from openmm_confgf.status import Status
from openmm_confgf.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def amide():
    return peptide(["ACE", "NME"], name="N-methylacetamide")


@pytest.fixture(scope="module")
def ensemble(amide):
    made = generate(amide, 6, generator="etkdg", seed=2)
    energy = np.array([4.0, 1.0, 3.0, 2.0, 0.0, 5.0])
    return made.replace(energy=energy, status=np.where(energy == 0, Status.CLASH, made.status))


@pytest.fixture
def simulation(amide):
    system = app.ForceField("amber14-all.xml").createSystem(amide.to_topology(), constraints=app.HBonds)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setConstraintTolerance(1e-7)
    return app.Simulation(amide.to_topology(), system, integrator, openmm.Platform.getPlatform("Reference"))


def positions_of(state):
    return state.getPositions(asNumpy=True)._value


def worst_constraint(system, positions):
    """The largest relative deviation from a constrained length."""
    lengths = [system.getConstraintParameters(k) for k in range(system.getNumConstraints())]
    return max(abs(np.linalg.norm(positions[i] - positions[j]) / d._value - 1) for i, j, d in lengths)


def test_usable_conformations_come_lowest_first_and_in_turn(ensemble, simulation):
    made = states(ensemble, simulation, 7)
    assert len(states(ensemble, simulation)) == 5
    for state, index in zip(made, [1, 3, 2, 0, 5, 1, 3], strict=True):
        np.testing.assert_allclose(positions_of(state), ensemble.positions[index], atol=0.01)  # what constraints move
        assert worst_constraint(simulation.system, positions_of(state)) < 1e-6
    np.testing.assert_array_equal(positions_of(made[0]), positions_of(made[5]))
    assert not np.allclose(made[0].getVelocities(asNumpy=True)._value, made[5].getVelocities(asNumpy=True)._value)


def test_the_seed_decides_and_the_simulation_is_left_as_it_was(ensemble, simulation):
    simulation.context.setPositions(ensemble.positions[3])
    simulation.context.setVelocitiesToTemperature(200, 5)
    simulation.step(3)
    before = openmm.XmlSerializer.serialize(simulation.context.getState(positions=True, velocities=True, parameters=True))
    first, again, other = (states(ensemble, simulation, 2, seed) for seed in (1, 1, 2))
    texts = [[openmm.XmlSerializer.serialize(state) for state in made] for made in (first, again, other)]
    assert texts[0] == texts[1] and texts[0][0] != texts[2][0]
    after = openmm.XmlSerializer.serialize(simulation.context.getState(positions=True, velocities=True, parameters=True))
    assert after == before and simulation.currentStep == 3


def test_velocities_have_the_temperature(ensemble, simulation):
    degrees = 3 * 12 - simulation.system.getNumConstraints()
    kinetic = []
    for state in states(ensemble, simulation, 200, temperature=400 * unit.kelvin):
        simulation.context.setState(state)
        kinetic.append(simulation.context.getState(energy=True).getKineticEnergy()._value)
    mean = 2 * np.mean(kinetic) / (degrees * GAS_CONSTANT)
    # the variance of a kinetic temperature of f degrees of freedom is 2 T^2 / f; Langevin's middle scheme has half a step of forces besides
    assert mean == pytest.approx(400, abs=6 * 400 * np.sqrt(2 / degrees / 200))


def test_replica_exchange_takes_them(ensemble, simulation):
    simulation.context.setPositions(ensemble.positions[0])
    sampler = app.ReplicaExchangeSampler([{"temperature": t * unit.kelvin} for t in (300, 350, 400)], simulation, 5)
    sampler.replicaConformation = states(ensemble, simulation, 3)
    starts = [positions_of(state) for state in sampler.replicaConformation]
    sampler.simulate(2)
    for start, state in zip(starts, sampler.replicaConformation, strict=True):
        assert 0 < np.abs(positions_of(state) - start).max() < 0.1


@pytest.mark.filterwarnings("ignore:.*not.*trusted|.*effective|.*samples")
def test_weighted_ensembles_are_resampled(ensemble, simulation):
    log_w = np.log([0.5, 0.25, 0.25, 0, 0, 0], where=[True] * 3 + [False] * 3, out=np.full(6, -np.inf))
    energy = -GAS_CONSTANT * 300 * np.where(np.isfinite(log_w), log_w, -500)
    weighted = ensemble.replace(log_q=np.zeros(6), energy=energy, target=Target(None, None, 300.0))
    made = states(weighted, simulation, 8, seed=4)
    nearest = [int(np.abs(ensemble.positions - positions_of(state)).max((1, 2)).argmin()) for state in made]
    assert nearest == [0] * 4 + [1] * 2 + [2] * 2
    assert len(states(weighted, simulation)) == 6


def test_another_order_of_atoms_is_matched(ensemble, simulation):
    smiles = MolecularGraph.from_smiles("CC(=O)NC")
    of_smiles = generate(smiles, 2, generator="etkdg", seed=1)
    made = states(of_smiles, simulation)
    with ContextEnergy(simulation.system, "Reference") as energy:
        assert (energy.evaluate([positions_of(state) for state in made]).energy < 200).all()


def test_virtual_sites_are_where_their_atoms_put_them():
    field = app.ForceField("tip4pew.xml")
    water = generate("O", 1, generator="etkdg")
    bare = app.Modeller(water.graph.to_topology(), water.positions[0] * unit.nanometer)
    next(bare.topology.residues()).name = "HOH"  # which is what rigidWater looks at
    bare.addExtraParticles(field)
    system = field.createSystem(bare.topology, rigidWater=True)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    simulation = app.Simulation(bare.topology, system, integrator, openmm.Platform.getPlatform("Reference"))
    (state,) = states(water, simulation)
    oxygen, first, second, site = positions_of(state)
    assert worst_constraint(system, positions_of(state)) < 1e-4
    kept = system.getVirtualSite(3)
    np.testing.assert_allclose(site, sum(kept.getWeight(k) * at for k, at in enumerate((oxygen, first, second))), atol=1e-9)


def test_files_are_loaded_by_openmm(ensemble, simulation, tmp_path):
    made = states(ensemble, simulation, 2)
    files = write_states(made, tmp_path / "states")
    assert [file.name for file in files] == ["state-000.xml", "state-001.xml"]
    simulation.loadState(str(files[1]))
    found = simulation.context.getState(positions=True, velocities=True)
    np.testing.assert_allclose(positions_of(found), positions_of(made[1]), atol=1e-12)
    simulation.step(2)


def test_what_cannot_be_started_is_refused(ensemble, simulation, amide):
    with pytest.raises(WrongTypeError, match="states takes an Ensemble, not an ndarray|states takes an Ensemble, not a"):
        states(ensemble.positions, simulation)
    with pytest.raises(ConfGFError, match="give at least 1"):
        states(ensemble, simulation, 0)
    with pytest.raises(MoleculeError, match="No molecule of the Topology is 'CCO'"):
        states(generate("CCO", 1, generator="etkdg"), simulation)
    with pytest.raises(GenerationError, match="no usable conformation"):
        states(ensemble.replace(status=np.full(6, Status.CLASH)), simulation)
    on_top = np.zeros((1, 12, 3))
    with pytest.raises(GenerationError, match="no finite energy"):
        states(Ensemble(amide, on_top, Provenance("test", "0")), simulation)
    verlet = app.Simulation(
        simulation.topology, simulation.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference")
    )
    with pytest.raises(ConfGFError, match="give temperature="):
        states(ensemble, verlet)
    assert len(states(ensemble, verlet, temperature=300)) == 5
    both = app.Modeller(simulation.topology, ensemble.positions[0] * unit.nanometer)
    ions = app.Topology()
    ions.addAtom("CL", app.element.chlorine, ions.addResidue("CL", ions.addChain()))
    both.add(ions, [[2, 2, 2]] * unit.nanometer)
    system = app.ForceField("amber14-all.xml", "amber14/tip3p.xml").createSystem(both.topology)
    more = app.Simulation(both.topology, system, openmm.LangevinMiddleIntegrator(300, 1, 0.001), openmm.Platform.getPlatform("Reference"))
    with pytest.raises(MoleculeError, match="1 particles besides 'N-methylacetamide'; place_conformer"):
        states(ensemble, more)


def test_an_andersen_thermostat_tells_the_temperature(ensemble, simulation, amide):
    system = openmm.XmlSerializer.clone(simulation.system)
    system.addForce(openmm.AndersenThermostat(310, 1))
    verlet = app.Simulation(amide.to_topology(), system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    assert len(states(ensemble, verlet, 1)) == 1


def test_without_openmmtools_one_sentence_says_so(ensemble, monkeypatch):
    monkeypatch.setitem(sys.modules, "openmmtools", None)
    monkeypatch.setitem(sys.modules, "openmmtools.states", None)
    with pytest.raises(ConfGFError, match="openmmtools is not installed"):
        sampler_states(ensemble)
    for wrong in (ensemble.positions, ["state"], builtins.object()):
        with pytest.raises(WrongTypeError, match="Ensemble, or one or several openmm.State"):
            sampler_states(wrong)


def test_openmmtools_takes_ensembles_and_states(ensemble, simulation):
    pytest.importorskip("openmmtools", reason="openmmtools is not installed")
    from openmmtools.states import SamplerState

    of_ensemble = sampler_states(ensemble)
    assert len(of_ensemble) == 5 and all(isinstance(state, SamplerState) for state in of_ensemble)
    np.testing.assert_array_equal(of_ensemble[0].positions / unit.nanometer, ensemble.positions[1])
    made = states(ensemble, simulation, 2)
    weighted = ensemble.replace(log_q=np.zeros(6), energy=np.array([-500.0, 0, 0, 0, 0, 0]), target=Target(None, None, 300.0))
    with pytest.warns(UserWarning):  # one sample has all the weight
        first, second = sampler_states(weighted, 2)
    np.testing.assert_array_equal(second.positions / unit.nanometer, ensemble.positions[0])
    (one,), both = sampler_states(made[1]), sampler_states(made)
    for state in (one, both[1]):
        np.testing.assert_array_equal(state.velocities / (unit.nanometer / unit.picosecond), made[1].getVelocities(asNumpy=True)._value)
    both[0].apply_to_context(simulation.context)
    np.testing.assert_allclose(positions_of(simulation.context.getState(positions=True)), positions_of(made[0]), atol=1e-12)
