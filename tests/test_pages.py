"""The examples of pages that are made to be copied run as they stand, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def code_of(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return text, "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def run(arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", ["reweighting"])
def test_the_examples_run(page, tmp_path):
    text, code = code_of(page)
    commands = re.findall(r"^openmm-confgf (.*)$", text, re.MULTILINE)
    assert code and commands
    for arguments in (["-W", "error::UserWarning", "-c", code], *(["-m", "openmm_confgf", *command.split()] for command in commands)):
        run(arguments, tmp_path)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"weights.png", "torsions.png"}


@pytest.mark.slow
def test_the_scripts_of_openmm_run(tmp_path):
    run(["-W", "error::UserWarning", "-c", code_of("openmm")[1]], tmp_path)
    assert {"frames.h5", "run.chk", "starts"} == {path.name for path in tmp_path.iterdir()}
