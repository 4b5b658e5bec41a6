"""Every example runs as a user would run it, within its promised minute."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rdkit import Chem

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("[0-9]*.py"))
NOTEBOOK = EXAMPLES[0].with_name("conformers_to_simulations.ipynb")


def run_example(path, *arguments, folder):
    done = subprocess.run([sys.executable, path, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_numbered_without_gaps():
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


NEEDS = {"10_learned_potential": ("openmmml", "torchmdnet")}
"""Packages of extras."""


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES[1:], ids=lambda p: p.stem)
def test_example_runs(path, tmp_path):
    if missing := [package for package in NEEDS.get(path.stem, ()) if importlib.util.find_spec(package) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    assert run_example(path, folder=tmp_path).strip()


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_pictures(tmp_path):
    """Its cells are plain Python, so that no kernel is needed; Jupyter shows what the last line of a cell has a ``_repr_png_`` of."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4 and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    code = ["import ast", "space, shown = {}, []"]
    for cell in cells:
        code += [
            f"*body, last = ast.parse({''.join(cell['source'])!r}).body",
            "exec(compile(ast.Module(body, []), 'cell', 'exec'), space)",
            "if isinstance(last, ast.Expr): shown.append(eval(compile(ast.Expression(last.value), 'cell', 'eval'), space))",
            "else: exec(compile(ast.Module([last], []), 'cell', 'exec'), space)",
        ]
    code += ["pictures = [one._repr_png_() for one in shown if hasattr(one, '_repr_png_')]", "print(*map(len, pictures))"]
    (tmp_path / "cells.py").write_text("\n".join(code), encoding="utf-8")
    pictures = [int(size) for size in run_example(tmp_path / "cells.py", folder=tmp_path).splitlines()[-1].split()]
    assert len(pictures) == 2 and min(pictures) > 10_000


@pytest.mark.slow
def test_the_demo_leaves_what_it_says(tmp_path):
    output = run_example(EXAMPLES[0], tmp_path / "demo", folder=tmp_path)
    files = [Path(line.strip()) for line in output.partition("written:")[2].splitlines() if line.startswith("  ")]
    assert len(files) == 3 + 3 * 3 and all(path.stat().st_size > 0 for path in files)
    conformers = [mol for mol in Chem.SDMolSupplier(str(tmp_path / "demo" / "ibuprofen.sdf"), removeHs=False)]
    energies = [float(mol.GetProp("openmm_confgf_energy_kj_per_mol")) for mol in conformers]
    assert len(conformers) > 3 and energies == sorted(energies)
    for mol in conformers:
        Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
        assert Chem.FindMolChiralCenters(mol, useLegacyImplementation=False) == [(10, "S")]
    with Image.open(tmp_path / "demo" / "ibuprofen.png") as image:
        assert image.format == "PNG"
    assert output.count(" OK") >= 4
