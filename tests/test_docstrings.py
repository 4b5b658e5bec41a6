"""The examples of docstrings give what they say."""

import doctest
import importlib
import importlib.metadata
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def modules_with_examples():
    files = (file for file in (ROOT / "openmm_confgf").rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))
    return sorted(file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for file in files)


NEEDS = {
    "openmm_confgf.openmm_plugin.learned_potential": ("torchmd-net", "0"),
    "openmm_confgf.openmm_plugin.pseudo_force": ("openmm", "8.6"),
}
"""What examples need beyond what setup.py requires: a package, and its version."""


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name):
    package, oldest = NEEDS.get(name, ("openmm", "0"))
    try:
        found = Version(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    if found < Version(oldest):
        pytest.skip(f"needs {package} {oldest}")
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.attempted and not found.failed


def test_examples_that_are_wrong_fail():
    module = importlib.import_module("tests.test_docstrings")
    module.__test__ = {"wrong": ">>> 1 + 1\n3\n"}
    assert doctest.testmod(module, report=False).failed == 1
