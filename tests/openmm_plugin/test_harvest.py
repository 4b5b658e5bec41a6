import gc
import itertools
import os
import pathlib
import signal
import sys

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate, read_ensembles, score, write_ensembles
from openmm_confgf.energies import ContextEnergy
from openmm_confgf.errors import ConfGFError, FileFormatError, MoleculeError
from openmm_confgf.files.trajectories import read_trajectory
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import HarvestReporter, harvested
from openmm_confgf.openmm_plugin.harvest_file import HarvestFile, journal_of
from openmm_confgf.status import Status

EVERY = 5


@pytest.fixture(scope="module")
def amide():
    return peptide(["ACE", "NME"], name="N-methylacetamide")


@pytest.fixture(scope="module")
def start(amide):
    return generate(amide, 1, generator="etkdg", seed=3).positions[0]


@pytest.fixture(scope="module")
def system(amide):
    return app.ForceField("amber14-all.xml").createSystem(amide.to_topology())


@pytest.fixture
def simulated(amide, system, start):
    """Makes Simulations on the Reference platform; the same each time."""

    def make(temperature=300, system=system, seed=7):
        integrator = openmm.LangevinMiddleIntegrator(temperature, 5, 0.001)
        integrator.setRandomNumberSeed(seed)
        simulation = app.Simulation(amide.to_topology(), system, integrator, openmm.Platform.getPlatform("Reference"))
        simulation.context.setPositions(start)
        simulation.context.setVelocitiesToTemperature(300, seed)
        return simulation

    return make


class Notes:
    """What any reporter is given at the same steps."""

    def __init__(self):
        self.steps, self.energies, self.positions = [], [], []

    def describeNextReport(self, simulation):
        return {"steps": EVERY - simulation.currentStep % EVERY, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation, state):
        self.steps.append(simulation.currentStep)
        self.energies.append(state.getPotentialEnergy()._value)
        self.positions.append(state.getPositions(asNumpy=True)._value)


def steps_of(path):
    from openmm_confgf.files import read_run

    return read_run(path)[1]["steps"].tolist()


def test_the_file_has_the_frames_that_other_reporters_see(simulated, amide, system, tmp_path):
    simulation, notes = simulated(), Notes()
    harvest = HarvestReporter(tmp_path / "frames.h5", EVERY, equilibration=2)
    simulation.reporters += [notes, harvest]
    simulation.step(43)
    np.testing.assert_array_equal(harvest.ensemble().positions, notes.positions[2:])
    harvest.close()
    (ensemble,) = read_ensembles(tmp_path / "frames.h5")
    assert steps_of(tmp_path / "frames.h5") == [15, 20, 25, 30, 35, 40] == notes.steps[2:]
    np.testing.assert_array_equal(ensemble.positions, notes.positions[2:])
    np.testing.assert_array_equal(ensemble.energy, notes.energies[2:])
    assert ensemble.graph.same_as(amide) and ensemble.ok.all() and ensemble.target.temperature == 300
    with ContextEnergy(system, "Reference") as energy:
        np.testing.assert_allclose(energy.evaluate(ensemble.positions).energy, ensemble.energy, atol=1e-6)
    assert not journal_of(tmp_path / "frames.h5").exists()
    simulation.step(2)
    assert len(harvested(tmp_path / "frames.h5")) == 7  # a closed reporter goes on


def test_the_frames_are_what_training_and_mdtraj_read(simulated, amide, tmp_path):
    simulation = simulated()
    simulation.reporters.append(harvest := HarvestReporter(tmp_path / "frames.h5", EVERY))
    simulation.step(20)
    harvest.close()
    frames = read_trajectory(tmp_path / "frames.h5", amide)
    np.testing.assert_allclose(frames.positions, harvest.ensemble().positions, atol=1e-6)
    assert mdtraj.load(str(tmp_path / "frames.h5")).n_frames == 4


