import subprocess
import sys

import numpy as np
import pytest

from openmm_confgf import __version__
from openmm_confgf.cli.app import app
from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from tests.files.test_archive import make_arrays


def registered(application, *before):
    """The words of each command, those of its groups first."""
    for command in application.registered_commands:
        yield [*before, command.name or command.callback.__name__]
    for group in application.registered_groups:
        yield from registered(group.typer_instance, *before, group.name)


COMMANDS = list(registered(app))


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
        (["evaluate"], ["--seed", "--forcefield", "--level", "--temperature", "--minima", "--relax", "--weighted"]),
        (["seed"], ["--seed", "--platform", "--count", "--run-ps", "--output"]),
        (["simulate"], ["--seed", "--device", "--forcefield", "--temperature", "--replicas", "--ns", "--ladder", "--output"]),
        (["train", "confgf"], ["--seed", "--device"]),
        (["train", "boltzmann"], ["--seed", "--device", "--forcefield", "--temperature", "--from", "--trajectory", "--until-ess"]),
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


def test_every_command_names_itself_in_json(run, toy_level, peroxide_samples, tmp_path, monkeypatch):
    """All that are registered: a new one needs a call here."""
    monkeypatch.setattr("openmm_confgf.training.recipe.VALIDATION_STEPS", 2)
    for recipe in ("recipe", "flow_recipe"):
        monkeypatch.setattr(f"openmm_confgf.training.boltzmann.{recipe}.TESTED", 200)
    boltzmann = tmp_path / "boltzmann"
    conformers, archive = tmp_path / "in.sdf", tmp_path / "in.npz"
    write_ensembles([ETKDGGenerator().sample("CCO", 2, seed=2)], conformers)
    np.savez(archive, **make_arrays(("CCCO", "CCN", "CC=O", "CCOC"), (2,) * 4))
    write_ensembles(peroxide_samples[:200], tmp_path / "samples.h5")
    quick = ("--replicas", 2, "--ns", 0.0001, "--frame-interval", 0.05, "--equilibration", 0.1, "--no-compile")
    aligned = ("-k", 2, "--samples", 6, "--steps", 1, "--round-steps", 1, "--draws", 1, "--device", "cpu")
    calls = {
        "generate": ("CCO", "-n", 1, "--generator", "etkdg", "-o", tmp_path / "out.sdf"),
        "score": (conformers, "--forcefield", toy_level, "--platform", "Reference"),
        "reweight": (tmp_path / "samples.h5",),
        "evaluate": (conformers, conformers),
        "align": ("--molecules", "OCCO", "--level", "mmff94s", *aligned, "-o", tmp_path / "aligned"),
        "seed": (conformers, "--forcefield", toy_level, "--count", 1, "--run-ps", 0, "-o", tmp_path / "seeds"),
        "simulate": ("CCO", "--forcefield", toy_level, *quick, "-o", tmp_path / "md.h5"),
        "reference": ("CCO", "--level", toy_level, "--starts", 2, "--workers", 1, "-o", tmp_path / "out.npz"),
        "report": (conformers, "-o", tmp_path / "report.html"),
        "doctor": (),
        "train confgf": (archive, "--steps", 1, "--round-steps", 1, "--pair-budget", 400, "--device", "cpu", "-o", tmp_path / "run"),
        "train boltzmann": ("OO", "--trajectory", tmp_path / "samples.h5", "--rounds", 1, "--device", "cpu", "-o", boltzmann),
        "train tbg": ("OO", "--trajectory", tmp_path / "samples.h5", "--rounds", 1, "--device", "cpu", "-o", tmp_path / "tbg"),
        "benchmark boltzmann": ("OO", "--weights", boltzmann / "boltzmann.safetensors", "-n", 200, "--seeds", 1, "--device", "cpu"),
        "benchmark conformers": (archive, "--generator", "etkdg", "--max-molecules", 1),
        "benchmark energies": ("--system", "ala2-vacuum", "--batch", 2, "--eager-only", "--repeats", 1),
    }
    assert sorted(calls) == sorted(map(" ".join, COMMANDS))
    for command, arguments in calls.items():
        outcome = run(*command.split(), *arguments, "--json")
        assert outcome.json["command"] == command and outcome.code == 0, (command, outcome.err)
