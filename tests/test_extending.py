"""The examples of docs/extending.md run, and pass the suites that they are said to pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# the line that the page adds to a table, which is no code of its own
REGISTRATION = """
from openmm_confgf.energies.batched import read_system

read_system._READERS[openmm.RMSDForce] = RMSDTerm
read_system._KINDS = (*read_system._KINDS, openmm.RMSDForce)
"""


def sections():
    """The Python code of each section, by its heading."""
    _, *parts = re.split(r"^## (.+)$", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        heading: re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.slow
def test_the_examples_pass_their_suites(tmp_path):
    files = []
    for k, (heading, blocks) in enumerate(sections().items()):
        if "openmm.RMSDForce" in "".join(blocks):
            blocks.insert(1, REGISTRATION)
        files.append(tmp_path / f"test_{k}.py")
        files[-1].write_text(f"# {heading}\n" + "\n".join(blocks), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-rs", *map(str, files)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def test_every_section_has_code_and_a_test():
    found = sections()
    assert len(found) == 3
    for heading, blocks in found.items():
        code = "".join(blocks)
        assert re.search(r"^(class Test|def test_)", code, re.MULTILINE), heading
        compile(code, heading, "exec")
