"""The import arrows of docs/architecture.md, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "openmm_confgf"

# a module may import from its own layer and from those before it
LAYERS = (
    {"version", "errors", "units"},
    {"checksums", "devices", "clusters", "executors", "writing", "status", "tables", "threads"},
    {"molecules"},
    {"ensemble"},
    {"molecule_like", "files", "thermodynamics"},
    {"energies", "models"},
    {"dynamics"},
    {"generators"},
    {"evaluation", "training", "simulation", "reweighting", "across_levels"},
    {"alignment", "openmm_plugin", "library", "references"},
    {"benchmarks", "openmmml_factory", "plots", "testing"},
    {"report"},
    {"installation"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
STRANGERS = {frozenset({"energies", "models"}), frozenset({"evaluation", "training"})}
MAY_IMPORT_OPENMM = {"units", "molecules", "molecule_like", "files", "energies", "dynamics", "openmm_plugin", "installation", "testing"}

SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py" and p != PACKAGE / "__main__.py")


def room_of(path):
    """The top-level module or folder of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path, type_checking=True):
    """Absolute names that a file imports anywhere, with or without those under ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text())
    if not type_checking:
        tree = WithoutTypeChecking().visit(tree)
    package = ["openmm_confgf", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


class WithoutTypeChecking(ast.NodeTransformer):
    def visit_If(self, node):
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else self.generic_visit(node)


def rooms_imported(path):
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("openmm_confgf.")}
    return {room for room in rooms if room in LEVEL} - {room_of(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in LAYERS and docs/architecture.md"
    upwards = {other for other in rooms_imported(path) if LEVEL[other] > LEVEL[room]}
    assert not upwards, f"{room} imports {upwards}, which lie above it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_energies_and_networks_never_meet(path):
    room = room_of(path)
    for other in rooms_imported(path):
        if LEVEL[other] == LEVEL[room]:
            assert frozenset({room, other}) not in STRANGERS, f"{room} imports {other}"


def module_of(path):
    return ".".join(["openmm_confgf", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def files_imported():
    """Which files of the package each file imports, wherever in it."""
    modules = {module_of(path) for path in SOURCES}
    return {module_of(path): {name for name in imported(path) if name in modules} - {module_of(path)} for path in SOURCES}


def test_no_file_imports_itself_by_way_of_others():
    graph = files_imported()
    # a package's list of names is no way round: whoever imports a module runs it
    lists = {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    below = {module: set(others) - lists for module, others in graph.items()}
    while below:
        free = {module for module, others in below.items() if not others & below.keys()}
        assert free, f"circles among {sorted(below)}"
        below = {module: others for module, others in below.items() if module not in free}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nobody_imports_the_root(path):
    tree = ast.parse(path.read_text())
    depth = len(path.relative_to(PACKAGE).parts)
    roots = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == depth and n.module is None]
    named = {alias.name for node in roots for alias in node.names}
    rooms = {room for layer in LAYERS for room in layer}
    assert named <= rooms, f"{sorted(named - rooms)} come from the package's root"


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) not in MAY_IMPORT_OPENMM], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_few_modules_know_openmm(path):
    known = {name for name in imported(path, type_checking=False) if name.split(".")[0] in ("openmm", "openmmforcefields")}
    assert not known, f"only {sorted(MAY_IMPORT_OPENMM)} may import openmm"


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "m.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom ..energies.context import x\nfrom .. import ensemble\nfrom . import net\n"
        "if TYPE_CHECKING:\n    import openmm.app\ndef f():\n    import openmm_confgf.cli\n"
    )
    names = set(imported(path))
    inside = {f"openmm_confgf.{name}" for name in ("energies.context", "ensemble", "models.net", "cli")}
    assert inside | {"openmm.app"} <= names
    assert "openmm.app" not in set(imported(path, type_checking=False))
    assert rooms_imported(path) == {"energies", "ensemble", "cli"}


def test_architecture_document_names_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text()
    missing = {room for room in LEVEL if f"`{room}`" not in text and f"`{room}/`" not in text}
    assert not missing


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_networks_and_training_need_neither_openmm_nor_rdkit():
    modules = [
        f"openmm_confgf.{p.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}"
        for room in ("models", "training")
        for p in sorted((PACKAGE / room).rglob("*.py"))
        if p.name != "__init__.py" and "boltzmann" not in p.parts  # which learns from energies
    ]
    blocked = "import sys; sys.modules.update(dict.fromkeys(['openmm', 'rdkit', 'openff', 'mdtraj', 'typer']))"
    done = run_python(f"{blocked}\nimport importlib\nfor m in {modules!r}: importlib.import_module(m)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["openmm_confgf", "openmm_confgf.cli.app"])
def test_imports_that_everyone_waits_for_are_light(module):
    heavy = {"torch", "openmm", "rdkit", "matplotlib", "openff", "dask", "distributed"}
    done = run_python(f"import sys, {module}\nprint(sorted({heavy!r} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