def test_all_frames_are_in_the_file_when_the_simulation_is_gone(simulated, tmp_path):
    simulation = simulated()
    simulation.reporters.append(HarvestReporter(tmp_path / "frames.h5", EVERY))
    simulation.step(35)
    assert len(harvested(tmp_path / "frames.h5")) == 7 > len(read_ensembles(tmp_path / "frames.h5")[0])
    del simulation
    gc.collect()
    assert steps_of(tmp_path / "frames.h5") == [5, 10, 15, 20, 25, 30, 35]


@pytest.mark.parametrize("stop", [12, 20, 33])
def test_frames_after_the_checkpoint_are_replaced(simulated, tmp_path, stop):
    whole = simulated()
    whole.reporters.append(all_at_once := HarvestReporter(tmp_path / "whole.h5", EVERY))
    whole.step(50)
    first = simulated()
    first.reporters.append(HarvestReporter(tmp_path / "parts.h5", EVERY))
    first.step(stop)
    first.saveCheckpoint(str(tmp_path / "checkpoint"))
    first.integrator.setRandomNumberSeed(1)
    first.context.setVelocitiesToTemperature(300, 1)  # another future
    first.step(24)
    first.reporters.clear()
    second = simulated()
    second.reporters.append(again := HarvestReporter(tmp_path / "parts.h5", EVERY))
    second.loadCheckpoint(str(tmp_path / "checkpoint"))
    second.step(50 - stop)
    again.close()
    assert steps_of(tmp_path / "parts.h5") == list(range(5, 51, 5))
    np.testing.assert_array_equal(again.ensemble().positions, all_at_once.ensemble().positions)


def run_with_checkpoints(make, folder, steps, checkpoint_first):
    """What a user's script does: go on from the checkpoint, if there is one, and write one every 10 steps."""
    simulation, checkpoint = make(), folder / "checkpoint"

    class Checkpoints(Notes):
        def describeNextReport(self, simulation):
            return {"steps": 10 - simulation.currentStep % 10, "include": []}

        def report(self, simulation, state):
            (folder / "new").write_bytes(simulation.context.createCheckpoint())
            os.rename(folder / "new", checkpoint)

    if checkpoint.exists():
        simulation.context.loadCheckpoint(checkpoint.read_bytes())
    harvest = HarvestReporter(folder / "frames.h5", EVERY)
    simulation.reporters += [Checkpoints(), harvest] if checkpoint_first else [harvest, Checkpoints()]
    simulation.step(steps - simulation.currentStep)
    harvest.close()


def killed_at(write, work):
    """Run in a process of its own, which is killed with the given write to the disk, counted from 0; whether it was."""
    child = os.fork()
    if not child:
        counter, sync, replace = itertools.count(), os.fsync, pathlib.Path.replace

        def killing(function):
            def call(*arguments):
                if next(counter) == write:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments)

            return call

        os.fsync, pathlib.Path.replace = killing(sync), killing(replace)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL")
