"""A second process that would write the same output is refused before it begins, and the first is not disturbed."""

import pytest

from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.writing import only_writer

FRAMES = ["peptide:ACE-NME", "--forcefield", "amber14-all.xml"]
COMMANDS = {
    "generate": (["generate", "CCO", "-n", "2", "--generator", "etkdg", "-o"], "out.sdf"),
    "score": (["score", "IN", "--platform", "Reference", "-o"], "out.sdf"),
    "seed": (["seed", "IN", "--count", "1", "--run-ps", "0", "-o"], "seeds"),
    "reference": (["reference", "CCO", "--level", "openff-2.2.1", "--starts", "2", "-o"], "out.npz"),
    "simulate": (["simulate", *FRAMES, "--ns", "0.001", "-o"], "out.h5"),
    "train boltzmann": (["train", "boltzmann", *FRAMES, "--rounds", "2", "-o"], "run"),
    "train tbg": (["train", "tbg", *FRAMES, "--rounds", "2", "-o"], "run"),
    "align": (["align", "--molecules", "CCO", "-o"], "run"),
}


@pytest.fixture(scope="module")
def conformers(tmp_path_factory):
    path = tmp_path_factory.mktemp("inputs") / "in.sdf"
    write_ensembles([ETKDGGenerator().sample("CCO", 2, seed=1)], path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_process_is_refused(run, conformers, tmp_path, command):
    arguments, name = COMMANDS[command]
    with only_writer(tmp_path / name):
        outcome = run(*(conformers if part == "IN" else part for part in arguments), tmp_path / name)
    assert outcome.code == 2 and "is being written by process" in outcome.err and outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
