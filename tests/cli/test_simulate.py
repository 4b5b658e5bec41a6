import os
import signal
import subprocess
import sys
import time

import mdtraj
import numpy as np
import pytest

from openmm_confgf.cli.simulate import temperatures
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files import read_ensembles

QUICK = ("--replicas", 3, "--frame-interval", 0.05, "--equilibration", 0.1, "--no-compile")


def test_frames_come_out_and_more_of_them_the_next_time(run, tmp_path, toy_level):
    output = tmp_path / "new" / "md.h5"
    arguments = ("simulate", "CCO", "--forcefield", toy_level, *QUICK, "--ladder", "400:3", "--seed", 2, "-o", output)
    outcome = run(*arguments, "--ns", 0.0002, "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["command"] == "simulate" and report["files"] == [str(output)] and report["status"] == {"OK": 12}
    settings = report["provenance"]["settings"]
    assert settings["ladder"] == pytest.approx([300, 300 * (4 / 3) ** 0.5, 400]) and len(report["diagnostics"]["exchange_acceptance"]) == 2
    assert report["target"]["forcefield"] == toy_level and report["target"]["temperature"] == 300
    assert mdtraj.load(str(output)).n_frames == 12
    (before,) = read_ensembles(output)

    longer = run(*arguments, "--ns", 0.0004)
    assert longer.code == 0 and "24 OK" in longer.out and "R-hat" in longer.out and "wrote" in longer.err
    (after,) = read_ensembles(output)
    np.testing.assert_array_equal(after.positions[:12], before.positions)

    other = run(*arguments, "--ns", 0.0004, "--temperature", 310)
    assert other.code == 2 and "same settings" in other.err


def test_the_mean_is_over_all_frames(run, tmp_path, toy_level, monkeypatch):
    """Those that are bent too far are frames of equilibrium too, and the highest in energy: a mean without them is too low."""
    import openmm_confgf.generators.md as md

    def bent(graph, frames):
        stretched = np.linalg.norm(frames[:, 0] - frames[:, 1], axis=1)
        return np.where(stretched > np.median(stretched), 7, 0).astype(np.int8)

    monkeypatch.setattr(md, "check_conformations", bent)
    outcome = run("simulate", "CCO", "--forcefield", toy_level, *QUICK, "--ns", 0.0004, "-o", tmp_path / "md.h5")
    (ensemble,) = read_ensembles(tmp_path / "md.h5")
    assert ensemble.counts() == {"OK": 12, "DISTORTED": 12} and np.isfinite(ensemble.energy).all()
    assert "12 OK, 12 DISTORTED" in outcome.out and f"{ensemble.energy.mean():.1f}" in outcome.out
    assert f"{ensemble.energy.mean():.1f}" != f"{ensemble.energy[ensemble.ok].mean():.1f}"


def test_conformers_to_start_from(run, tmp_path, toy_level):
    assert run("generate", "CCO", "--generator", "etkdg", "-n", 2, "-o", tmp_path / "start.sdf").code == 0
    outcome = run("simulate", tmp_path / "start.sdf", "--forcefield", toy_level, *QUICK, "--ns", 0.0001, "-o", tmp_path / "md.h5", "--json")
    assert outcome.code == 0 and outcome.json["conformations"] == 6


def test_ctrl_c_keeps_the_frames_so_far(tmp_path, toy_level):
    output = tmp_path / "md.h5"
    arguments = ["simulate", "CCO", "--forcefield", toy_level, *map(str, QUICK), "--ns", "100", "-o", str(output)]
    # a background shell leaves SIGINT ignored to its children
    process = subprocess.Popen(
        [sys.executable, "-m", "openmm_confgf", *arguments],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    # no file before the first time that it is saved: wait until the process is at work
    while _cpu_seconds(process.pid) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert b"same command goes on from there" in err
    if output.exists():
        assert len(read_ensembles(output)[0]) % 3 == 0
    assert {p.name for p in tmp_path.iterdir()} <= {"md.h5"}


def _cpu_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return np.inf


def test_ladders():
    assert temperatures(300.0, None) == ()
    assert temperatures(300.0, "300,350, 420") == (300, 350, 420)
    assert temperatures(300.0, "600:3") == pytest.approx((300, 300 * 2**0.5, 600))
    for bad in ("", "a,b", "600:1", "200:3", "600:x", ":3"):
        with pytest.raises(ConfGFError, match="is no ladder above 300 K"):
            temperatures(300.0, bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CCO", "-o", "md.sdf"], ".h5"),
        (["CCO", "--ns", "0"], "positive length"),
        (["CCO", "--replicas", "0"], "0 replicas"),
        (["CCO", "--ladder", "200:3"], "no ladder above 300 K"),
        (["CCO", "--ladder", "310,350"], "does not rise from 300 K"),
        (["CCO", "--forcefield", "no-such"], "no force field 'no-such'"),
        (["CCO", "--forcefield", "gfn2"], "no System of OpenMM; take for example openff-2.2.1"),
        (["C1CC"], "SMILES"),
        (["two.smi"], "2 molecules"),
        (["missing.sdf"], "missing.sdf"),
    ],
)
def test_bad_calls(run, tmp_path, toy_level, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.smi").write_text("CCO a\nCO b\n")
    level = () if "--forcefield" in arguments else ("--forcefield", toy_level)
    output = () if "-o" in arguments else ("-o", "md.h5")
    outcome = run("simulate", *arguments, *level, *output)
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert message in outcome.err
    assert {p.name for p in tmp_path.iterdir()} == {"two.smi"}
