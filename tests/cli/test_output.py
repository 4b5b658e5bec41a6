import json
import math
import subprocess
import sys

import numpy as np
import pytest

from openmm_confgf.cli.output import as_json, note, results_only_on_stdout


def test_json_is_one_line_and_has_no_nan():
    text = as_json(
        {"command": "test", "a": [1.0, math.nan, (math.inf, "x")], "b": {"c": np.float64(2.5), "d": np.float64("nan")}, "e": None}
    )
    assert "\n" not in text
    assert json.loads(text) == {"command": "test", "a": [1.0, None, [None, "x"]], "b": {"c": 2.5, "d": None}, "e": None}


def test_what_cannot_be_json_is_an_error_and_not_text():
    with pytest.raises(TypeError):
        as_json({"command": "test", "path": object()})


def test_prints_of_libraries_go_to_stderr(capsys):
    with results_only_on_stdout() as show:
        print("chatter")
        show("result")
        sys.stdout.write("more chatter")
    assert capsys.readouterr() == ("result\n", "chatter\nmore chatter")


@pytest.mark.skipif(sys.platform == "win32", reason="the C library has another name there")
def test_what_c_prints_goes_to_stderr_as_well():
    """MDTraj's reader of DCD files does, and what it printed waits in a buffer of C's until somebody flushes it."""
    code = """
import ctypes
from openmm_confgf.cli.output import results_only_on_stdout
with results_only_on_stdout() as show:
    ctypes.CDLL(None).puts(b"chatter")
    show("result")
print("afterwards")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("result\nafterwards\n", "chatter\n", 0)


def test_a_note_is_one_line(capsys):
    note("the molecule 'a\nb\r\nc' is bad")
    assert capsys.readouterr() == ("", "the molecule 'a b c' is bad\n")
