"""What SECURITY.md says of the code, read from the source; its other claims have tests of their own, which it names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "openmm_confgf").rglob("*.py"), *(ROOT / "devtools").rglob("*.py"), *(ROOT / "examples").glob("*.py")])

NEVER = {"eval", "exec", "os.system", "os.popen", "yaml.load", "pickle.load", "pickle.loads", "joblib.load"}
WITH = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", None), "numpy.load": ("allow_pickle", None)}
"""Calls that take a keyword: its value, or that it is not true."""

READS_SYSTEMS = {
    "openmm_confgf/energies/systems/xml.py",  # after a look at what is pickled
    "openmm_confgf/energies/context_pool.py",  # of a System of this process, in its workers
}

UNPICKLES = {
    "openmm_confgf/clusters/dask_executor.py",  # what the workers of the run that it is of send
    "openmm_confgf/clusters/item_worker.py",  # what the program sends that it works for
}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}, node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_is_read_from_files(path):
    name = path.relative_to(ROOT).as_posix()
    for function, keywords, line in calls(path):
        where = f"{name}:{line} {function}"
        assert function not in NEVER or (function == "pickle.loads" and name in UNPICKLES), where
        assert keywords.get("shell", "False") == "False", where
        if function in WITH:
            keyword, wanted = WITH[function]
            assert keywords.get(keyword) == "True" if wanted else keywords.get(keyword, "False") == "False", where
        if function.endswith("XmlSerializer.deserialize") and name.startswith("openmm_confgf/"):
            assert name in READS_SYSTEMS, where


def test_the_tests_that_are_named_exist():
    named = set(re.findall(r"`((?:tests|devtools)/[^`]+)`", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 5 and all((ROOT / path).exists() for path in named)
