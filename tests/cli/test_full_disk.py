"""A disk that is full while a command writes: one line, every earlier file as it was, and nothing that no later run would use."""

import os

import numpy as np
import pytest

from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from tests.files.test_archive import make_arrays


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Conformers and an archive, on another disk."""
    folder = tmp_path_factory.mktemp("inputs")
    write_ensembles([ETKDGGenerator().sample("CCO", 3, seed=2)], folder / "in.sdf")
    np.savez(folder / "in.npz", **make_arrays(("CCCO", "CCN", "CC=O", "CCOC"), (2,) * 4))
    return folder


def calls(inputs, level):
    """A call for each command that writes files, and what it writes."""
    quick = ("--replicas", 3, "--ns", 0.0001, "--frame-interval", 0.05, "--equilibration", 0.1, "--no-compile")
    return {
        "generate": (("generate", "CCO", "-n", 3, "--generator", "etkdg"), "out.sdf"),
        "report": (("report", inputs / "in.sdf"), "report.html"),
        "score": (("score", inputs / "in.sdf", "--forcefield", level, "--platform", "Reference"), "out.sdf"),
        "seed": (("seed", inputs / "in.sdf", "--forcefield", level, "--count", 1, "--run-ps", 0), "seeds"),
        "simulate": (("simulate", "CCO", "--forcefield", level, *quick), "md.h5"),
        "reference": (("reference", "CCO", "--level", level, "--starts", 2, "--workers", 1), "out.npz"),
        "train": (("train", "confgf", inputs / "in.npz", "--steps", 2, "--round-steps", 1, "--pair-budget", 400), "run"),
    }


def fill(disk, name):
    left = os.statvfs(disk)
    (disk / name).write_bytes(os.urandom(left.f_bavail * left.f_frsize))


def content(disk):
    return {str(path.relative_to(disk)): path.read_bytes() for path in disk.rglob("*") if path.is_file()}


def check_refusal(outcome):
    assert outcome.code == 2 and outcome.out == "", outcome
    (error,) = (line for line in outcome.err.splitlines() if not line.startswith("wrote "))
    assert error.startswith("error: ") and "No space left on device" in error and "make room" in error


@pytest.mark.parametrize("command", ["generate", "score", "report", "seed", "simulate", "reference", "train"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(run, inputs, toy_level, tiny_disk, command):
    arguments, output = calls(inputs, toy_level)[command]
    fill(tiny_disk, "other")
    before = content(tiny_disk)
    check_refusal(run(*arguments, "-o", tiny_disk / output))
    assert content(tiny_disk) == before


@pytest.mark.parametrize("command", ["generate", "score", "reference"])
def test_an_earlier_output_outlasts_a_full_disk(run, inputs, toy_level, tiny_disk, command):
    arguments, output = calls(inputs, toy_level)[command]
    fill(tiny_disk, output)
    before = content(tiny_disk)
    check_refusal(run(*arguments, "-o", tiny_disk / output))
    assert content(tiny_disk) == before


def test_a_simulation_that_cannot_be_written_goes_on_once_there_is_room(run, inputs, toy_level, tiny_disk):
    arguments, output = calls(inputs, toy_level)["simulate"]
    assert run(*arguments, "-o", tiny_disk / output).code == 0
    earlier = (tiny_disk / output).read_bytes()
    fill(tiny_disk, "other")
    longer = (*arguments, "--ns", 0.0002, "-o", tiny_disk / output)
    check_refusal(run(*longer))
    assert (tiny_disk / output).read_bytes() == earlier and sorted(os.listdir(tiny_disk)) == [output, "other"]
    (tiny_disk / "other").unlink()
    assert run(*longer).code == 0
    (ensemble,) = read_ensembles(tiny_disk / output)
    assert len(ensemble) == 12
