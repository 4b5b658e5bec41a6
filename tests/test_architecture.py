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
    {"units", "errors"},
    {"checksums", "devices", "workers", "writing"},
    {"geometry", "bond_windows"},
    {"residues", "perception", "stereo", "molecule", "topology"},
    {"ensemble", "rmsd", "shapes", "centre_shapes", "checks", "files", "archive", "molecule_like"}
    | {"bicycles", "open_stereo", "stereoisomers"},
    {"energies", "models"},
    {"relaxation"},
    {"generators", "scoring"},
    {"evaluation", "training", "references", "simulation", "library"},
    {"openmm_plugin", "diagnostics"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
STRANGERS = {frozenset({"energies", "models"}), frozenset({"evaluation", "training"})}
MAY_IMPORT_OPENMM = {"units", "topology", "molecule_like", "files", "energies", "openmm_plugin", "diagnostics"}

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


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) not in MAY_IMPORT_OPENMM], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_few_modules_know_openmm(path):
    known = {name for name in imported(path, type_checking=False) if name.split(".")[0] in ("openmm", "openmmforcefields")}
    assert not known, f"only {sorted(MAY_IMPORT_OPENMM)} may import openmm"


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "m.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom ..energies.context import x\nfrom .. import scoring\nfrom . import net\n"
        "if TYPE_CHECKING:\n    import openmm.app\ndef f():\n    import openmm_confgf.cli\n"
    )
    names = set(imported(path))
    inside = {f"openmm_confgf.{name}" for name in ("energies.context", "scoring", "models.net", "cli")}
    assert inside | {"openmm.app"} <= names
    assert "openmm.app" not in set(imported(path, type_checking=False))
    assert rooms_imported(path) == {"energies", "scoring", "cli"}


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
        for p in sorted((PACKAGE / room).glob("*.py"))
        if p.name != "__init__.py"
    ]
    blocked = "import sys; sys.modules.update(dict.fromkeys(['openmm', 'rdkit', 'openff', 'mdtraj', 'typer']))"
    done = run_python(f"{blocked}\nimport importlib\nfor m in {modules!r}: importlib.import_module(m)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["openmm_confgf", "openmm_confgf.cli.app"])
def test_imports_that_everyone_waits_for_are_light(module):
    done = run_python(f"import sys, {module}\nprint(sorted({{'torch', 'openmm', 'rdkit', 'matplotlib', 'openff'}} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
