import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.models.cards import available_weights
from openmm_confgf.training import recipe
from tests.files.test_archive import make_arrays

SMILES = ("CCCO", "CCN", "C[C@H](O)CF", "CC=O", "C1CC1O", "CCOC")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **make_arrays(SMILES, (2,) * len(SMILES)))
    return path


@pytest.fixture
def short_validation(monkeypatch):
    monkeypatch.setattr(recipe, "VALIDATION_STEPS", 2)


def test_a_short_run_leaves_weights_that_match_their_card(run, archive, tmp_path, short_validation):
    options = ["--steps", 2, "--round-steps", 1, "--pair-budget", 400, "--device", "cpu"]
    outcome = run("train", "confgf", archive, "-o", tmp_path / "run", *options, "--json")
    assert outcome.code == 0, outcome.err
    weights = Path(outcome.json["weights"])
    assert weights.with_suffix(".json").exists()
    assert outcome.json["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert outcome.json["steps"] == outcome.json["chosen_step"] == 2 and outcome.json["parent"] is None
    # the same run, spelled in the other way
    again = run("train", "confgf", "--data", archive, "-o", tmp_path / "run", *options)
    assert again.code == 0 and again.out == "" and "2 of 2 steps; validation loss " in again.err


def test_molecules_of_an_sdf_are_fine_tuned_on_and_generated(run, tmp_path, short_validation):
    write_ensembles([ETKDGGenerator().sample(s, 3) for s in SMILES[:3]], tmp_path / "mine.sdf")
    with open(tmp_path / "mine.sdf", "a") as stream:
        stream.write("no molecule\n$$$$\n")
    options = ["--steps", 4, "--round-steps", 2, "--pair-budget", 400, "--device", "cpu"]
    tuned = run("train", "confgf", "--data", tmp_path / "mine.sdf", "--from", "confgf", "-o", tmp_path / "run", *options, "--json")
    assert tuned.code == 0, tuned.err
    assert "left out 1 unreadable (first: " in tuned.err and "9 conformers of 3 molecules remain" in tuned.err
    assert tuned.json["parent"]["name"] == "confgf" and tuned.json["val_loss"]["before"] is not None
    assert tuned.json["val_loss"]["kept"] <= tuned.json["val_loss"]["before"]
    with Image.open(tuned.json["loss_curve"]) as picture:
        assert picture.format == "PNG" and picture.size == (1560, 600)
    made = run("generate", SMILES[0], "-n", 2, "--weights", tuned.json["weights"], "-o", tmp_path / "out.sdf", "--device", "cpu", "--json")
    assert made.code == 0, made.err
    assert made.json["molecules"][0]["provenance"]["weights_sha256"] == tuned.json["sha256"]


def test_the_preset_is_that_of_the_parent(run, archive, tmp_path, short_validation):
    options = ["--steps", 1, "--round-steps", 1, "--pair-budget", 400, "--device", "cpu"]
    outcome = run("train", "confgf", "--data", archive, "--from", "confgf-paper", "-o", tmp_path / "run", *options, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["preset"] == "confgf-paper" and Path(outcome.json["weights"]).name == "confgf-paper.safetensors"


def test_the_target_of_the_parent_is_kept_and_shown(run, archive, tmp_path, short_validation):
    shipped = next(card for card in available_weights() if card.stem == "confgf-paper")
    shutil.copy(shipped.with_suffix(".safetensors"), tmp_path / "parent.safetensors")
    target = {"forcefield": "openff-2.2.1", "temperature": 300.0, "inputs": None}
    (tmp_path / "parent.json").write_text(json.dumps(json.loads(shipped.read_text()) | {"target": target}))
    options = ["--from", tmp_path / "parent.safetensors", "--steps", 1, "--round-steps", 1, "--pair-budget", 400, "--device", "cpu"]
    outcome = run("train", "confgf", archive, "-o", tmp_path / "run", *options, "--json")
    assert outcome.code == 0 and outcome.json["target"] == target, outcome.err
    assert json.loads(Path(outcome.json["weights"]).with_suffix(".json").read_text())["target"] == target
    assert "; to sample openff-2.2.1 at 300 K; wrote" in run("train", "confgf", archive, "-o", tmp_path / "run", *options).err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "3", "--round-steps", "2"], "multiple"),
        (["--preset", "magic"], "magic"),
        (["--steps", "0"], "steps is 0"),
        (["--round-steps", "0"], "round_steps is 0"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--pair-budget", "0"], "pair_budget is 0"),
        (["--patience", "-1"], "patience is -1"),
        (["--seed", "-1"], "at least 0"),
        (["-o", "/dev/null/run"], "/dev/null"),
        (["--from", "none.safetensors"], "none.json"),
        (["--from", "confgf", "--preset", "confgf-paper"], "preset confgf, not confgf-paper"),
        (["--data", "none.sdf"], "none.sdf cannot be read"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, archive, tmp_path, options, message):
    outcome = run("train", "confgf", archive, "-o", tmp_path / "run", *options)
    assert outcome.code == 2 and outcome.out == "" and message in outcome.err
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_nothing_to_train_on_is_refused(run, archive, tmp_path):
    outcome = run("train", "confgf", archive, "--held-out", archive, "-o", tmp_path / "run")
    assert outcome.code == 2 and outcome.err.splitlines()[-1].startswith("error: There is no molecule")
    outcome = run("train", "confgf", "-o", tmp_path / "run")
    assert outcome.code == 2 and "--data" in outcome.err


def test_a_missing_archive_is_refused(run, tmp_path):
    assert run("train", "confgf", tmp_path / "none.npz", "-o", tmp_path / "run").code == 2


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["generate", "CCCO", "--generator", "etkdg"], "no network"),
        (["generate", "CCCO", "--generator", "confgf-paper"], "PairField"),
        (["generate", "CCCO"], "none.json"),
        (["benchmark", "conformers", "ARCHIVE", "--generator", "etkdg"], "--weights"),
    ],
)
def test_weights_that_a_generator_cannot_take_are_refused(run, archive, tmp_path, command, message):
    shipped = next(card for card in available_weights() if card.stem == "confgf")
    for suffix in (".json", ".safetensors"):
        shutil.copy(shipped.with_suffix(suffix), tmp_path / f"mine{suffix}")
    weights = tmp_path / ("none.safetensors" if message == "none.json" else "mine.safetensors")
    folder = [] if command[0] == "benchmark" else ["-o", tmp_path / "out.sdf"]
    outcome = run(*(archive if word == "ARCHIVE" else word for word in command), "--weights", weights, *folder)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and message in outcome.err
