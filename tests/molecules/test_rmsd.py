import itertools
import time

import numpy as np
import pytest
from openmm import unit
from rdkit import Chem
from rdkit.Chem import rdMolAlign, rdMolTransforms
from scipy.spatial.transform import Rotation

from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import distinct_minima, diverse_low_energy, greedy_distinct, rmsd_matrix

RNG = np.random.default_rng(0)


def kabsch_rmsd(a, b):
    """Independent: best proper rotation by singular value decomposition."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    return np.sqrt(max(0.0, (a**2).sum() + (b**2).sum() - 2 * s.sum()) / len(a))


def brute_force(graph, a, b, atoms):
    """Over every relabelling of `atoms` that keeps the bonds and the elements (no bond orders: conjugated ends are equal)."""
    adjacency = (graph.topological_distances == 1)[np.ix_(atoms, atoms)]
    numbers = graph.numbers[atoms]
    best = np.inf
    for order in itertools.permutations(range(len(atoms))):
        order = list(order)
        if (numbers[order] == numbers).all() and (adjacency[np.ix_(order, order)] == adjacency).all():
            best = min(best, kabsch_rmsd(a[atoms], b[atoms][order]))
    return best


@pytest.mark.parametrize("smiles", ["CC(C)CO", "OC(=O)CCO", "C[N+](=O)[O-]", "C1CC1CCO", "CCC(C)(C)C", "NCC(=O)[O-]"])
def test_agrees_with_brute_force_over_relabellings(smiles):
    # acids: RDKit counts C=O and C-OH ends of a conjugated group as equal, as a match without bond orders does
    graph = MolecularGraph.from_smiles(smiles)
    positions = embed_etkdg(graph, 4, 5).positions
    wanted = [[brute_force(graph, a, b, graph.heavy_atoms) for b in positions] for a in positions[:2]]
    np.testing.assert_allclose(rmsd_matrix(graph, positions[:2], positions), wanted, atol=2e-5)


@pytest.mark.parametrize("smiles", ["O", "C", "CO", "[H][H]"])
def test_molecules_without_three_heavy_atoms_are_compared_with_hydrogens(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    positions = embed_etkdg(graph, 2, 5).positions + RNG.normal(scale=0.02, size=(2, len(graph), 3))
    wanted = brute_force(graph, *positions, np.arange(len(graph)))
    assert wanted > 1e-3
    assert rmsd_matrix(graph, positions[:1], positions[1:])[0, 0] == pytest.approx(wanted, abs=2e-5)


@pytest.fixture(scope="module")
def ligand():
    return embed_etkdg(MolecularGraph.from_smiles("CC(C)(C)c1ccc(cc1)C(=O)N[C@@H](C)CO"), 12, 1)


def random_rotation():
    q, r = np.linalg.qr(RNG.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def test_is_that_of_rdkit(ligand):
    mol = Chem.RemoveHs(ligand.graph.to_rdkit(ligand.positions))
    probe = Chem.Mol(mol)
    wanted = [[rdMolAlign.GetBestRMS(probe, mol, i, j) / 10 for j in range(12)] for i in range(5)]
    np.testing.assert_allclose(rmsd_matrix(ligand.graph, ligand.positions[:5], ligand.positions), wanted, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(1, 12), (12, 1), (5, 12), (12, 5), (3, 3), (0, 4), (4, 0)])
def test_each_block_is_a_part_of_the_whole(ligand, rows, columns):
    whole = rmsd_matrix(ligand.graph, ligand.positions, ligand.positions)
    part = rmsd_matrix(ligand.graph, ligand.positions[:rows], ligand.positions[-columns:] if columns else ligand.positions[:0])
    np.testing.assert_allclose(part, whole[:rows, 12 - columns :], atol=1e-6)
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)
    assert np.abs(np.diag(whole)).max() < 1e-6


def test_rotations_and_relabellings_by_symmetry_make_no_difference(ligand):
    graph, positions = ligand.graph, ligand.positions[:3]
    moved = positions @ random_rotation().T + RNG.normal(size=(3, 1, 3))
    carbons = [
        i
        for i in graph.heavy_atoms
        if (graph.topological_distances[i] == 1).sum() == 4 and graph.numbers[graph.topological_distances[i] == 1].tolist().count(1) == 3
    ]
    tert_butyl = [i for i in carbons if (graph.topological_distances[i][carbons] == 2).sum() == 2]
    assert len(tert_butyl) == 3
    relabelled = moved.copy()
    relabelled[:, tert_butyl] = moved[:, np.roll(tert_butyl, 1)]
    wanted = rmsd_matrix(graph, positions, positions)
    np.testing.assert_allclose(rmsd_matrix(graph, positions, moved), wanted, atol=1e-5)
    np.testing.assert_allclose(rmsd_matrix(graph, positions, relabelled), wanted, atol=1e-5)
    shuffled = moved.copy()
    shuffled[:, graph.heavy_atoms[:2]] = moved[:, graph.heavy_atoms[1::-1]]  # exchanges atoms that are not equivalent
    assert rmsd_matrix(graph, positions[:1], shuffled[:1])[0, 0] > 0.01


def test_mirror_images_differ(ligand):
    assert rmsd_matrix(ligand.graph, ligand.positions[:1], -ligand.positions[:1])[0, 0] > 0.01


def test_quantities_are_converted(ligand):
    in_angstrom = ligand.positions[:2] * 10 * unit.angstrom
    assert rmsd_matrix(ligand.graph, in_angstrom, ligand.positions[:2]).diagonal().max() < 1e-6


def test_many_pairs_of_small_molecules_are_quick(shared_data):
    molecules = load_archive(shared_data / "qm9_xtb_test.npz")[::4]
    start, pairs = time.perf_counter(), 0
    for molecule in molecules:
        twice = np.concatenate([molecule.positions, molecule.positions])
        pairs += rmsd_matrix(molecule.graph, twice, molecule.positions).size
    assert pairs > 10_000
    assert (time.perf_counter() - start) / pairs < 60 / 100_000


def test_highly_symmetric_molecules_take_bounded_time():
    # 6**4 * 2 * 2 relabellings of the methyls
    graph = MolecularGraph.from_smiles("C[Si](C)(C)C(C(C)(C)C)(C(C)(C)C)[Si](C)(C)C(C)(C)C")
    positions = embed_etkdg(graph, 4, 0).positions
    start = time.perf_counter()
    matrix = rmsd_matrix(graph, positions, positions)
    assert time.perf_counter() - start < 5
    assert np.isfinite(matrix).all()


def test_greedy_distinct_keeps_the_first_of_each_shape(ligand):
    graph = ligand.graph
    copies = ligand.positions @ random_rotation().T + RNG.normal(scale=1e-5, size=ligand.positions.shape)
    both = np.concatenate([ligand.positions, copies])
    matrix = rmsd_matrix(graph, both, both)
    for threshold in (1e-3, 0.05, 0.1, 1.0):
        kept = greedy_distinct(graph, both, threshold)
        wanted = []
        for i in range(len(both)):
            if all(matrix[i, j] > threshold for j in wanted):
                wanted.append(i)
        assert kept.tolist() == wanted
    assert greedy_distinct(graph, both, 1e-3).tolist() == list(range(12))
    assert greedy_distinct(graph, both, 1.0).tolist() == [0]
    assert greedy_distinct(graph, both, 10 * unit.angstrom).tolist() == [0]
    assert greedy_distinct(graph, both[:0], 0.1).tolist() == []


def test_diverse_low_energy_picks_the_lowest_of_each_cluster():
    graph = MolecularGraph.from_smiles("OCCCN")
    shapes = embed_etkdg(graph, 30, 2).positions
    shapes = shapes[greedy_distinct(graph, shapes, 0.04)[:3]]
    copies = np.concatenate([shapes + RNG.normal(scale=1e-4, size=shapes.shape) for _ in range(4)])
    energy = np.array([5.0, 9, 9, 4, 2, 9, 9, 3, 9, 9, 9, 1])  # copies of shape s are s, s + 3, ...
    picks = diverse_low_energy(graph, copies, energy, 3)
    assert picks.tolist() == [11, 4, 3]
    assert diverse_low_energy(graph, copies, energy, 1).tolist() == [11]
    assert sorted(diverse_low_energy(graph, copies, energy, 50)) == list(range(12))
    assert (np.diff(energy[diverse_low_energy(graph, copies, energy, 50)]) >= 0).all()


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda g, p: rmsd_matrix(g, p[:, :-1], p), "in its atom order"),
        (lambda g, p: rmsd_matrix(g, p * np.nan, p), "status is not OK"),
        (lambda g, p: greedy_distinct(g, p, -0.1), "at least 0"),
        (lambda g, p: greedy_distinct(g, p, np.nan), "at least 0"),
        (lambda g, p: diverse_low_energy(g, p, np.zeros(len(p)), 0), "at least 1"),
        (lambda g, p: diverse_low_energy(g, p, np.full(len(p), np.inf), 2), "ranked"),
        (lambda g, p: diverse_low_energy(g, p, np.zeros(1), 2), "one finite energy"),
    ],
)
def test_bad_calls_name_the_cure(ligand, call, cure):
    with pytest.raises(ValueError, match=cure):
        call(ligand.graph, ligand.positions)


@pytest.mark.parametrize("smiles", ["CCO", "CC(=O)[O-]", "CCCCCCCC", "CC(C)(C)C(C)(C)CO"])
def test_a_minimum_with_its_hydrogens_numbered_otherwise_is_a_duplicate(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    frame = embed_etkdg(graph, 1, 2).positions[0]
    turned = frame @ Rotation.from_euler("xyz", [1.0, 2.0, 3.0]).as_matrix() + 1.5
    hydrogens = [n.GetIdx() for n in graph.mol.GetAtomWithIdx(0).GetNeighbors() if n.GetAtomicNum() == 1]
    turned[hydrogens] = turned[np.roll(hydrogens, 1)]
    if smiles.endswith("[O-]"):
        turned[[2, 3]] = turned[[3, 2]]
    frames = np.array([turned, frame, turned])
    assert distinct_minima(graph, frames, [0.3, 0.0, 0.39], 0.0125, 0.4).tolist() == [1]
    assert distinct_minima(graph, frames, [0.3, 0.0, 0.8], 0.0125, 0.4).tolist() == [1, 2]


def test_minima_that_differ_in_a_hydroxyl_alone_are_two():
    graph = MolecularGraph.from_smiles("CCCO")
    frame = embed_etkdg(graph, 1, 2).positions[0]
    mol = graph.to_rdkit(frame)
    rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 1, 2, 3, 11, rdMolTransforms.GetDihedralDeg(mol.GetConformer(), 1, 2, 3, 11) + 120)
    frames = np.array([frame, mol.GetConformer().GetPositions() / 10])
    assert rmsd_matrix(graph, frames[:1], frames[1:])[0, 0] < 1e-6
    assert distinct_minima(graph, frames, [0.0, 0.1], 0.0125, 0.4).tolist() == [0, 1]
    with pytest.raises(ValueError, match="one finite energy"):
        distinct_minima(graph, frames, [0.0, np.inf], 0.0125, 0.4)
