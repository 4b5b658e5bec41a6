import json

import numpy as np
import pytest

from openmm_confgf import reweight, score
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators.harmonic import HarmonicGenerator
from openmm_confgf.models.cards import read_card
from openmm_confgf.training.boltzmann import flow_recipe


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Of water, nearly of equilibrium."""
    path = tmp_path_factory.mktemp("frames") / "water.h5"
    write_ensembles(HarmonicGenerator("openff-2.2.1", 300.0).sample("O", 600, seed=0, device="cpu"), path)
    return path


@pytest.fixture
def small(monkeypatch):
    """A small network, few samples."""
    given = flow_recipe.FlowRun

    def with_small(*arguments, **options):
        return given(*arguments, **options | {"width": 32, "layers": 3, "samples": 128, "learning_rate": 2e-3, "batch_size": 128})

    monkeypatch.setattr("openmm_confgf.training.boltzmann.flow_settings.FlowRun", with_small)
    monkeypatch.setattr(flow_recipe, "TESTED", 300)


def test_frames_become_a_flow_that_generates(run, frames, small, tmp_path):
    folder = tmp_path / "run"
    outcome = run("train", "tbg", "O", "--trajectory", frames, "--rounds", 5, "--device", "cpu", "-o", folder, "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["n"] == 300 and report["rounds"] == 5 and report["verdict"] in outcome.err
    assert {"tbg.safetensors", "tbg.json", "training.png", "weights.png", "samples.h5", "last.pt"} <= {
        path.name for path in folder.iterdir()
    }
    card = read_card(folder / "tbg.json")
    assert card.settings == {"variant": "graph", "scale": 10.0} and str(card.target) == "openff-2.2.1 at 300 K"
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert sum("k_hat" in row for row in rows) == 5 and rows[-1]["evaluations"] > 10
    samples = tmp_path / "more.h5"
    made = run("generate", "O", "--generator", "tbg", "--weights", report["weights"], "-n", 100, "--device", "cpu", "-o", samples)
    assert made.code == 0, made.err
    assert run("reweight", samples, "--json").json["n"] == 100
    table = run("benchmark", "boltzmann", "O", "--generator", "tbg", "--weights", report["weights"], "-n", 100, "--seeds", 1, "--json").json
    assert table["rows"][0]["seen"] and table["failed"] == []
    both = ("--generator", "tbg", "--generator", "tbg", "--weights", report["weights"])
    outcome = run("benchmark", "boltzmann", "O", *both)
    assert outcome.code == 2 and "2 generators and 1 weights; give --weights once for each --generator" in outcome.err
    table = run("benchmark", "boltzmann", "O", *both, "--weights", report["weights"], "-n", 50, "--seeds", 1, "--json").json
    assert [(row["generator"], row["weights"]) for row in table["rows"]] == [("tbg", "tbg")] * 2


@pytest.mark.slow
def test_its_weights_know_the_partition_function(run, frames, small, tmp_path):
    """That of samples of another density, in internal coordinates."""
    outcome = run("train", "tbg", "O", "--trajectory", frames, "--rounds", 20, "--device", "cpu", "-o", tmp_path / "run", "--json")
    assert outcome.code == 0 and outcome.json["trusted"] and outcome.json["ess_fraction"] > 0.1, outcome.err
    (samples,) = read_ensembles(frames)
    known = reweight(score(samples, "openff-2.2.1"), 300).diagnostics
    assert outcome.json["log_z"] == pytest.approx(known.log_z, abs=6 * np.hypot(outcome.json["log_z_error"], known.log_z_error))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "magic"], "There is no variant 'magic' of atom types; use one of"),
        (["--variant", "tbg+full"], "residue"),
        (["--coupling", "magic"], "There is no coupling 'magic'"),
        (["--minutes", 0], "minutes is 0"),
        (["--upweight-phi"], "has no phi whose frames could be up-weighted"),
    ],
)
def test_bad_calls(run, frames, tmp_path, arguments, message):
    outcome = run("train", "tbg", "O", "--trajectory", frames, "--rounds", 1, "-o", tmp_path / "run", *arguments)
    assert outcome.code == 2 and message in outcome.err, outcome.err


def test_weights_are_needed(run, tmp_path):
    outcome = run("generate", "O", "--generator", "tbg", "-n", 2, "-o", tmp_path / "two.h5")
    assert outcome.code == 2 and "There are no shipped weights of tbg; train some (openmm-confgf train tbg)" in outcome.err
    outcome = run("benchmark", "boltzmann", "O", "--generator", "etkdg", "-n", 100)
    assert outcome.code == 2 and "'etkdg' samples no equilibrium; use boltzmann or tbg" in outcome.err
