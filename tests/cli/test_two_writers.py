"""A second process that would write the same output is refused before it begins, and the first is not disturbed."""

import pytest

from openmm_confgf.writing import only_writer

FRAMES = ["peptide:ACE-NME", "--forcefield", "amber14-all.xml"]
COMMANDS = {
    "simulate": (["simulate", *FRAMES, "--ns", "0.001", "-o"], "out.h5"),
    "train boltzmann": (["train", "boltzmann", *FRAMES, "--rounds", "2", "-o"], "run"),
    "train tbg": (["train", "tbg", *FRAMES, "--rounds", "2", "-o"], "run"),
    "align": (["align", "--molecules", "CCO", "-o"], "run"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_process_is_refused(run, tmp_path, command):
    arguments, name = COMMANDS[command]
    with only_writer(tmp_path / name):
        outcome = run(*arguments, str(tmp_path / name))
    assert outcome.code == 2 and "is being written by process" in outcome.err and outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
