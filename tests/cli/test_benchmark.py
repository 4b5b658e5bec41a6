import numpy as np
import pytest

import openmm_confgf.generators
from openmm_confgf.errors import GenerationError
from openmm_confgf.generators import ETKDGGenerator
from tests.files.test_archive import make_arrays


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, **make_arrays(("CCCO", "C[C@H](O)CF"), (2, 2)))
    return path


def test_json_and_table_of_two_generators(run, archive):
    options = ["--generator", "etkdg", "--generator", "etkdg+mmff", "--seed", 3]
    report = run("benchmark", "conformers", archive, *options, "--json").json
    assert report["protocol"] == "A" and report["delta"] == 0.5 and report["n_molecules"] == 2 and report["seed"] == 3
    assert list(report["systems"]) == ["etkdg", "etkdg+mmff"]
    assert report["systems"]["etkdg"]["stereo_right"] == 1.0
    text = run("benchmark", "conformers", archive, *options, "--max-molecules", 1).out
    assert "Protocol A" in text and "1 molecules of small.npz" in text and "| etkdg+mmff |" in text


def test_several_thresholds_recall_charge_and_energies(run, archive):
    options = ["--generator", "etkdg", "--delta", 1.25, "--delta", 0.5, "--recall-only", "--split-charge", "--energy", "gfn2"]
    report = run("benchmark", "conformers", archive, *options, "--json").json
    assert report["deltas"] == [1.25, 0.5] and report["recall_only"] is True and report["energy"] == "gfn2"
    system = report["systems"]["etkdg"]
    assert system["cov_p_mean"] is None and system["by_charge"]["neutral"]["n_molecules"] == 2
    assert system["above_minimum_median"] > -50 and system["above_minimum_failed_samples"] == 0
    text = run("benchmark", "conformers", archive, *options).out
    assert "COV-R at 1.25 mean" in text and "COV-P" not in text and "| etkdg, charged |" in text and "gfn2 above minimum" in text


def test_molecules_without_energies_are_named_on_stderr(run, tmp_path):
    path = tmp_path / "boron.npz"
    np.savez(path, **make_arrays(("CB(O)O",), (1,)))
    outcome = run("benchmark", "conformers", path, "--generator", "etkdg", "--energy", "openff-2.2.1", "--json")
    assert outcome.code == 0 and "no energies: etkdg: CB(O)O: " in outcome.err
    assert outcome.json["systems"]["etkdg"]["above_minimum_median"] is None


def test_failures_are_named_on_stderr(run, archive, monkeypatch):
    class Failing(ETKDGGenerator):
        def sample_many(self, molecules, n, **options):
            yield from ((i, GenerationError("no luck")) for i in range(len(molecules)))

    monkeypatch.setattr(openmm_confgf.generators, "create_generator", lambda name, weights=None: Failing())
    outcome = run("benchmark", "conformers", archive, "--generator", "broken", "--json")
    assert outcome.code == 0 and outcome.json["systems"]["broken"]["failed"] == 2
    assert outcome.json["systems"]["broken"]["cov_r_mean"] == 0.0 and outcome.json["systems"]["broken"]["mat_r_mean"] is None
    assert "failed: broken: CCCO: no luck" in outcome.err


def test_training_molecules_are_refused(run, archive, monkeypatch):
    class Leaking(ETKDGGenerator):
        def trained_on(self, graph):
            return graph.smiles == "CCCO"

    monkeypatch.setattr(openmm_confgf.generators, "create_generator", lambda name, weights=None: Leaking())
    outcome = run("benchmark", "conformers", archive, "--generator", "leaky")
    assert outcome.code == 2 and outcome.out == "" and "training data of leaky" in outcome.err


@pytest.mark.parametrize(
    "options",
    [
        ["--delta", "0"],
        ["--delta", "0.5", "--delta", "0.5"],
        ["--max-molecules", "0"],
        ["--generator", "magic"],
        ["--energy", "magic"],
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, archive, options):
    defaults = [] if "--generator" in options else ["--generator", "etkdg"]
    outcome = run("benchmark", "conformers", archive, *defaults, *options)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
