"""The examples of docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def modules_with_examples():
    files = (file for file in (ROOT / "openmm_confgf").rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))
    return sorted(file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for file in files)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.attempted and not found.failed


def test_examples_that_are_wrong_fail():
    module = importlib.import_module("tests.test_docstrings")
    module.__test__ = {"wrong": ">>> 1 + 1\n3\n"}
    assert doctest.testmod(module, report=False).failed == 1
