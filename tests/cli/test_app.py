import subprocess
import sys

import pytest

from openmm_confgf import __version__

COMMANDS = (
    *(["generate"], ["score"], ["seed"], ["simulate"], ["reference"], ["train", "confgf"]),
    *(["benchmark", "conformers"], ["benchmark", "energies"], ["doctor"]),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example_as_it_would_be_typed(run, command):
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert f"\n    openmm-confgf {' '.join(command)}" in outcome.out
    assert "--json" in outcome.out


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["generate"], ["--seed", "--device", "--count", "--generator", "--output"]),
        (["score"], ["--platform", "--forcefield", "--temperature", "--minimize", "--property"]),
        (["seed"], ["--seed", "--platform", "--count", "--run-ps", "--output"]),
        (["simulate"], ["--seed", "--device", "--forcefield", "--temperature", "--replicas", "--ns", "--ladder", "--output"]),
        (["train", "confgf"], ["--seed", "--device"]),
        (["benchmark", "conformers"], ["--seed", "--device", "--delta"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_options_are_there_where_they_have_meaning(run, command, options):
    text = run(*command, "--help").out
    assert all(option in text for option in options)


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["generate"], ["generate", "C", "--device", "tpu"], ["seed", "x.sdf"], ["score"]]
)
def test_bad_calls_exit_with_2_and_print_nothing_on_stdout(run, arguments):
    outcome = run(*arguments)
    assert outcome.code == 2 and outcome.out == "" and outcome.err.strip()


def test_version(run):
    assert run("--version").out.strip() == __version__


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "openmm_confgf", "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == __version__
