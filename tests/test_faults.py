"""The programs of devtools/faults: that they notice what they are for, and that they find nothing."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

FAULTS = Path(__file__).resolve().parents[1] / "devtools" / "faults"


def run(program, shared_data, folder, *arguments):
    command = [sys.executable, FAULTS / program, "--shared", shared_data.parent, "--output", folder / "findings", *arguments]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def perceive(monkeypatch):
    monkeypatch.syspath_prepend(str(FAULTS))
    return importlib.import_module("perceive")


@pytest.fixture
def written(tmp_path):
    """Writes a molecule, with its coordinates or others, under its own graph or another."""

    def write(smiles, xyz=None, graph=None, status="OK"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(mol, randomSeed=3)
        if xyz is not None:
            mol.GetConformer().SetPositions(np.ascontiguousarray(xyz(mol.GetConformer().GetPositions())))
        if graph is not None:
            other = Chem.AddHs(Chem.MolFromSmiles(graph))
            other.AddConformer(mol.GetConformer())
            mol = other
        mol.SetProp("status", status)
        path = tmp_path / "out.sdf"
        with Chem.SDWriter(str(path)) as writer:
            writer.write(mol)
        return path

    return write


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O", "CC#CC", "C/C=C/CO", "C[N+](=O)[O-]", "CS(=O)(=O)[N-]C(=O)C"])
def test_what_is_right_is_found_right(perceive, written, smiles):
    seen = perceive.look(written(smiles), smiles, None)
    assert (seen.ok, seen.perceived, seen.differences) == (1, 1, [])


def test_what_is_wrong_is_found(perceive, written):
    def differences(path, asked):
        return " ".join(perceive.look(path, asked, None).differences)

    assert "stereo" in differences(written("C[C@H](O)CN", lambda xyz: xyz * [-1, 1, 1]), "C[C@H](O)CN")
    assert "stereo" in differences(written("C/C=C\\CO"), "C/C=C/CO")
    assert "asked for" in differences(written("CCO"), "COC")
    assert "bonded" in differences(written("C1CC1", graph="CC=C"), "CC=C")
    assert "bonded" in differences(written("CCO", lambda xyz: np.where(np.arange(len(xyz))[:, None] == 3, xyz + 3, xyz)), "CCO")
    assert "order 3 has" in differences(written("CC#CC", lambda xyz: xyz * 0.88), "CC#CC")
    assert perceive.look(written("CCO", lambda xyz: 2 * xyz, status="WRONG_GRAPH"), "CCO", None).ok == 0


@pytest.mark.parametrize(
    ("smiles", "length", "right"),
    [
        *(("F[Si](F)(F)F", 1.55, True), ("FP(F)F", 1.57, True), ("FS(F)(=O)=O", 1.53, True), ("FSF", 1.59, True)),
        *(("FS(F)(F)F", 1.455, False), ("FSF", 1.44, False), ("FP(F)F", 1.45, False), ("F[Si](F)(F)F", 1.45, False)),
    ],
)
def test_polar_bonds_are_short_and_not_too_short(perceive, written, smiles, length, right):
    def set_length(xyz):
        xyz = xyz.copy()
        xyz[0] = xyz[1] + length * (xyz[0] - xyz[1]) / np.linalg.norm(xyz[0] - xyz[1])
        return xyz

    found = [one for one in perceive.look(written(smiles, set_length), smiles, None).differences if "F1" in one]
    assert (found == []) == right, found


def test_atoms_of_a_pdb_are_counted(perceive, written, tmp_path):
    pdb = tmp_path / "in.pdb"
    pdb.write_text(Chem.MolToPDBBlock(Chem.AddHs(Chem.MolFromSmiles("CCCO"))))
    assert "the PDB has C3H8O1, the output C2H6O1" in perceive.look(written("CCO"), None, pdb).differences
    ethanol = Chem.MolToPDBBlock(Chem.AddHs(Chem.MolFromSmiles("CCO"))).splitlines(keepends=True)
    atoms = [line for line in ethanol if line.startswith("HETATM")]
    other = [line[:16] + "B" + line[17:] for line in atoms]
    first = [line[:16] + "A" + line[17:] for line in atoms]
    same_name = [line[:12] + " X  B" + line[17:] for line in atoms]
    for lines in (ethanol + ethanol, first + other, same_name):
        pdb.write_text("".join(lines))
        assert perceive.look(written("CCO"), None, pdb).differences == []


def test_thirty_inputs(shared_data, tmp_path):
    table = run("fuzz.py", shared_data, tmp_path, "--inputs", 30)
    assert "| all | 30 |" in table


def test_two_kills(shared_data, tmp_path):
    """One SIGTERM, one SIGKILL, unless a run ends before its time."""
    table = run("kills.py", shared_data, tmp_path, "--kills", 2, "--job", "generate")
    assert "| generate |" in table


@pytest.mark.slow
def test_many_inputs(shared_data, tmp_path):
    """A quarter of the thousand that the program makes by default."""
    run("fuzz.py", shared_data, tmp_path, "--inputs", 250)


@pytest.mark.slow
def test_kills_of_every_job(shared_data, tmp_path):
    """A quarter of the fifty that the program makes by default."""
    run("kills.py", shared_data, tmp_path, "--kills", 12)
