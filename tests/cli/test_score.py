import numpy as np
import pytest

from openmm_confgf.cli.score import energy_summary
from openmm_confgf.energies import ContextEnergy, MMFFEnergy, SystemBuilder
from openmm_confgf.energies.scoring import score
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.stereoisomers import stereoisomers
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def conformers(tmp_path_factory):
    """Two molecules with four conformers each, in one file."""
    path = tmp_path_factory.mktemp("score") / "in.sdf"
    write_ensembles([ETKDGGenerator().sample(smiles, 4, seed=2) for smiles in ("CCCO", "CC(N)=O")], path)
    return path


def test_energies_are_those_of_the_system(run, conformers, tmp_path):
    outcome = run("score", conformers, "-o", tmp_path / "out.h5", "--platform", "Reference", "--json")
    # an .h5 holds one molecule, so that two become two files
    report = outcome.json
    assert outcome.code == 0 and len(report["files"]) == 2
    builder = SystemBuilder("openff-2.2.1")
    for molecule, given in zip(report["molecules"], read_ensembles(conformers), strict=True):
        with ContextEnergy(builder.build(given.graph), "Reference") as context:
            expected = context.evaluate(given.positions).energy
        np.testing.assert_allclose(molecule["energy_kj_per_mol"], expected, atol=1e-6)
        assert molecule["lowest_kj_per_mol"] == pytest.approx(expected.min())
    written = [read_ensembles(path)[0] for path in report["files"]]
    np.testing.assert_allclose(written[1].energy, report["molecules"][1]["energy_kj_per_mol"], atol=1e-6)


def test_minimising_lowers_the_energies(run, conformers):
    low = run("score", conformers, "--minimize", "--json").json["molecules"][0]
    raw = score(read_ensembles(conformers)[0])
    assert np.all(np.array(low["energy_kj_per_mol"]) < raw.energy)


def test_the_table_says_at_which_temperature(run, conformers):
    text = run("score", conformers, "--temperature", 400).out
    assert "400 K" in text and "CCCO" in text and "4 OK" in text


def test_summary_counts_what_is_thermally_accessible():
    ensemble = ETKDGGenerator().sample("CCCO", 4)
    status = np.array([Status.OK, Status.OK, Status.CLASH, Status.OK], np.int8)
    ensemble = ensemble.replace(energy=np.array([-10.0, -7.0, -50.0, 20.0]), status=status)
    summary = energy_summary(ensemble, thermal=1.0)
    assert summary["energy_kj_per_mol"] == [-10.0, -7.0, None, 20.0]
    assert (summary["lowest_kj_per_mol"], summary["mean_kj_per_mol"], summary["highest_kj_per_mol"]) == (-10.0, 1.0, 20.0)
    assert summary["within_3_kt"] == 2
    assert energy_summary(ensemble, thermal=10.0)["within_3_kt"] == 3
    nothing = energy_summary(ensemble.replace(status=np.full(4, Status.CLASH, np.int8)), thermal=1.0)
    assert nothing["lowest_kj_per_mol"] is None and nothing["within_3_kt"] == 0


def test_a_bad_record_costs_one_molecule(run, conformers, tmp_path):
    path = tmp_path / "in.sdf"
    path.write_text("no molecule at all\n$$$$\n" + conformers.read_text())
    outcome = run("score", path, "--platform", "Reference", "-o", tmp_path / "out.sdf", "--json")
    assert outcome.code == 1 and [molecule["index"] for molecule in outcome.json["molecules"]] == [1, 2]
    assert outcome.json["failed"][0]["index"] == 0 and "Record 1" in outcome.json["failed"][0]["error"]
    assert "2 of 3 molecules finished, 1 failed" in outcome.err
    assert [len(ensemble) for ensemble in read_ensembles(tmp_path / "out.sdf")] == [4, 4]


def test_a_molecule_without_any_usable_conformer_has_failed(run, tmp_path):
    path = tmp_path / "in.h5"
    write_ensembles([ETKDGGenerator().sample("CCCO", 2).replace(status=np.full(2, Status.CLASH, np.int8))], path)
    outcome = run("score", path, "-o", tmp_path / "out.sdf")
    assert outcome.code == 1 and outcome.err.startswith("error: no conformation of 'CCCO' is usable (2 CLASH)")
    assert not (tmp_path / "out.sdf").exists()


def test_peptides_take_amber(run, tmp_path):
    graph = MolecularGraph.from_smiles("CCO")
    path = tmp_path / "ethanol.sdf"
    write_ensembles([ETKDGGenerator().sample(graph, 1)], path)
    outcome = run("score", path, "--forcefield", "amber14-all.xml,implicit/obc2.xml")
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--forcefield", "openff-99.9"], "openff-99.9"),
        (["--platform", "Abacus"], "Abacus"),
        (["--property", "Precision"], "KEY=VALUE"),
        (["--platform", "Reference", "--property", "Precision=mixed"], "Precision"),
        (["--temperature", "0"], "above 0"),
        (["-o", "x.docx"], ".docx"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, conformers, options, message):
    outcome = run("score", conformers, *options)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and message in outcome.err


def test_a_missing_file_is_refused(run):
    assert run("score", "nothing.sdf").code == 2


def test_diastereomers_have_rows_of_their_own(run, tmp_path):
    mixed = ETKDGGenerator().sample("CC(O)C(N)C", 12)
    write_ensembles([mixed], tmp_path / "in.sdf")
    report = run("score", tmp_path / "in.sdf", "--json").json["molecules"][0]
    assert report["lowest_kj_per_mol"] is None and report["within_3_kt"] is None
    energies = np.array(report["energy_kj_per_mol"])
    isomers = np.array(stereoisomers(mixed.graph, mixed.positions))
    assert [compound["smiles"] for compound in report["compounds"]] == list(mixed.by_stereoisomer())
    for compound in report["compounds"]:
        its = energies[isomers == compound["smiles"]]
        assert compound["lowest_kj_per_mol"] == pytest.approx(its.min(), abs=0.05)
        assert sorted(compound["energy_kj_per_mol"]) == pytest.approx(sorted(its), abs=0.05)
    table = run("score", tmp_path / "in.sdf").out
    assert all(part.graph.name in table for part in mixed.compounds())


def test_levels_of_theory_that_are_not_openmms(run, conformers, tmp_path):
    report = run("score", conformers, "--forcefield", "mmff94s", "--json").json
    for molecule, given in zip(report["molecules"], read_ensembles(conformers), strict=True):
        expected = MMFFEnergy(given.graph).evaluate(given.positions).energy
        np.testing.assert_allclose(molecule["energy_kj_per_mol"], expected, atol=1e-6)
        assert molecule["target"]["forcefield"] == "MMFF94s"
    minima = run("score", conformers, "--forcefield", "mmff94s", "--minimize", "--workers", 2, "--json").json["molecules"][0]
    assert minima["highest_kj_per_mol"] < report["molecules"][0]["lowest_kj_per_mol"]
    wrong = run("score", conformers, "--forcefield", "GFN2")
    assert wrong.code == 2 and "take gfn2" in wrong.err and wrong.err.count("\n") == 1
