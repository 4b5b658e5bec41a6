import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.test_archive import make_arrays

SMILES = ("CCCO", "CCN", "C[C@H](O)CF", "CC=O", "C1CC1O", "CCOC")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **make_arrays(SMILES, (2,) * len(SMILES)))
    return path


@pytest.mark.slow
def test_a_short_run_leaves_weights_that_match_their_card(run, archive, tmp_path):
    outcome = run("train", "confgf", archive, "-o", tmp_path / "run", "--steps", 2, "--round-steps", 1, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    weights = Path(outcome.json["weights"])
    assert weights.with_suffix(".json").exists()
    assert outcome.json["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "3", "--round-steps", "2"], "multiple"),
        (["--preset", "magic"], "magic"),
        (["--steps", "0"], "steps is 0"),
        (["--round-steps", "0"], "round_steps is 0"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--pair-budget", "0"], "pair_budget is 0"),
        (["--seed", "-1"], "at least 0"),
        (["-o", "/dev/null/run"], "/dev/null"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, archive, tmp_path, options, message):
    outcome = run("train", "confgf", archive, "-o", tmp_path / "run", *options)
    assert outcome.code == 2 and outcome.out == "" and message in outcome.err
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_nothing_to_train_on_is_refused(run, archive, tmp_path):
    outcome = run("train", "confgf", archive, "--held-out", archive, "-o", tmp_path / "run")
    assert outcome.code == 2 and outcome.err.startswith("error: ")


def test_a_missing_archive_is_refused(run, tmp_path):
    assert run("train", "confgf", tmp_path / "none.npz", "-o", tmp_path / "run").code == 2
