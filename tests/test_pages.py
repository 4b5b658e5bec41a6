"""The examples of pages that are made to be copied run as they stand, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["reweighting"])
def test_the_examples_run(page, tmp_path):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^openmm-confgf (.*)$", text, re.MULTILINE)
    assert code and commands
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments in (["-W", "error::UserWarning", "-c", code], *(["-m", "openmm_confgf", *command.split()] for command in commands)):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"weights.png", "torsions.png"}
