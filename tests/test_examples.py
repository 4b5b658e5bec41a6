"""Every example runs as a user would run it, within its promised minute."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rdkit import Chem

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("[0-9]*.py"))


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
