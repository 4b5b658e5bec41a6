import numpy as np
import pytest

import openmm_confgf.generators
from openmm_confgf.errors import GenerationError
from openmm_confgf.generators import ETKDGGenerator
from tests.test_archive import make_arrays


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


def test_failures_are_named_on_stderr(run, archive, monkeypatch):
    class Failing(ETKDGGenerator):
        def sample_many(self, molecules, n, **options):
            yield from ((i, GenerationError("no luck")) for i in range(len(molecules)))

    monkeypatch.setattr(openmm_confgf.generators, "create_generator", lambda name: Failing())
    outcome = run("benchmark", "conformers", archive, "--generator", "broken", "--json")
    assert outcome.code == 0 and outcome.json["systems"]["broken"]["failed"] == 2
    assert outcome.json["systems"]["broken"]["cov_r_mean"] == 0.0 and outcome.json["systems"]["broken"]["mat_r_mean"] is None
    assert "failed: broken: CCCO: no luck" in outcome.err


def test_training_molecules_are_refused(run, archive, monkeypatch):
    class Leaking(ETKDGGenerator):
        def trained_on(self, graph):
            return graph.smiles == "CCCO"

    monkeypatch.setattr(openmm_confgf.generators, "create_generator", lambda name: Leaking())
    outcome = run("benchmark", "conformers", archive, "--generator", "leaky")
    assert outcome.code == 2 and outcome.out == "" and "training data of leaky" in outcome.err


@pytest.mark.parametrize("options", [["--delta", "0"], ["--max-molecules", "0"], ["--generator", "magic"]])
def test_bad_calls_give_one_line_and_exit_code_2(run, archive, options):
    defaults = [] if "--generator" in options else ["--generator", "etkdg"]
    outcome = run("benchmark", "conformers", archive, *defaults, *options)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
