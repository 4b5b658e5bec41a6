"""Commands with --cluster: the same results as without, whatever ends in between."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from openmm_confgf.files import read_ensembles, write_ensembles

pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
SMILES = ["CCO", "C[Te]C", "CCN", "CC(=O)N", "OCCO", "C1CC1", "CCC#N", "CSC"]


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "library.smi"
    path.write_text("".join(f"{smiles} m{k}\n" for k, smiles in enumerate(SMILES)))
    return path


def command(*arguments):
    return [sys.executable, "-m", "openmm_confgf", *map(str, arguments)]


def positions(folder):
    return {path.name: read_ensembles(path)[0].positions for path in sorted(folder.glob("out-*.h5"))}


def test_the_number_of_workers_changes_nothing(run, library, tmp_path):
    generate = ("generate", library, "-n", 2, "--generator", "etkdg", "--seed", 3)
    told = {}
    for name, options in (("none", ()), ("one", ("--cluster", "local")), ("two", ("--cluster", "local", "--workers", 2))):
        (tmp_path / name).mkdir()
        outcome = run(*generate, *options, "-o", tmp_path / name / "out.h5", "--json")
        assert outcome.code == 0 and len(outcome.json["molecules"]) == len(SMILES)
        assert not (tmp_path / name / "out.h5.partial").exists()
        told[name] = outcome.json["molecules"]
    assert told["one"] == told["two"] == told["none"]
    found = {name: positions(tmp_path / name) for name in ("none", "one", "two")}
    assert len(found["none"]) == len(SMILES)
    for name in ("one", "two"):
        assert found[name].keys() == found["none"].keys()
        for file, array in found["none"].items():
            np.testing.assert_array_equal(found[name][file], array)


def test_one_molecule_that_fails_is_in_the_summary(run, tmp_path, toy_level):
    (tmp_path / "in.smi").write_text("CO a\nCCC b\nCCO c\n")
    assert run("generate", tmp_path / "in.smi", "-n", 2, "--generator", "etkdg", "-o", tmp_path / "in.sdf").code == 0
    score = ("score", tmp_path / "in.sdf", "--forcefield", toy_level, "--platform", "Reference", "--json")
    plain, cluster = run(*score), run(*score, "--cluster", "local")
    assert plain.code == cluster.code == 1
    told = [{name: outcome.json[name] for name in ("molecules", "failed")} for outcome in (plain, cluster)]
    assert told[0] == told[1] and [failure["name"] for failure in told[0]["failed"]] == ["b"]


def test_seeds_come_from_workers(run, tmp_path, toy_level):
    (tmp_path / "in.smi").write_text("CO a\nCCO b\n")
    assert run("generate", tmp_path / "in.smi", "-n", 2, "--generator", "etkdg", "-o", tmp_path / "in.sdf").code == 0
    seed = ("seed", tmp_path / "in.sdf", "--count", 1, "--run-ps", 0, "--forcefield", toy_level, "--platform", "Reference")
    for name, options in (("plain", ()), ("cluster", ("--cluster", "local"))):
        outcome = run(*seed, *options, "-o", tmp_path / name)
        assert outcome.code == 0 and "wrote 2 seeds" in outcome.err
    for state in sorted((tmp_path / "plain").rglob("*.xml")):
        assert state.read_text() == (tmp_path / "cluster" / state.relative_to(tmp_path / "plain")).read_text()


def test_one_job_is_done_by_a_worker(run, tmp_path, monkeypatch, toy_level):
    """With files that are named from where the program is; what it tells is the same, and so is what it leaves."""
    monkeypatch.chdir(tmp_path)
    simulate = ["simulate", "CCO", "--forcefield", toy_level, "--replicas", 2, "--frame-interval", 0.05, "--equilibration", 0.1]
    simulate += ["--no-compile", "--device", "cpu", "--ns", 0.0001, "--json"]
    plain, cluster = run(*simulate, "-o", "plain.h5"), run(*simulate, "-o", "cluster.h5", "--cluster", "local")
    assert plain.code == cluster.code == 0, cluster.err
    assert plain.json["status"] == cluster.json["status"] and cluster.json["files"] == ["cluster.h5"]
    np.testing.assert_array_equal(*(read_ensembles(tmp_path / name)[0].positions for name in ("plain.h5", "cluster.h5")))


def test_tables_notes_and_codes_of_one_job_come_back(run, peroxide_samples, tmp_path):
    (samples,) = write_ensembles(peroxide_samples, tmp_path / "samples.h5")
    outcomes = [run("reweight", samples, "--truncate", 0.001, *options) for options in ((), ("--cluster", "local"))]
    assert outcomes[0].code == outcomes[1].code == 0 and outcomes[0].out == outcomes[1].out and "4000 OK" in outcomes[1].out
    assert outcomes[0].err == outcomes[1].err and "weights were truncated" in outcomes[1].err


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (["align", "--molecules", "CCO", "--loss", "none", "-o", "aligned"], "loss"),
        (["train", "boltzmann", "C1CC", "-o", "run"], "cannot be parsed"),
    ],
)
def test_errors_of_one_job_are_one_sentence(run, tmp_path, monkeypatch, call, words):
    monkeypatch.chdir(tmp_path)
    plain, cluster = run(*call), run(*call, "--cluster", "local")
    assert plain.code == cluster.code == 2 and words in cluster.err and cluster.err == plain.err and cluster.err.count("\n") == 1
    assert run(*call, "--cluster", "nowhere.yaml").err.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "nowhere.yaml"], "neither local"),
        (["--cluster", "{library}"], "jobs"),
        (["--cluster", "local", "--device", "cuda:77"], "CUDA device"),
        (["--cluster", "local", "-n", "0"], "at least 1"),
    ],
)
def test_bad_calls_are_one_sentence(run, library, tmp_path, options, words):
    options = [option.format(library=library) for option in options]
    outcome = run("generate", library, "--generator", "confgf", "-o", tmp_path / "out.h5", *options)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_a_molecule_that_takes_too_long_has_failed_and_is_tried_again(run, library, tmp_path):
    library.write_text("CCO a\nCCN b\n")
    generate = ("generate", library, "-n", 1, "--generator", "etkdg", "--cluster", "local", "-o", tmp_path / "out.sdf")
    outcome = run(*generate, "--time-limit", 0.001)
    assert outcome.code == 1 and "failed: molecule 2 (b): it took more than 0.001 s; try it by itself" in outcome.err
    assert run(*generate, "--time-limit", 60).code == 0
    outcome = run("generate", library, "--time-limit", 1, "-o", tmp_path / "out.sdf")
    assert outcome.code == 2 and "add --workers 2 or more, or --cluster" in outcome.err


@pytest.mark.slow
def test_a_training_whose_process_dies_goes_on(tmp_path):
    (tmp_path / "in.smi").write_text("".join(f"{'C' * (2 + k)}O m{k}\n" for k in range(6)))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"}
    generate = command("generate", "in.smi", "-n", 4, "--generator", "etkdg", "-o", "in.sdf")
    subprocess.run(generate, env=environment, cwd=tmp_path, check=True, capture_output=True)
    train = command("train", "confgf", "--data", "in.sdf", "--steps", 12, "--round-steps", 3, "-o", "run", "--cluster", "local", "--json")
    with subprocess.Popen(train, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(max(children_of(process.pid), key=lambda pid: psutil.Process(pid).memory_info().rss), signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert '"command": "train confgf"' in out


@pytest.mark.slow
def test_the_program_is_killed_and_goes_on(library, tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    library.write_text("".join(f"{'C' * (4 + k % 6)}O m{k}\n" for k in range(30)))
    generate = ("generate", library, "-n", 30, "--generator", "etkdg+mmff", "--cluster", "local", "--workers", 2)

    def whole(folder, *options):
        folder.mkdir(exist_ok=True)
        call = command(*generate, "-o", folder / "out.h5", *options)
        return subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    killed = whole(tmp_path / "killed")
    store = tmp_path / "killed" / "out.h5.partial"
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.h5"))) < 5 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = children_of(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = len(list(store.glob("*.h5")))
    assert 5 <= done < 30 and len(workers) >= 2
    # nobody stays behind
    deadline = time.monotonic() + 30
    while (left := [pid for pid in workers if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left

    resumed, undisturbed = whole(tmp_path / "killed", "--resume"), whole(tmp_path / "undisturbed")
    assert resumed.wait(300) == undisturbed.wait(300) == 0, resumed.stderr.read()
    found, wanted = positions(tmp_path / "killed"), positions(tmp_path / "undisturbed")
    assert len(wanted) == 30 and found.keys() == wanted.keys() and not store.exists()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def children_of(pid):
    """All that a process has started, and what these have."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in listed.splitlines())
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}
