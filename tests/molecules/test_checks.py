import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from openmm import unit
from rdkit import Chem

from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.md import MDGenerator
from openmm_confgf.molecules.bond_windows import HOTTEST, bond_window
from openmm_confgf.molecules.checks import NEAREST_CONTACT, check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


def cip_labels(graph, frame):
    """Independent of our signs: stereo perceived from the coordinates, as CIP labels of the atoms and double bonds that are specified."""
    mol = graph.to_rdkit(frame)
    Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
    atoms = {i: mol.GetAtomWithIdx(i).GetPropsAsDict().get("_CIPCode") for i in graph.stereocentres[:, 0].tolist()}
    bonds = {(b, c): mol.GetBondBetweenAtoms(b, c).GetStereo() for _, b, c, _, _ in graph.stereobonds.tolist()}
    return atoms, bonds


def wanted_labels(graph):
    mol = Chem.Mol(graph.mol)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    atoms = {i: mol.GetAtomWithIdx(i).GetPropsAsDict().get("_CIPCode") for i in graph.stereocentres[:, 0].tolist()}
    bonds = {(b, c): mol.GetBondBetweenAtoms(b, c).GetStereo() for _, b, c, _, _ in graph.stereobonds.tolist()}
    return atoms, bonds


def share_that_is_ok(molecules, temperature):
    status = np.concatenate([check_conformations(m.graph, m.positions, temperature) for m in molecules])
    return np.mean(status == Status.OK)


ARCHIVES = ["qm9_xtb_test.npz", "druglike_b3lyp_test.npz", "qm9_xtb_train.npz", "druglike_xtb_train.npz"]


@pytest.mark.parametrize("temperature", [0.0, HOTTEST])
@pytest.mark.parametrize(("archive", "every"), [(name, 1) for name in ARCHIVES[:2]] + [(name, 19) for name in ARCHIVES[2:]])
def test_reference_conformers_are_ok(shared_data, archive, every, temperature):
    """The windows are fitted to the archives for training, which must agree; those for testing were left out, and are evidence."""
    assert share_that_is_ok(load_archive(shared_data / archive)[::every], temperature) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, HOTTEST])
@pytest.mark.parametrize("archive", ARCHIVES[2:])
def test_all_reference_conformers_that_the_windows_are_fitted_to_are_ok(shared_data, archive, temperature):
    assert share_that_is_ok(load_archive(shared_data / archive), temperature) >= 0.999


@pytest.mark.slow
def test_minima_of_qm9_are_ok(shared_data, tmp_path):
    """QM9's own B3LYP minima, as they are read for training; the windows are fitted to them too."""
    converter = Path(__file__).parents[2] / "devtools" / "training" / "qm9_b3lyp_archive.py"
    source, target = shared_data / "qm9_b3lyp_train.npz", tmp_path / "qm9_b3lyp.npz"
    subprocess.run([sys.executable, converter, source, target, "12000"], check=True)
    molecules = load_archive(target)
    assert len(molecules) > 10_000
    assert share_that_is_ok(molecules, 0.0) >= 0.999
    assert share_that_is_ok(molecules, HOTTEST) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [300.0, HOTTEST])
@pytest.mark.parametrize(
    "smiles", ["CC#CCCC#N", "CS(=O)(=O)Nc1ccccc1", "CC(=O)N[C@@H](C)C(=O)NC", "CC(C)=NO", "CCS(=O)(=O)N(C)C", "COc1ccc(Cl)cc1/C=N/O"]
)
def test_frames_of_simulations_are_ok(smiles, temperature):
    """The ranges are not fitted to a force field; how far bonds move in them is, to other molecules than the last two."""
    settings = MDSettings(temperature=temperature, replicas=16, equilibration=1.0, frame_interval=0.05, compiled=False)
    graph = MolecularGraph.from_smiles(smiles)
    frames = MDGenerator("openff-2.2.1", settings).sample(graph, 1600, seed=1, device="cpu").positions
    wrong = np.sum(check_conformations(graph, frames) != Status.OK)
    assert wrong <= 1.6 + 6 * math.sqrt(1.6)  # one in a thousand, in 1,600 frames