@pytest.mark.parametrize("apart", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("checkpoint_first", [True, False])
def test_a_kill_at_any_write_neither_loses_nor_doubles_a_frame(simulated, tmp_path, checkpoint_first, apart):
    (tmp_path / "whole").mkdir()
    # a frame that comes after its checkpoint is taken when the run goes on
    steps = 50 if checkpoint_first else 40
    run_with_checkpoints(simulated, tmp_path / "whole", steps, True)
    (whole,) = read_ensembles(tmp_path / "whole" / "frames.h5")
    for write in itertools.count(0, apart):
        folder = tmp_path / str(write)
        folder.mkdir()
        if not killed_at(write, lambda at=folder: run_with_checkpoints(simulated, at, 40, checkpoint_first)):
            break
        # and once more, early in what goes on
        killed_at(write % 3, lambda at=folder: run_with_checkpoints(simulated, at, 40, checkpoint_first))
        run_with_checkpoints(simulated, folder, steps, checkpoint_first)
        (ensemble,) = read_ensembles(folder / "frames.h5")
        assert steps_of(folder / "frames.h5") == list(range(5, steps + 1, 5))
        np.testing.assert_array_equal(ensemble.positions, whole.positions)
        np.testing.assert_array_equal(ensemble.energy, whole.energy)
        assert {file.name for file in folder.iterdir()} == {"frames.h5", "checkpoint"}
    assert write > 20


def test_a_record_that_was_cut_is_left_out(simulated, tmp_path):
    path = tmp_path / "frames.h5"
    simulation = simulated()
    simulation.reporters.append(harvest := HarvestReporter(path, EVERY))
    simulation.step(35)
    journal, origin = journal_of(path), harvest._harvest.origin
    content = journal.read_bytes()
    record = 8 + 8 + 12 * 24 + 4
    assert len(read_ensembles(path)[0]) == 4
    for cut in [*range(1, 12), record - 1, record]:
        journal.write_bytes(content[:-cut])
        assert len(harvested(path)) == 6
        journal.write_bytes(content[:-cut] + b"\0" * cut)  # as some file systems leave it
        assert len(harvested(path)) == 6
    file = HarvestFile(path, origin)
    file.take()
    file.add(35, 1.0, np.zeros((12, 3)))
    assert len(harvested(path)) == 7


def test_of_two_reporters_with_one_file_only_the_later_one_writes(simulated, tmp_path):
    path = tmp_path / "frames.h5"
    first, second = simulated(), simulated()
    first.reporters.append(HarvestReporter(path, EVERY))
    second.reporters.append(harvest := HarvestReporter(path, EVERY))
    first.step(35)
    second.step(10)
    assert steps_of(path) == [5, 10]  # what is replaced is gone at once
    with pytest.raises(FileFormatError, match="written by another HarvestReporter"):
        first.step(5)
    del first
    gc.collect()
    assert len(harvested(path)) == 2 and journal_of(path).exists()
    second.step(5)
    harvest.close()
    assert steps_of(path) == [5, 10, 15]


def test_frames_that_are_not_finite_are_counted(simulated, amide, tmp_path):
    simulation = simulated()
    simulation.reporters.append(harvest := HarvestReporter(tmp_path / "frames.h5", EVERY))
    simulation.step(10)
    simulation.context.setPositions(np.full((12, 3), np.nan))
    simulation.currentStep = 15
    harvest.report(simulation, simulation.context.getState(positions=True, energy=True))
    harvest.close()
    (ensemble,) = read_ensembles(tmp_path / "frames.h5")
    assert ensemble.counts() == {"OK": 2, "NON_FINITE": 1} and np.isposinf(ensemble.energy[2])
    assert len(read_trajectory(tmp_path / "frames.h5", amide)) == 2


def test_another_order_of_atoms_is_matched(simulated, amide, tmp_path):
    smiles = MolecularGraph.from_smiles("CC(=O)NC")
    assert not smiles.same_as(amide)
    simulation, notes = simulated(), Notes()
    simulation.reporters += [notes, HarvestReporter(tmp_path / "frames.h5", EVERY, smiles)]
    simulation.step(15)
    ensemble = harvested(tmp_path / "frames.h5")
    assert ensemble.graph.same_as(smiles) and ensemble.counts() == {"OK": 3}
    np.testing.assert_array_equal(ensemble.energy, notes.energies)
    # without the molecule, the file knows it
    second = simulated()
    second.context.setState(simulation.context.getState(positions=True, velocities=True))
    second.reporters.append(HarvestReporter(tmp_path / "frames.h5", EVERY))
    second.step(5)
    assert len(harvested(tmp_path / "frames.h5")) == 4


@pytest.fixture(scope="module")
def two_in_water(amide, start):
    """Two amides in a box that cuts one of them, and some water."""
    both = app.Modeller(amide.to_topology(), (start - start[0]) * unit.nanometer)
    both.add(amide.to_topology(), (start - start[0] + 0.9) * unit.nanometer)
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    both.addSolvent(field, boxSize=openmm.Vec3(1.8, 1.8, 1.8) * unit.nanometer)
    cutoff = {"nonbondedMethod": app.CutoffPeriodic, "nonbondedCutoff": 0.6}
    system = field.createSystem(both.topology, rigidWater=True, **cutoff)
    for force in system.getForces():
        if hasattr(force, "setUsesPeriodicBoundaryConditions"):
            force.setUsesPeriodicBoundaryConditions(True)
    positions = np.array(both.positions.value_in_unit(unit.nanometer))
    positions[:12] = (positions[:12] - positions[0]) % 1.8  # each atom for itself
    return both.topology, system, positions


def in_water(two_in_water, reporter):
    topology, system, positions = two_in_water
    simulation = app.Simulation(topology, system, openmm.LangevinMiddleIntegrator(300, 5, 0.0005), openmm.Platform.getPlatform("CPU"))
    simulation.context.setPositions(positions)
    simulation.reporters.append(reporter)
    return simulation


def test_one_molecule_of_a_box_is_made_whole_and_scored_apart(two_in_water, amide, system, tmp_path):
    positions = two_in_water[2]
    assert np.ptp(positions[:12], axis=0).max() > 0.9  # cut
    simulation = in_water(two_in_water, HarvestReporter(tmp_path / "frames.h5", EVERY, amide, atoms=range(12)))
    simulation.minimizeEnergy(maxIterations=20)
    simulation.step(10)
    ensemble = harvested(tmp_path / "frames.h5")
    assert len(ensemble) == 2 and ensemble.ok.all() and ensemble.energy is None
    assert ensemble.target.temperature == 300 and ensemble.provenance.settings["constraints"]
    assert score(ensemble, "amber14-all.xml").ok.all()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("f.h5", 5, "CC(=O)NC"), MoleculeError, "has 2 molecules"),
        (("f.h5", 5, "CCO"), MoleculeError, r"its atoms are C C O H H H H H H, those of the Topology"),
        (("f.h5", 5), MoleculeError, r"are \d+ molecules; give the one"),
        (("f.h5", 0), ConfGFError, "every 0 steps"),
        (("f.dcd", 5), FileFormatError, "suffix"),
        (("f.sdf", 5), FileFormatError, "ends in .h5"),
    ],
)
def test_what_cannot_be_collected_is_refused(two_in_water, tmp_path, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        in_water(two_in_water, HarvestReporter(tmp_path / arguments[0], *arguments[1:])).step(1)
    assert not (tmp_path / "f.h5").exists()


def test_a_file_of_something_else_is_refused(simulated, amide, system, start, tmp_path):
    path = tmp_path / "frames.h5"
    simulation = simulated()
    simulation.reporters.append(harvest := HarvestReporter(path, EVERY))
    simulation.step(10)
    harvest.close()
    before = path.read_bytes()

    def refused(sentence, reporter, **options):
        other = simulated(**options)
        other.reporters.append(reporter)
        with pytest.raises(ConfGFError, match=sentence):
            other.step(5)
        assert path.read_bytes() == before

    another = openmm.XmlSerializer.clone(system)
    another.getForce(0).setBondParameters(0, 0, 1, 0.1, 1000)
    refused("another System", HarvestReporter(path, EVERY), system=another)
    refused("temperature 300", HarvestReporter(path, EVERY), temperature=310)
    refused("interval 5", HarvestReporter(path, 1))
    refused("or of another atom order", HarvestReporter(path, EVERY, "CC(=O)NC"))
    write_ensembles(read_ensembles(path), path)
    before = path.read_bytes()
    refused("no run that could go on", HarvestReporter(path, EVERY))


def test_another_temperature_on_the_way_is_refused(simulated, tmp_path):
    simulation = simulated()
    simulation.reporters.append(HarvestReporter(tmp_path / "frames.h5", EVERY))
    simulation.step(5)
    simulation.integrator.setTemperature(400)
    with pytest.raises(ConfGFError, match="is at 400.0 K and the frames"):
        simulation.step(5)


def test_a_full_disk_keeps_the_frames_before(simulated, tiny_disk):
    simulation = simulated()
    simulation.reporters.append(HarvestReporter(tiny_disk / "frames.h5", 1))
    with pytest.raises(FileFormatError, match="make room"):
        simulation.step(500)
    told = simulation.currentStep
    assert told - 1 <= len(harvested(tiny_disk / "frames.h5")) <= told
    assert Status.OK in harvested(tiny_disk / "frames.h5").status
    with pytest.warns(UserWarning, match="kept in the journal"):
        del simulation
        gc.collect()
