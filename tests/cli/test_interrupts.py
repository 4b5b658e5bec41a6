import os
import re
import signal
import subprocess
import sys

import pytest
import typer

from openmm_confgf.cli.interrupts import Stopped, ends_when_asked, signals_for_python_only

WHILE_RDKIT_EMBEDS = """
import os, signal, sys, threading, time
from openmm_confgf.cli.interrupts import exit_code_after, signals_for_python_only
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with Ctrl-C ignored
embedded = 0
try:
    with signals_for_python_only():
        from rdkit import Chem  # as in the command line: numpy's threads start inside
        from rdkit.Chem import rdDistGeom
        mol = Chem.AddHs(Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1CCCCC"))
        threading.Timer(0.3, os.kill, (os.getpid(), getattr(signal, sys.argv[1]))).start()
        stop = time.monotonic() + 60
        while time.monotonic() < stop:
            embedded = len(rdDistGeom.EmbedMultipleConfs(mol, 50, randomSeed=1))
            assert embedded == 50, f"RDKit saw the signal: {embedded}"
except KeyboardInterrupt as interrupt:
    print("interrupted after", embedded, "with", exit_code_after(interrupt))
"""

IN_THE_MIDDLE_OF_AN_IMPORT = """
import os, pathlib, signal, sys
from openmm_confgf.cli.interrupts import exit_code_after, signals_for_python_only
pathlib.Path("fragile.py").write_text('''
import os, signal, sys, time
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
stop = time.monotonic() + 0.5
while time.monotonic() < stop:
    pass
whole = True
''')
sys.path.insert(0, "")
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with signals_for_python_only():
        import fragile
        while True:
            pass
except KeyboardInterrupt as interrupt:
    print(sys.modules["fragile"].whole, exit_code_after(interrupt))
"""

SWALLOWED = """
import os, signal, sys, time
from openmm_confgf.cli.interrupts import exit_code_after, signals_for_python_only
signal.signal(signal.SIGINT, signal.default_int_handler)

def wait(seconds):  # in short pieces: a call into C is finished first
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        time.sleep(0.01)

def asked_to_stop():
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    wait(1)

class Fragile:
    def __del__(self):
        asked_to_stop()

class Broken:
    def __del__(self):
        raise ValueError("Its own fault.")

def careless():
    try:
        asked_to_stop()
    except:
        pass

try:
    with signals_for_python_only():
        Broken()
        Fragile() if sys.argv[2] == "destructor" else careless()
        wait(30)
        print("not stopped")
except KeyboardInterrupt as interrupt:
    print(exit_code_after(interrupt))
"""

AT_EVERY_LINE_OF_A_WRITER = """
import contextlib, os, signal, sys, time
from pathlib import Path
from openmm_confgf import writing
from openmm_confgf.cli.interrupts import exit_code_after, signals_for_python_only

def stopped_at(line):  # whether a signal came in that line, counted over all that run
    left = line
    def each(frame, event, argument):
        nonlocal left
        left -= event == "line"
        if left == 0 and event == "line":
            os.kill(os.getpid(), signal.SIGTERM)
            stop = time.monotonic() + 0.05
            while time.monotonic() < stop:
                pass
        return each
    try:
        with signals_for_python_only():
            sys.settrace(lambda frame, event, argument: each if frame.f_code.co_filename == writing.__file__ else None)
            with writing.only_writer("a.h5"), writing.whole_file("a.h5") as stream:
                stream.write(b"all of it")
            sys.settrace(None)
            time.sleep(0.05)
    except KeyboardInterrupt as interrupt:
        assert exit_code_after(interrupt) == 143
    sys.settrace(None)
    return left <= 0

lines = 0
while stopped_at(lines + 1):
    lines += 1
    found = {path.name: path.read_bytes() for path in Path().iterdir()}
    assert found in ({}, {"a.h5": b"all of it"}), (lines, found)
    for path in Path().iterdir():
        path.unlink()
print(lines)
"""

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_rdkit_does_not_swallow_what_asks_to_stop(name, code):
    done = subprocess.run([sys.executable, "-c", WHILE_RDKIT_EMBEDS, name], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"interrupted after (0|50) with {code}\n", done.stdout)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_import_is_finished_first(name, code, tmp_path):
    """numpy, half initialised, answers with a RecursionError, which would be the command's last word."""
    command = [sys.executable, "-c", IN_THE_MIDDLE_OF_AN_IMPORT, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"True {code}\n", "")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("where", ["destructor", "except"])
def test_nobody_swallows_what_asks_to_stop(name, code, where):
    """Python prints a destructor's traceback and goes on, and libraries, copyreg among them, say ``except: pass``."""
    done = subprocess.run([sys.executable, "-c", SWALLOWED, name, where], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{code}\n"
    assert done.stderr.count("Traceback") == 1 and "Its own fault." in done.stderr


def test_a_writer_that_is_stopped_leaves_nothing_beside_its_file(tmp_path):
    done = subprocess.run([sys.executable, "-c", AT_EVERY_LINE_OF_A_WRITER], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_a_command_that_keeps_nothing_says_that_it_was_stopped(capsys):
    @ends_when_asked
    def command():
        raise Stopped(signal.SIGTERM)

    with pytest.raises(typer.Exit) as exit_:
        command()
    assert exit_.value.exit_code == 143 and capsys.readouterr().err == "stopped by SIGTERM\n"


def test_what_is_ignored_stays_ignored():
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_for_python_only():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        assert signal.signal(signal.SIGHUP, handler) == signal.SIG_IGN


def test_signals_are_as_before_afterwards():
    before, handlers = signal.pthread_sigmask(signal.SIG_BLOCK, ()), [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(ValueError, match="inside"), signals_for_python_only():
        assert set(NUMBERS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
        raise ValueError("inside")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert [signal.getsignal(number) for number in NUMBERS] == handlers