@pytest.mark.parametrize("archive", ["qm9_xtb_test.npz", "druglike_b3lyp_test.npz"])
def test_stereo_agrees_with_cip_labels(shared_data, archive):
    compared = 0
    for molecule in load_archive(shared_data / archive)[::6]:
        graph, frame = molecule.graph, molecule.positions[0]
        wanted = wanted_labels(graph)
        assert cip_labels(graph, frame) == wanted, graph.smiles
        if len(graph.stereocentres):
            assert check_conformations(graph, -frame[None]).tolist() == [Status.WRONG_STEREO]
            if None not in wanted[0].values():  # ring stereo such as cis-1,4-dimethylcyclohexane has no label
                assert cip_labels(graph, -frame)[0] != wanted[0], graph.smiles
            compared += 1
        else:
            assert check_conformations(graph, -frame[None]).tolist() == [Status.OK]
    assert compared > 10


@pytest.fixture(scope="module")
def amino_acid():
    """N-acetyl-L-threonine amide with an E double bond: centres, a double bond, chains."""
    graph = MolecularGraph.from_smiles("C/C=C/C(=O)N[C@@H]([C@H](C)O)C(N)=O")
    ensemble = embed_etkdg(graph, 4, 0)
    assert ensemble.ok.all()
    return graph, ensemble.positions


def status_of(graph, frame):
    return Status(check_conformations(graph, frame[None])[0])


def rotated_about(frame, axis, moved, angle):
    """Turn the atoms `moved` by `angle` about the line through two atoms (Rodrigues)."""
    origin, direction = frame[axis[0]], frame[axis[1]] - frame[axis[0]]
    k = direction / np.linalg.norm(direction)
    v = frame[moved] - origin
    turned = v * np.cos(angle) + np.cross(k, v) * np.sin(angle) + np.outer(v @ k, k) * (1 - np.cos(angle))
    out = frame.copy()
    out[moved] = origin + turned
    return out


def side_of(graph, i, j):
    """Atoms on j's side of the bond i-j."""
    editable = Chem.RWMol(graph.mol)
    editable.RemoveBond(int(i), int(j))
    return next(list(f) for f in Chem.GetMolFrags(editable) if j in f)


def test_broken_conformations_are_named(amino_acid):
    graph, positions = amino_acid
    frame = positions[0]
    assert status_of(graph, frame) == Status.OK
    assert status_of(graph, -frame) == Status.WRONG_STEREO

    nan = frame.copy()
    nan[4, 1] = np.nan
    assert status_of(graph, nan) == Status.NON_FINITE
    infinite = frame.copy()
    infinite[4, 1] = -np.inf
    assert status_of(graph, infinite) == Status.NON_FINITE

    assert status_of(graph, frame * 1.6) == Status.WRONG_GRAPH
    assert status_of(graph, frame * 0.5) == Status.WRONG_GRAPH
    assert status_of(graph, np.zeros_like(frame)) == Status.WRONG_GRAPH  # all on one spot

    i, j = graph.bonds[0]
    stretched = frame.copy()
    part = side_of(graph, i, j)
    stretched[part] += 0.05 * (frame[j] - frame[i]) / np.linalg.norm(frame[j] - frame[i])
    assert status_of(graph, stretched) == Status.WRONG_GRAPH


def test_a_turned_double_bond_is_wrong_stereo(amino_acid):
    graph, positions = amino_acid
    (_, b, c, _, side), *others = graph.stereobonds.tolist()
    assert side == -1 and not others
    turned = rotated_about(positions[0], (b, c), side_of(graph, b, c), np.pi)
    status = status_of(graph, turned)
    assert status == Status.WRONG_STEREO
    back = rotated_about(turned, (b, c), side_of(graph, b, c), np.pi)
    assert status_of(graph, back) == Status.OK


def test_each_centre_counts(amino_acid):
    """A hydrogen pushed through between the other three neighbours inverts its centre, and nothing else."""
    graph, positions = amino_acid
    frame = positions[0]
    assert len(graph.stereocentres) == 2
    for centre in graph.stereocentres[:, 0]:
        neighbours = np.flatnonzero(graph.topological_distances[centre] == 1)
        hydrogen = next(i for i in neighbours if graph.numbers[i] == 1)
        through = frame[[i for i in neighbours if i != hydrogen]].mean(0) - frame[centre]
        inverted = frame.copy()
        inverted[hydrogen] = frame[centre] + 0.109 * through / np.linalg.norm(through)
        assert status_of(graph, inverted) == Status.WRONG_STEREO


