import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app

from openmm_confgf.energies import SystemBuilder
from openmm_confgf.errors import ConfGFError, FileFormatError, GenerationError, MoleculeError, WrongTypeError
from openmm_confgf.files import write_ensembles
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import seed_simulations
from openmm_confgf.openmm_plugin.seed_folder import SeedFolder
from openmm_confgf.openmm_plugin.seeding import _run
from openmm_confgf.status import Status

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
    assert sorted(path.name for path in folder.iterdir())[:4] == ["manifest.json", "seed-00-state.xml", "seed-00-system.xml", "seed-00.pdb"]
    assert len(list(folder.iterdir())) == 10  # with the manifest; no temporary files are left


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
        options = {"count": 1, "run_ps": 0, "seed": seed, "temperature": 400, "platform": "Reference"}
        (made,) = seed_simulations(ensemble, tmp_path / str(seed), openff, **options)
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
    assert len(list(tmp_path.iterdir())) == 10


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
        seed_simulations(ensemble.replace(status=np.full(12, Status.CLASH)), tmp_path / "none", openff)


def test_bad_calls_fail_before_work(ensemble, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="another folder"):
        seed_simulations(ensemble, tmp_path / "file" / "seeds", "never looked at")
    for wrong in ({"count": 0}, {"run_ps": -1}, {"run_ps": np.nan}, {"temperature": 0}, {"temperature": np.inf}, {"seed": -1}):
        with pytest.raises(ValueError, match="positive"):
            seed_simulations(ensemble, tmp_path, "never looked at", **wrong)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_the_manifest_tells_all_and_its_own_lines_load_a_seed(seeds, ensemble):
    folder = seeds[0].pdb.parent
    manifest = manifest_of(folder)
    assert manifest["complete"] is True and manifest["smiles"] == "CC(O)CCN" and manifest["timestep"] == 0.001
    call = manifest["call"]
    assert (call["forcefield"], call["temperature"], call["seed"], call["count"]) == ("openff-2.2.1", 300.0, 7, 3)
    assert "NAGL AM1-BCC" in call["charges"]
    for rank, (seed, told) in enumerate(zip(seeds, manifest["seeds"], strict=True)):
        assert (told["rank"], told["conformation"], told["status"]) == (rank, seed.index, "OK")
        assert told["final_energy"] == seed.final_energy and told["stereoisomer"] in ("C[C@H](O)CCN", "C[C@@H](O)CCN")
        for kind, path in (("state", seed.state_xml), ("system", seed.system_xml), ("pdb", seed.pdb)):
            assert told["files"][kind] == {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        assert told["files"]["system"]["sha256"] == call["system_sha256"]
    lines = "\n".join([*manifest["load"], "print(simulation.context.getState(energy=True).getPotentialEnergy()._value)"])
    done = subprocess.run([sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True, check=True)
    assert np.isfinite(float(done.stdout))


def test_a_folder_holds_seeds_of_one_call(ensemble, openff, tmp_path):
    options = {"run_ps": 0, "platform": "Reference"}
    seed_simulations(ensemble, tmp_path, openff, count=3, **options)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for other, message in (
        ({"count": 2}, "count 3"),
        ({"count": 3, "temperature": 310}, "temperature 300"),
        ({"count": 3, "seed": 1}, "seed 0"),
    ):
        with pytest.raises(FileFormatError, match=f"holds seeds of another call .{message}.*another folder"):
            seed_simulations(ensemble, tmp_path, openff, **other, **options)
    with pytest.raises(FileFormatError, match="other conformations"):
        seed_simulations(ensemble.replace(positions=ensemble.positions * 1.001), tmp_path, openff, count=3, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "seed-07-state.xml").write_text("left by a run that was killed")
    seed_simulations(ensemble, tmp_path, openff, count=3, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_seeds_that_nothing_tells_of_are_not_mixed_with(ensemble, openff, tmp_path):
    (tmp_path / "seed-00.pdb").write_text("someone's")
    with pytest.raises(FileFormatError, match="seeds without a manifest .seed-00.pdb"):
        seed_simulations(ensemble, tmp_path, openff)
    (tmp_path / "seed-00.pdb").unlink()
    for text in ("no JSON", "{}", "[]", '{"call": 1}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(FileFormatError, match="no manifest of seeds"):
            seed_simulations(ensemble, tmp_path, openff)


@pytest.mark.parametrize(("allowed", "listed"), [(0, 0), (2, 0), (4, 0), (6, 1), (8, 1)])
def test_a_full_disk_keeps_the_seeds_before_and_nothing_else(ensemble, openff, tmp_path, monkeypatch, allowed, listed):
    """Of the files manifest, three of a seed, manifest, manifest, three ... the disk takes `allowed`."""
    left, flush = [allowed], os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size and left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("openmm_confgf.writing._sync_folder", lambda folder: None)
    with pytest.raises(FileFormatError, match="No space left"):
        seed_simulations(ensemble, tmp_path / "seeds", openff, count=3, run_ps=0, platform="Reference")
    files = sorted(path.name for path in (tmp_path / "seeds").iterdir())
    if not listed:
        assert files == []
        return
    told = manifest_of(tmp_path / "seeds")
    names = [file["name"] for seed in told["seeds"] for file in seed["files"].values()]
    assert len(told["seeds"]) == listed and told["complete"] is False and files == sorted([*names, "manifest.json"])


def files_of_seed(rank, text):
    return {kind: (f"seed-{rank:02d}{end}", f"{kind} {text}") for kind, end in (("state", "-state.xml"), ("pdb", ".pdb"))}


def earlier_seeds(path, ranks=3):
    folder = SeedFolder(path, {"call": 1}, {"about": "it"})
    for rank in range(ranks):
        folder.add({"rank": rank}, files_of_seed(rank, "earlier"))
    folder.complete()
    return {file.name: file.read_bytes() for file in path.iterdir()}


def check_listed(path):
    manifest = manifest_of(path)
    names = [file["name"] for seed in manifest["seeds"] for file in seed["files"].values()]
    assert sorted([*names, "manifest.json"]) == sorted(file.name for file in path.iterdir())
    for seed in manifest["seeds"]:
        for file in seed["files"].values():
            assert hashlib.sha256((path / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    return manifest


def test_the_same_seeds_are_not_written_again(tmp_path, monkeypatch):
    before = earlier_seeds(tmp_path)
    monkeypatch.setattr("openmm_confgf.writing.os.fsync", lambda descriptor: pytest.fail("written"))
    assert earlier_seeds(tmp_path) == before


@pytest.mark.parametrize("at", range(8))
def test_earlier_seeds_outlast_a_full_disk_until_they_are_replaced(tmp_path, monkeypatch, at):
    """The disk is full at the first, second ... file of a repeated call whose seeds come out otherwise."""
    before = earlier_seeds(tmp_path)
    written, sync = [0], os.fsync

    def full(descriptor):
        if written[0] >= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written[0] += 1
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("openmm_confgf.writing.os.fsync", full)
        patch.setattr("openmm_confgf.writing._sync_folder", lambda folder: None)
        folder = SeedFolder(tmp_path, {"call": 1}, {"about": "it"})
        with pytest.raises(FileFormatError, match="No space left"):
            for rank in range(3):
                folder.add({"rank": rank}, files_of_seed(rank, "later"))
    manifest = check_listed(tmp_path)
    if at == 0:
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    # of four writes a seed, none may cost more than the seed that is under way
    assert len(manifest["seeds"]) in (2, 3) and sum(b"later" in file.read_bytes() for file in tmp_path.glob("seed-*")) == at // 4 * 2


def test_fewer_seeds_replace_more_and_what_is_damaged_is_made_again(tmp_path):
    earlier_seeds(tmp_path)
    (tmp_path / "seed-01.pdb").write_text("damaged")
    (tmp_path / "seed-07.pdb").write_text("listed nowhere")
    earlier_seeds(tmp_path, ranks=2)
    manifest = check_listed(tmp_path)
    assert manifest["complete"] and [seed["rank"] for seed in manifest["seeds"]] == [0, 1]


KILLED = """
import sys
from openmm_confgf import seed_simulations, read_ensembles
from openmm_confgf.energies import SystemBuilder
(ensemble,) = read_ensembles(sys.argv[1])
builder = SystemBuilder(sys.argv[2])
print("ready", flush=True)
seed_simulations(ensemble, sys.argv[3], builder, count=6, run_ps=1.0, platform="Reference")
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.3, 0.9, 1.7])
def test_a_kill_leaves_whole_seeds_and_the_same_call_goes_over_them(toy_level, tmp_path, after):
    start = ETKDGGenerator().sample("CCO", 8, seed=1)
    write_ensembles([start], tmp_path / "in.h5")
    folder = tmp_path / "seeds"
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "in.h5"), toy_level, str(folder)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.send_signal(signal.SIGKILL)
    for seed in manifest_of(folder)["seeds"] if (folder / "manifest.json").exists() else []:
        for file in seed["files"].values():
            assert hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    subprocess.run(arguments, check=True, capture_output=True)
    manifest = manifest_of(folder)
    names = {file["name"] for seed in manifest["seeds"] for file in seed["files"].values()}
    assert manifest["complete"] and {path.name for path in folder.iterdir()} == names | {"manifest.json"}


@pytest.mark.parametrize(("hydrogen_mass", "femtoseconds"), [(None, 2), (3.0, 4)])
def test_constrained_seeds_run_on_in_openmm_alone(ensemble, openff, tmp_path, hydrogen_mass, femtoseconds):
    (seed,) = seed_simulations(
        ensemble, tmp_path, openff, count=1, run_ps=1, constraints=app.HBonds, hydrogen_mass=hydrogen_mass, platform="Reference"
    )
    manifest = manifest_of(tmp_path)
    assert manifest["timestep"] * 1000 == femtoseconds and manifest["call"]["constraints"] == "HBonds"
    system = openmm.XmlSerializer.deserialize(seed.system_xml.read_text())
    hydrogens = int((ensemble.graph.numbers == 1).sum())
    assert system.getNumConstraints() == hydrogens
    # the State meets the constraints, in positions and in velocities
    state = state_of(seed)
    positions, velocities = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
    for k in range(hydrogens):
        i, j, length = system.getConstraintParameters(k)
        assert np.linalg.norm(positions[i] - positions[j]) == pytest.approx(length._value, rel=1e-5)
        assert abs((positions[i] - positions[j]) @ (velocities[i] - velocities[j])) < 1e-5
    integrator = openmm.LangevinMiddleIntegrator(300, 1, femtoseconds / 1000)
    integrator.setRandomNumberSeed(5)
    simulation = app.Simulation(app.PDBFile(str(seed.pdb)).topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.loadState(str(seed.state_xml))
    degrees, readings = 3 * len(ensemble.graph) - hydrogens, []
    for _ in range(200):
        simulation.step(50)
        readings.append(simulation.context.getState(energy=True).getKineticEnergy()._value)
    # 10,000 steps, of which the last three quarters count: the temperature is that of 3 N - constraints degrees of freedom
    temperature = 2 * np.mean(readings[50:]) / (degrees * openmm.unit.MOLAR_GAS_CONSTANT_R._value / 1000)
    assert temperature == pytest.approx(300, rel=0.15)
    assert check_conformations(ensemble.graph, simulation.context.getState(positions=True).getPositions(asNumpy=True)._value).tolist() == [
        0
    ]


def test_seeds_are_of_one_compound(openff, tmp_path):
    mixed = ETKDGGenerator().sample("CC(O)C(N)C", 12, seed=4)
    with pytest.raises(MoleculeError, match="2 diastereomers.*by_stereoisomer"):
        seed_simulations(mixed, tmp_path, openff)
    assert not list(tmp_path.iterdir())
    part = next(iter(mixed.by_stereoisomer().values()))
    (seed,) = seed_simulations(part, tmp_path, openff, count=1, run_ps=0, platform="Reference")
    assert seed.status == Status.OK and manifest_of(tmp_path)["smiles"] == part.graph.smiles


def test_a_system_of_ones_own_makes_the_same_seeds(seeds, ensemble, openff, tmp_path):
    own = seed_simulations(ensemble, tmp_path, openff.build(ensemble.graph), count=3, run_ps=0.5, seed=7, platform="Reference")
    assert [seed.state_xml.read_text() for seed in own] == [seed.state_xml.read_text() for seed in seeds]
    assert manifest_of(tmp_path)["call"]["forcefield"] == "openmm.System"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"constraints": "HAngles"}, "'HAngles' are unknown"), ({"hydrogen_mass": 0}, "is 0 Da"), ({"hydrogen_mass": 5}, "less than they")],
)
def test_constraints_that_cannot_be(ensemble, openff, tmp_path, wrong, message):
    with pytest.raises(ConfGFError, match=message):
        seed_simulations(ensemble, tmp_path, openff, **wrong)
    assert not list(tmp_path.iterdir())


def test_what_is_no_ensemble(ensemble, tmp_path):
    with pytest.raises(WrongTypeError, match="seed_simulations takes an Ensemble, not an openmm_confgf MolecularGraph"):
        seed_simulations(ensemble.graph, tmp_path)
