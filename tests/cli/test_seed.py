import json
import subprocess
import sys

import pytest

from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ETKDGGenerator

IN_OPENMM_ALONE = """
import sys
import openmm
from openmm import app, unit
state, system, pdb = sys.argv[1:]
pdb = app.PDBFile(pdb)
system = openmm.XmlSerializer.deserialize(open(system).read())
integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.loadState(state)
simulation.step(5)
print(simulation.context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
assert not [name for name in sys.modules if name.startswith("openmm_confgf")]
"""


@pytest.fixture(scope="module")
def conformers(tmp_path_factory):
    path = tmp_path_factory.mktemp("seed") / "in.sdf"
    write_ensembles([ETKDGGenerator().sample("CCCO", 6, seed=2)], path)
    return path


def test_seeds_run_in_a_process_that_has_openmm_only(run, conformers, tmp_path):
    outcome = run("seed", conformers, "--count", 2, "--run-ps", 0.02, "-o", tmp_path / "seeds", "--platform", "Reference", "--json")
    assert outcome.code == 0
    (molecule,) = outcome.json["molecules"]
    assert len(molecule["seeds"]) == 2
    for seed in molecule["seeds"]:
        assert seed["status"] == "OK" and seed["minimized_energy_kj_per_mol"] is not None
    files = [molecule["seeds"][0][key] for key in ("state_xml", "system_xml", "pdb")]
    done = subprocess.run([sys.executable, "-c", IN_OPENMM_ALONE, *files], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout)) < 1e4


def test_several_molecules_get_a_folder_each(run, tmp_path):
    write_ensembles([ETKDGGenerator().sample(smiles, 2) for smiles in ("CCO", "CCN")], tmp_path / "in.sdf")
    outcome = run("seed", tmp_path / "in.sdf", "--count", 1, "--run-ps", 0, "-o", tmp_path / "seeds")
    assert outcome.code == 0 and "CCN" in outcome.out and "wrote 2 seeds" in outcome.err
    assert "molecule-001/seed-00-state.xml" in outcome.out
    assert sorted(p.name for p in (tmp_path / "seeds").iterdir()) == ["molecule-000", "molecule-001"]


def test_a_molecule_without_any_usable_seed_has_failed(run, conformers, tmp_path):
    outcome = run("seed", conformers, "--count", 2, "--run-ps", 0.02, "--temperature", 1e6, "-o", tmp_path / "seeds")
    assert outcome.code == 1 and outcome.err.startswith("error: no seed of 'CCCO' is usable") and outcome.err.count("\n") == 1
    assert not (tmp_path / "seeds").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "--count 0"),
        (["--run-ps", "-1"], "--run-ps -1"),
        (["--run-ps", "nan"], "--run-ps nan"),
        (["--run-ps", "inf"], "--run-ps inf"),
        (["--temperature", "inf"], "above 0"),
        (["--temperature", "-5"], "above 0"),
        (["--forcefield", "nonsense"], "nonsense"),
        (["--constraints", "hbonds"], "'hbonds' are unknown; give HBonds"),
        (["--hydrogen-mass", "0"], "is 0 Da"),
        (["--hydrogen-mass", "nan"], "is nan Da"),
        (["--hydrogen-mass", "6"], "less than they"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, conformers, tmp_path, options, message):
    outcome = run("seed", conformers, "-o", tmp_path / "seeds", *options)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and message in outcome.err


def test_a_folder_that_cannot_be_made_is_refused(run, conformers, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run("seed", conformers, "-o", tmp_path / "file" / "seeds")
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_each_stereoisomer_of_a_mixture_gets_a_folder_of_its_own(run, tmp_path):
    mixed = ETKDGGenerator().sample("CC(O)C(N)C", 12)
    write_ensembles([mixed], tmp_path / "in.sdf")
    arguments = ["seed", tmp_path / "in.sdf", "--count", 1, "--run-ps", 0, "-o", tmp_path / "seeds"]
    outcome = run(*arguments)
    assert outcome.code == 0 and "conformers of 4 stereoisomers, which get a folder each: " in outcome.err
    manifests = [json.loads(path.read_text()) for path in sorted((tmp_path / "seeds").glob("*/manifest.json"))]
    assert [manifest["smiles"] for manifest in manifests] == list(mixed.by_stereoisomer())
    assert [manifest["seeds"][0]["stereoisomer"] for manifest in manifests] == list(mixed.by_stereoisomer())
    assert run(*arguments).code == 0  # the same call again
    write_ensembles([mixed.compounds()[0]], tmp_path / "one.sdf")
    outcome = run("seed", tmp_path / "one.sdf", "--count", 1, "--run-ps", 0, "-o", tmp_path / "seeds")
    assert outcome.code == 2 and "molecule-000 holds seeds of another call" in outcome.err and outcome.err.count("\n") == 1


def test_a_racemate_is_one_compound(run, tmp_path):
    write_ensembles([ETKDGGenerator().sample("CC(O)CN", 6)], tmp_path / "in.sdf")
    assert run("seed", tmp_path / "in.sdf", "--count", 1, "--run-ps", 0, "-o", tmp_path / "seeds").code == 0
    assert (tmp_path / "seeds" / "seed-00-state.xml").exists()


def test_a_folder_of_other_seeds_is_refused_before_work(run, conformers, tmp_path):
    arguments = ["seed", conformers, "--run-ps", 0, "-o", tmp_path / "seeds", "--count"]
    assert run(*arguments, 3).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "seeds").iterdir()}
    outcome = run(*arguments, 2)
    assert outcome.code == 2 and "holds seeds of another call (count 3)" in outcome.err and outcome.err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "seeds").iterdir()} == before
    assert run(*arguments, 3).code == 0


def test_constraints_and_heavy_hydrogens(run, conformers, tmp_path):
    options = ["--constraints", "HBonds", "--hydrogen-mass", 3, "--count", 1, "--run-ps", 0.1, "--platform", "Reference", "--json"]
    outcome = run("seed", conformers, "-o", tmp_path / "seeds", *options)
    assert outcome.code == 0 and outcome.json["constraints"] == "HBonds" and outcome.json["hydrogen_mass"] == 3.0
    text = (tmp_path / "seeds" / "seed-00-system.xml").read_text()
    assert text.count("<Constraint ") == 8 and text.count('mass="3"') == 8
    assert json.loads((tmp_path / "seeds" / "manifest.json").read_text())["timestep"] == 0.004
