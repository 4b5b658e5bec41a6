import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import openmm_confgf.references
from openmm_confgf.errors import GenerationError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.references import reference_ensembles


def test_an_archive_comes_out_and_bad_molecules_cost_themselves(run, tmp_path, toy_level):
    (tmp_path / "in.smi").write_text("OCC ethanol\nC1CC broken\nC[Xe]C xenon\nCO methanol\n")
    output = tmp_path / "new" / "e.npz"
    outcome = run("reference", tmp_path / "in.smi", "--level", toy_level, "--starts", 3, "-o", output, "--workers", 1, "--json")
    assert outcome.code == 1
    report = outcome.json
    assert [m["name"] for m in report["molecules"]] == ["ethanol", "methanol"] and report["files"] == [str(output)]
    assert [(f["index"], f["name"]) for f in report["failed"]] == [(1, "broken"), (2, "xenon")]
    assert "same command tries the others again" in outcome.err and (tmp_path / "new" / "e.npz.partial").is_dir()
    molecules = load_archive(output)
    assert [m.name for m in molecules] == ["ethanol", "methanol"]
    assert [len(m.positions) for m in molecules] == [m["conformations"] for m in report["molecules"]]
    with np.load(output) as arrays:
        assert json.loads(str(arrays["provenance"])) == report["provenance"]

    # without the one that fails, what was finished is taken from the folder, and the folder goes
    (tmp_path / "in.smi").write_text("OCC ethanol\nCO methanol\n")
    content = output.read_bytes()
    again = run("reference", tmp_path / "in.smi", "--level", toy_level, "--starts", 3, "-o", output)
    assert again.code == 0 and "ethanol" in again.out and "wrote" in again.err
    assert [p.name for p in output.parent.iterdir()] == ["e.npz"]
    for old, new in zip(molecules, load_archive(output), strict=True):
        np.testing.assert_array_equal(old.positions, new.positions)
    assert len(content) == len(output.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "e.sdf"], ".npz"),
        (["-o", "file/e.npz"], "file"),
        (["--starts", "0"], "must be positive"),
        (["--workers", "0"], "at least 1"),
        (["--time-limit", "0"], "time limit"),
        (["--level", "gfn9"], "gfn9"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    level = [] if "--level" in arguments else ["--level", "amber14-all.xml"]
    outcome = run("reference", "CCO", *level, *arguments)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and message in outcome.err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_ctrl_c_keeps_what_is_finished_for_the_next_time(run, tmp_path, monkeypatch, toy_level):
    def interrupted(*arguments, **options):
        yield next(reference_ensembles(*arguments, **options))
        raise KeyboardInterrupt

    (tmp_path / "in.smi").write_text("CO\nOCC\n")
    call = ("reference", tmp_path / "in.smi", "--level", toy_level, "--starts", 2, "-o", tmp_path / "e.npz", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(openmm_confgf.references, "reference_ensembles", interrupted)
        outcome = run(*call)
    assert outcome.code == 130 and outcome.json["interrupted"] is True and outcome.json["files"] == []
    assert not (tmp_path / "e.npz").exists() and len(list((tmp_path / "e.npz.partial").glob("*.h5"))) == 1
    outcome = run(*call, "--seed", 1)
    assert outcome.code == 2 and outcome.out == "" and outcome.err.count("\n") == 1
    assert "is of a call with seed 0; give the same settings to go on" in outcome.err
    outcome = run(*call)
    assert outcome.code == 0 and len(load_archive(tmp_path / "e.npz")) == 2 and not (tmp_path / "e.npz.partial").exists()


def test_a_molecule_that_takes_too_long_fails_alone(run, tmp_path, monkeypatch):
    def slow(graphs, store, maker, *, workers, time_limit):
        yield 0, GenerationError(f"it took more than {time_limit:g} s; raise the time limit, or leave it out.")

    monkeypatch.setattr(openmm_confgf.references, "reference_ensembles", slow)
    outcome = run("reference", "CCO", "--level", "amber14-all.xml", "--time-limit", 3, "-o", tmp_path / "e.npz")
    assert outcome.code == 1 and outcome.err == "error: it took more than 3 s; raise the time limit, or leave it out.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xtb") is None, reason="the program xtb is not on the PATH")
@pytest.mark.skipif(sys.platform == "win32", reason="no signals here")
def test_a_real_ctrl_c_stops_the_workers_and_the_same_command_goes_on(tmp_path):
    (tmp_path / "in.smi").write_text("CO methanol\nCCCCCCCC(=O)NCCO long\n")
    call = [sys.executable, "-m", "openmm_confgf", "reference", "in.smi", "--starts", "4", "-o", "e.npz"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # a shell starts its background jobs with Ctrl-C ignored
    process = subprocess.Popen(
        call,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("e.npz.partial/*.h5")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "1 of 2 molecules finished" in err and "Traceback" not in err
    done = subprocess.run([*call, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [m.name for m in load_archive(tmp_path / "e.npz")] == ["methanol", "long"]
