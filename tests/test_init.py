import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import openmm_confgf


@pytest.mark.parametrize("name", [n for n in openmm_confgf.__all__ if n != "__version__"])
def test_every_public_name_is_there_and_documented(name):
    assert getattr(openmm_confgf, name).__doc__


def test_public_names_are_few_and_type_checkers_see_the_same():
    assert len(openmm_confgf.__all__) <= 32
    tree = ast.parse(Path(openmm_confgf.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == openmm_confgf._EXPORTS


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        importlib.import_module("openmm_confgf").no_such_thing


def test_networks_can_be_trained_where_there_is_neither_openmm_nor_rdkit():
    code = (
        "import sys\n"
        "sys.modules['openmm'] = sys.modules['rdkit'] = sys.modules['openff'] = sys.modules['mdtraj'] = None\n"
        "import openmm_confgf.training.recipe, openmm_confgf.models.weights\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