@pytest.mark.parametrize("height", [-1e-3, 1e-3])
def test_a_flat_centre_has_no_hand(height):
    graph = MolecularGraph.from_smiles("[H][C@](F)(Cl)Br")
    lengths = dict(zip((1, 9, 17, 35), (0.109, 0.135, 0.177, 0.194), strict=True))
    directions = dict(zip((1, 9, 17, 35), np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]), strict=True))
    frame = np.array([lengths[z] * directions[z] if z in lengths else [0, 0, height] for z in graph.numbers])
    assert status_of(graph, frame) == Status.WRONG_STEREO


@pytest.mark.parametrize(("beyond", "status"), [(-1e-5, Status.CLASH), (1e-5, Status.OK)])
def test_atoms_that_touch_are_a_clash(beyond, status):
    """The chlorines of ClOOCl, turned about O-O until they touch: their covalent radii and `NEAREST_CONTACT` apart."""
    oxygens, arm, bend = 0.145, 0.170, np.radians(100)
    touching = 2 * 0.1 * Chem.GetPeriodicTable().GetRcovalent(17) + NEAREST_CONTACT + beyond
    along, across = oxygens - 2 * arm * np.cos(bend), 2 * arm * np.sin(bend)
    half = np.arcsin(np.sqrt(touching**2 - along**2) / across)
    ends = [arm * np.array([np.cos(bend), np.sin(bend) * np.cos(half), side * np.sin(bend) * np.sin(half)]) for side in (1, -1)]
    frame = np.array([ends[0], [0, 0, 0], [oxygens, 0, 0], ends[1] * [-1, 1, 1] + [oxygens, 0, 0]])
    assert status_of(MolecularGraph.from_smiles("ClOOCl"), frame) == status


@pytest.mark.parametrize(("apart", "status"), [(0.0915, Status.DISTORTED), (0.1515, Status.OK)])
def test_atoms_two_bonds_apart_are_held_by_the_angle(apart, status):
    angle = 2 * np.arcsin(apart / (2 * 0.096))
    water = 0.096 * np.array([[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    assert status_of(MolecularGraph.from_smiles("O"), water) == status


@pytest.mark.parametrize("temperature", [0.0, HOTTEST])
def test_bonds_at_the_limits(temperature):
    graph = MolecularGraph.from_smiles("[H][H]")
    low, high = bond_window(graph.mol.GetBondWithIdx(0), temperature)
    for length, status in ((low, Status.OK), (high, Status.OK), (low - 1e-6, Status.WRONG_GRAPH), (high + 1e-6, Status.WRONG_GRAPH)):
        assert check_conformations(graph, [[[0, 0, 0], [0, 0, length]]], temperature).tolist() == [status]


def test_the_first_problem_counts_and_rows_do_not_mix(amino_acid):
    graph, positions = amino_acid
    rows = np.concatenate([positions[:1], -positions[:1], positions[:1] * 2, np.full_like(positions[:1], np.nan), -positions[:1] * 2])
    wanted = [Status.OK, Status.WRONG_STEREO, Status.WRONG_GRAPH, Status.NON_FINITE, Status.WRONG_GRAPH]
    assert check_conformations(graph, rows).tolist() == wanted
    order = [3, 0, 4, 2, 1]
    assert check_conformations(graph, rows[order]).tolist() == [wanted[i] for i in order]
    assert check_conformations(graph, rows * 10 * unit.angstrom).tolist() == wanted
    assert check_conformations(graph, rows).dtype == np.int8


def test_blocks_give_what_single_rows_give(amino_acid, monkeypatch):
    graph, positions = amino_acid
    rows = np.concatenate([positions, -positions, positions * 1.5])
    whole = check_conformations(graph, rows)
    monkeypatch.setattr("openmm_confgf.molecules.checks._PAIRS_AT_ONCE", 1000)
    np.testing.assert_array_equal(check_conformations(graph, rows), whole)


def test_edges():
    atom = MolecularGraph.from_smiles("[He]")
    assert check_conformations(atom, np.zeros((2, 1, 3))).tolist() == [0, 0]
    assert check_conformations(atom, np.zeros((0, 1, 3))).tolist() == []
    with pytest.raises(ValueError, match="in its atom order"):
        check_conformations(atom, np.zeros((2, 2, 3)))
