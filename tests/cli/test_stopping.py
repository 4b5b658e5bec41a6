"""What is finished is kept, whatever ends a command, and the same command goes on with the same result."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators import ETKDGGenerator

ROOT = Path(__file__).resolve().parents[2]
SMILES = ["CCO", "CC(C)C[C@H](N)C(=O)O", "CCN", "OCC(O)CO", "CCCCCCO", "c1ccccc1CO", "CC(N)=O", "CCCCN", "CCS", "CC(=O)OC"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals here")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in.smi").write_text("".join(f"{smiles} m{k}\n" for k, smiles in enumerate(SMILES)))
    return tmp_path


def call(command, folder):
    return {
        "generate": ["generate", folder / "in.smi", "-n", "100", "--generator", "etkdg+mmff"],
        "workers": ["generate", folder / "in.smi", "-n", "100", "--generator", "etkdg+mmff", "--workers", "2"],
        "score": ["score", folder / "in.sdf", "--forcefield", "mmff94s", "--minimize"],
    }[command]


def start(arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "openmm_confgf", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def stop_after(arguments, folder, kept, number):
    """Send a signal as soon as so many more molecules are kept; gives the exit code and stderr."""
    kept += len(list(folder.glob("*.partial/*.h5")))
    process = start(arguments)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.partial/*.h5"))) < kept and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.parametrize("command", ["generate", "workers", "score"])
def test_a_killed_call_goes_on_to_the_same_file(folder, command):
    if command == "score":
        write_ensembles([ETKDGGenerator().sample(smiles, 100) for smiles in SMILES], folder / "in.sdf")
    arguments = [*call(command, folder), "-o", folder / "out.sdf"]
    undisturbed = start([*arguments[:-1], folder / "undisturbed.sdf"])
    assert undisturbed.communicate(timeout=200) and undisturbed.returncode == 0
    code, _ = stop_after(arguments, folder, 2, signal.SIGKILL)
    assert code == -signal.SIGKILL and not (folder / "out.sdf").exists()
    refused = start(arguments)
    assert "add --resume" in refused.communicate(timeout=120)[1] and refused.returncode == 2
    code, err = stop_after([*arguments, "--resume"], folder, 1, signal.SIGTERM)
    assert code == 143 and "when SIGTERM stopped the work" in err and "Traceback" not in err
    assert 3 <= len(read_ensembles(folder / "out.sdf")) < len(SMILES)
    last = start([*arguments, "--resume"])
    assert "wrote" in last.communicate(timeout=200)[1] and last.returncode == 0
    assert (folder / "out.sdf").read_bytes() == (folder / "undisturbed.sdf").read_bytes()
    assert not [path.name for path in folder.iterdir() if "partial" in path.name]


def test_a_worker_that_dies_costs_one_molecule_and_only_this_time(folder):
    arguments = [*call("workers", folder), "-o", folder / "out.h5"]
    process = start(arguments)
    deadline, killed = time.monotonic() + 120, False
    while not killed and time.monotonic() < deadline:
        if list(folder.glob("*.partial/*.h5")):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            workers = [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]
            os.kill(workers[-1], signal.SIGKILL)
            killed = True
        time.sleep(0.005)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1 and "9 of 10 molecules finished, 1 failed" in err and "its worker process died" in err
    names = sorted(path.name for path in folder.glob("out-*.h5"))
    assert len(names) == 9 and all(name.startswith(f"out-000{name[7]}-m{name[7]}") for name in names)


def test_what_somebody_removes_meanwhile_is_named_and_made_again(folder):
    arguments = [*call("generate", folder), "-o", folder / "out.sdf"]
    undisturbed = start([*arguments[:-1], folder / "undisturbed.sdf"])
    undisturbed.communicate(timeout=200)
    process, store = start(arguments), folder / "out.sdf.partial"
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.h5"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    shutil.rmtree(store)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 2 and not (folder / "out.sdf").exists() and err.count("\n") == 1
    assert err.startswith(f"error: {store}") and err.endswith(".h5 is gone; go on with --resume, which makes it again.\n")
    again = start([*arguments, "--resume"])
    assert "wrote" in again.communicate(timeout=200)[1]
    assert (folder / "out.sdf").read_bytes() == (folder / "undisturbed.sdf").read_bytes()


def test_an_interrupted_training_keeps_its_rounds(folder):
    write_ensembles([ETKDGGenerator().sample(smiles, 4) for smiles in SMILES[:6]], folder / "in.sdf")
    run = folder / "run"
    arguments = ["train", "confgf", "--data", folder / "in.sdf", "--steps", "12", "--round-steps", "3", "--device", "cpu", "-o", run]
    process = start(arguments)
    deadline = time.monotonic() + 200
    while not (run / "last.ckpt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143 and "Traceback" not in err
    assert f"stopped by SIGTERM; {run} holds the rounds that are finished, and the same command goes on from there" in err
    last = start([*arguments, "--json"])
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0 and '"command": "train confgf"' in out, err
    assert not list(run.glob(".*"))


def test_what_is_resumed_has_other_settings(run, folder):
    arguments = [*call("generate", folder), "-o", folder / "out.sdf"]
    stop_after(arguments, folder, 1, signal.SIGKILL)
    outcome = run(*arguments, "--resume", "--seed", 7)
    assert outcome.code == 2 and "is of a call with seed 0; give the same settings" in outcome.err and outcome.err.count("\n") == 1


def test_resume_needs_an_output(run, folder):
    write_ensembles([ETKDGGenerator().sample("CCO", 1)], folder / "in.sdf")
    assert "give that with -o" in run("score", folder / "in.sdf", "--resume").err


def test_numbers_of_files_are_those_of_the_input(run, tmp_path):
    (tmp_path / "in.smi").write_text("CCO same/name\nC1CC broken\nCCN same/name\nCCC ../../up\nCCS\n")
    outcome = run("generate", tmp_path / "in.smi", "-n", 1, "--generator", "etkdg", "-o", tmp_path / "out.h5", "--json")
    assert outcome.code == 1
    names = [Path(path).name for path in outcome.json["files"]]
    assert names == ["out-0000-same_name.h5", "out-0002-same_name.h5", "out-0003-up.h5", "out-0004-CCS.h5"]
    assert [read_ensembles(tmp_path / name)[0].graph.smiles for name in names] == ["CCO", "CCN", "CCC", "CCS"]
    assert [m["index"] for m in outcome.json["molecules"]] == [0, 2, 3, 4]
    assert np.isfinite(read_ensembles(tmp_path / names[0])[0].positions).all()
