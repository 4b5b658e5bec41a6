import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app

from openmm_confgf.checks import check_conformations
from openmm_confgf.energies import SystemBuilder
from openmm_confgf.ensemble import Status
from openmm_confgf.errors import FileFormatError, GenerationError
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.openmm_plugin import seed_simulations
from openmm_confgf.openmm_plugin.seeding import _run
from openmm_confgf.rmsd import rmsd_matrix

FRESH = """
import sys
import openmm, openmm.app
state, system, pdb = sys.argv[1:]
pdb = openmm.app.PDBFile(pdb)
system = openmm.XmlSerializer.deserialize(open(system).read())
integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
simulation = openmm.app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.loadState(state)
print(simulation.context.getState(energy=True).getPotentialEnergy()._value)
simulation.step(50)
print(simulation.context.getState(energy=True).getPotentialEnergy()._value)
assert not [name for name in sys.modules if name.startswith(("openmm_confgf", "torch", "rdkit"))]
"""


@pytest.fixture(scope="module")
def openff():
    return SystemBuilder("openff-2.2.1")


@pytest.fixture(scope="module")
def ensemble():
    return ETKDGGenerator().sample("CC(O)CCN", 12, seed=4)


@pytest.fixture(scope="module")
def seeds(ensemble, openff, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return seed_simulations(ensemble, folder, openff, count=3, run_ps=0.5, seed=7, platform="Reference")


def state_of(seed):
    return openmm.XmlSerializer.deserialize(seed.state_xml.read_text())


def test_a_fresh_process_with_openmm_alone_loads_and_steps(seeds):
    for seed in seeds[:2]:
        arguments = [str(seed.state_xml), str(seed.system_xml), str(seed.pdb)]
        finished = subprocess.run([sys.executable, "-c", FRESH, *arguments], capture_output=True, text=True, check=True)
        first, later = map(float, finished.stdout.split())
        assert first == pytest.approx(seed.final_energy, abs=1e-4)
        assert np.isfinite(later)


def test_seeds_are_minimised_warm_and_distinct(seeds, ensemble):
    assert [seed.status for seed in seeds] == [Status.OK] * 3
    assert len({seed.index for seed in seeds}) == 3
    picked = ensemble.positions[[seed.index for seed in seeds]]
    assert rmsd_matrix(ensemble.graph, picked, picked)[np.triu_indices(3, 1)].min() > 0.01
    for seed in seeds:
        assert seed.minimized_energy < seed.final_energy
        assert 50 < seed.mean_temperature < 600
        velocities = np.array(state_of(seed).getVelocities()._value)
        assert velocities.std() > 0.1


def test_files_hold_the_molecule_in_its_order(seeds, ensemble):
    for seed in seeds:
        pdb = app.PDBFile(str(seed.pdb))
        assert [a.element.atomic_number for a in pdb.topology.atoms()] == ensemble.graph.numbers.tolist()
        bonds = sorted(tuple(sorted((b[0].index, b[1].index))) for b in pdb.topology.bonds())
        assert bonds == sorted(map(tuple, ensemble.graph.bonds.tolist()))
        positions = state_of(seed).getPositions()._value
        np.testing.assert_allclose(pdb.positions._value, positions, atol=1e-4)
    folder = seeds[0].pdb.parent
    assert sorted(path.name for path in folder.iterdir())[:3] == ["seed-00-state.xml", "seed-00-system.xml", "seed-00.pdb"]
    assert len(list(folder.iterdir())) == 9  # no temporary files are left


def test_the_same_seed_gives_the_same_states_whatever_the_count(seeds, ensemble, openff, tmp_path):
    options = {"run_ps": 0.5, "platform": "Reference"}
    again = seed_simulations(ensemble, tmp_path, openff, count=3, seed=7, **options)
    other = seed_simulations(ensemble, tmp_path / "other", openff, count=3, seed=8, **options)
    for one, two, three in zip(seeds, again, other, strict=True):
        assert one.state_xml.read_text() == two.state_xml.read_text()
        assert one.state_xml.read_text() != three.state_xml.read_text()


def test_without_a_run_velocities_have_the_temperature(openff, tmp_path):
    ensemble = ETKDGGenerator().sample("CCCCCCCCCC", 2, seed=0)
    temperatures = []
    for seed in range(10):
        (made,) = seed_simulations(ensemble, tmp_path, openff, count=1, run_ps=0, seed=seed, temperature=400, platform="Reference")
        kinetic = state_of(made).getKineticEnergy()._value
        temperatures.append(2 * kinetic / (3 * len(ensemble.graph) * openmm.unit.MOLAR_GAS_CONSTANT_R._value / 1000))
    # 960 degrees of freedom: a standard deviation of 18 K
    assert np.mean(temperatures) == pytest.approx(400, abs=72)
    assert np.isnan(made.mean_temperature)


def test_a_failed_seed_costs_only_itself(openff, tmp_path):
    chiral = ETKDGGenerator().sample("C[C@H](O)CCN", 4, seed=4)
    positions = chiral.positions.copy()
    positions[2] *= [1, 1, -1]  # minimises and runs well, but is the other molecule
    seeds = seed_simulations(chiral.replace(positions=positions), tmp_path, openff, count=4, run_ps=0.05, platform="Reference")
    status = {seed.index: seed.status for seed in seeds}
    assert status == {0: Status.OK, 1: Status.OK, 2: Status.WRONG_STEREO, 3: Status.OK}
    for seed in seeds:
        failed = seed.index == 2
        assert (seed.state_xml is None) == (seed.system_xml is None) == (seed.pdb is None) == failed
        assert np.isposinf(seed.final_energy) == failed and np.isfinite(seed.minimized_energy)
    assert len(list(tmp_path.iterdir())) == 9


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_an_explosion_does_not_reach_the_next_run(ensemble, openff, platform):
    system = openff.build(ensemble.graph)
    properties = {"Threads": "1"} if platform == "CPU" else {}

    def runs(*starts):
        integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
        return [_run(context, start, 300.0, 100, (11, 12)) for start in starts]

    good = ensemble.positions[0]
    ((fresh, _, _),) = runs(good)
    (exploded, _, _), (broken, _, failed), (after, _, status) = runs(good * 0.02, good * np.nan, good)
    # an explosion can have a finite energy: what tells it is that the bonds are gone
    assert check_conformations(ensemble.graph, exploded.getPositions(asNumpy=True)._value).tolist() == [Status.WRONG_GRAPH]
    assert broken is None and failed in (Status.FAILED, Status.NON_FINITE)
    assert status == Status.OK
    np.testing.assert_array_equal(after.getPositions(asNumpy=True)._value, fresh.getPositions(asNumpy=True)._value)


def test_too_hot_to_integrate_is_a_status(ensemble, openff, tmp_path):
    seeds = seed_simulations(ensemble, tmp_path, openff, count=2, run_ps=0.2, temperature=1e9, platform="Reference")
    assert all(seed.status != Status.OK and seed.pdb is None for seed in seeds)
    assert list(tmp_path.iterdir()) == []


def test_bad_samples_are_not_picked(ensemble, openff, tmp_path):
    status = np.full(12, Status.CLASH, np.int8)
    status[5] = Status.OK
    (only,) = seed_simulations(ensemble.replace(status=status), tmp_path, openff, count=4, run_ps=0, platform="Reference")
    assert only.index == 5
    with pytest.raises(GenerationError, match="no usable conformation"):
        seed_simulations(ensemble.replace(status=np.full(12, Status.CLASH)), tmp_path, openff)


def test_bad_calls_fail_before_work(ensemble, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="another folder"):
        seed_simulations(ensemble, tmp_path / "file" / "seeds", "never looked at")
    for wrong in ({"count": 0}, {"run_ps": -1}, {"run_ps": np.nan}, {"temperature": 0}, {"temperature": np.inf}, {"seed": -1}):
        with pytest.raises(ValueError, match="positive"):
            seed_simulations(ensemble, tmp_path, "never looked at", **wrong)
