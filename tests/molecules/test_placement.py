import dataclasses
import math

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.harmonic.internal_coordinates import ZMatrix
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.local_frames import local_frames, place
from openmm_confgf.molecules.geometry import dihedrals, signed_volumes
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.molecules.placement import TURN, Placement

IBUPROFEN = "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O"
RINGS = ["C1CC1", "C1CO1", "Cc1ccccc1", "C1CC2CCC1C2", "C1CCC2(C1)CCCC2", "C1C2CC3CC1CC(C2)C3", "c1ccc2ccccc2c1", "C1CCCCCCCCCCC1"]
TREES = ["O", "OO", "CO", "C", "N", "CCO", "C[C@H](N)C(=O)O", "C/C=C/C", "CC(C)(C)O", "[NH3+]C[C@H](C)C(=O)[O-]"]
CHIRAL = [
    *("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C[C@](F)(Cl)Br", "CC[S@](C)=O", "C[C@H]1CCC[C@@H](O)C1", "C[C@H](O)[C@H](C)O"),
    *(IBUPROFEN, "C[C@@H]1CC[C@]2(C1)CC[C@H](C)C2", "C[C@H](F)C(C)C", "C#CC1=C[C@]2(CC1)CN2", "CC[P@](C)c1ccccc1"),
]
BRIDGEHEADS = ["C#C[C@@]12N[C@@H]1C[C@@]21CO1", "C[C@@]12C[C@@H]1[C@@H]1OCC[C@@H]12", "C[C@@H]1C[C@]2(O)[C@H](O)[C@H]2O1"]
"""Centres of small rings at which MMFF turns three neighbours into one plane, and beyond."""

OPEN = ["CC(F)Cl", "CC=CC", "CC=C=CC", "CS(=O)CC", "CNCC", "CC(C)C(C)C", "CC1(C)OC(=O)C(=O)O1", "CC1(C)OC(C)(C)OO1"]
ALIKE = {
    "CCO": (3,),
    "[NH3+]CC": (3, 3),
    "CCCC(=O)[O-]": (2, 3),
    "O=C([O-])c1ccccc1": (2,),
    "CC(C)(C)O": (3, 3, 3),
    "CC(C)(C)c1ccccc1": (2, 3, 3, 3),
    "CCCC(F)(F)F": (3, 3),
    IBUPROFEN: (2, 3, 3, 3),
    "Cc1ccccc1": (3,),
    "Cc1ccc(C)cc1": (3, 3),
    "NC(=[NH2+])N": (2, 2, 2),
    "CNC(=[NH2+])N": (2, 2, 2, 3),
    "O=[N+]([O-])c1ccccc1": (2,),
    "C=C": (2,),
    "CC(=O)N(C)C": (2, 3, 3, 3),
    "CCN(CC)C(=O)c1ccccc1": (2, 2, 3, 3),
    "CC(=O)N1CCOCC1": (2, 3),
    "CC(=C1CCCC1)C": (2, 3, 3),
    "CC(C)C(O)(C(C)C)C(C)C": (3,) * 6,
    "CC(C)[Si](C(C)C)(C(C)C)c1ccccc1": (2, *(3,) * 6),
    "CC[N+](CC)(CC)CC": (3,) * 4,
    "OC(c1ccccc1)(c1ccccc1)c1ccccc1": (2, 2, 2),
    "C1CCCCC1": (),
    "O": (),
    "CC(=O)NC": (3, 3),
}
"""SMILES, and how many labellings each fold makes one."""


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    sizes = AutoregressiveConfig(width=32, static_width=16, static_layers=1, pair_width=8, blocks=1)
    return AutoregressiveDensity(sizes).double()


def inputs(graph, placement):
    """Typical bonds and angles, in float64: no force field is needed."""
    batch = placement_batch(graph, placement, openmm.System(), 300)
    found = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return type(batch)(**{name: x.double() if x.is_floating_point() else x for name, x in found.items()})


def drawn(network, graph, count=20, seed=0):
    """Placement, its coordinates and positions (count, N, 3) in the molecule's order."""
    placement = Placement.of(graph)
    uniform = torch.tensor(np.random.default_rng(seed).random((count, len(graph), 6)))
    coordinates, placed, _ = network.sample(inputs(graph, placement), uniform)
    positions = torch.empty_like(placed)
    positions[:, placement.order] = placed
    return placement, coordinates, positions


def embedded(graph, count=3, relaxed=False):
    ensemble = embed_etkdg(graph, count, 0)
    ensemble = relax(ensemble, "mmff") if relaxed else ensemble
    return torch.tensor(ensemble.positions[ensemble.ok])


def inside(placement, positions):
    """Whether each conformation (B,) is in the domain of all steps."""
    found = placement.coordinates(positions)
    good = found.isfinite().all((1, 2))
    for k, step in enumerate(placement.steps[3:], 3):
        turn, end = found[:, k, 2], step.start + step.width
        good &= (turn >= step.start) & (turn < end)
        if step.leader >= 0:
            good &= turn + found[:, step.leader, 2] < TURN
    return good


def rebuilt(batch, coordinates):
    """Positions of one conformation in the order of the steps, (N, 3), differentiable."""
    placed = torch.zeros(1, 1, 3, dtype=coordinates.dtype)
    for k in range(1, len(coordinates)):
        length, second, turn = (coordinates[None, k : k + 1, c] for c in range(3))
        if k == 1:
            new = length[..., None] * torch.tensor([0.0, 0.0, 1.0], dtype=coordinates.dtype)
        else:
            step = slice(k, k + 1)
            new = place(batch, local_frames(batch, placed, step), placed, length, second, turn, step)
        placed = torch.cat([placed, new], dim=1)
    return placed[0]


def free(n):
    """Where coordinates (N, 3) are not 0."""
    return torch.tensor([[k > 0, k > 1, k > 2] for k in range(n)])


@pytest.mark.parametrize("smiles", [*TREES, *RINGS, *OPEN[:3], IBUPROFEN, *BRIDGEHEADS[:1]])
def test_coordinates_come_back_from_positions(network, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    placement, coordinates, positions = drawn(network, graph, 8)
    assert sorted(placement.order.tolist()) == list(range(len(graph)))
    turn = torch.tensor([0.0, 0.0, 1.0])  # which of the three is one
    off = placement.coordinates(positions) - coordinates
    off = torch.where(turn > 0, off - TURN * torch.round(off / TURN), off)  # a whole turn is none, at the ends
    # within 3 milliradians of a straight angle a dihedral is known 300 times less well
    assert off[..., :2].abs().max() < 1e-10 and off[..., 2].abs().max() < 1e-8
    assert off.abs().quantile(0.999) < 1e-10
    torch.testing.assert_close(placement.relabelled(positions), positions, rtol=0, atol=0)


@pytest.mark.parametrize("smiles", ["O", "OO", "CO", "C1CC1", "C1CO1", "C1C2CC12", "Cc1ccco1"])
def test_the_volume_element_is_the_jacobian_of_the_mean_free_subspace(network, smiles):
    """Against the determinant of all coordinates and three infinitesimal rotations, in an orthonormal basis."""
    graph = MolecularGraph.from_smiles(smiles)
    n, (placement, coordinates, positions) = len(graph), drawn(network, graph, 3)
    batch, mask = inputs(graph, placement), free(n)
    basis = np.linalg.svd(np.tile(np.eye(3), (n, 1)) / math.sqrt(n), full_matrices=True)[0][:, 3:]
    for row, found in zip(coordinates, placement.log_volume_element(coordinates, positions), strict=True):

        def build(values, row=row):
            return rebuilt(batch, row.masked_scatter(mask, values)).flatten()

        jacobian = torch.autograd.functional.jacobian(build, row[mask]).numpy()
        frame = build(row[mask]).reshape(n, 3).numpy()
        turns = np.stack([np.cross(axis, frame).flatten() for axis in np.eye(3)], axis=1)
        _, log_determinant = np.linalg.slogdet(basis.T @ np.hstack([jacobian, turns]))
        assert found.item() == pytest.approx(log_determinant + math.log(8 * math.pi**2), abs=1e-6)


@pytest.mark.parametrize("smiles", ["O", "OO", "CCO", "C[C@H](N)C(=O)O"])
def test_another_z_matrix_gives_the_same_volume(network, smiles):
    """A uniform density in one has the Jacobian of the change of coordinates in the other: their volume elements differ by it."""
    graph = MolecularGraph.from_smiles(smiles)
    placement, coordinates, positions = drawn(network, graph, 2, seed=1)
    batch, mask, zmatrix, back = inputs(graph, placement), free(len(graph)), ZMatrix.of(graph), np.argsort(placement.order)
    for row, frame in zip(coordinates, positions, strict=True):

        def other(values, row=row):
            return zmatrix.coordinates(rebuilt(batch, row.masked_scatter(mask, values))[None, back])[0]

        _, change = torch.linalg.slogdet(torch.autograd.functional.jacobian(other, row[mask]))
        mine = placement.log_volume_element(row[None], frame[None])
        its = zmatrix.log_volume_element(zmatrix.coordinates(frame[None]))
        assert (mine - its).item() == pytest.approx(change.item(), abs=1e-6)


@pytest.mark.parametrize("smiles", [*TREES[1:], *RINGS, *OPEN, *CHIRAL, *list(ALIKE)[4:14]])
def test_conformations_are_in_the_domain_and_their_mirror_images_are_not(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    placement, given = Placement.of(graph), embedded(graph)
    assert len(given)
    labelled = placement.relabelled(given, hands=True)
    assert inside(placement, labelled).all()
    torch.testing.assert_close(placement.relabelled(labelled, hands=True), labelled, rtol=0, atol=0)
    torch.testing.assert_close(placement.relabelled(labelled), labelled, rtol=0, atol=0)
    mirrored = placement.relabelled(labelled * torch.tensor([1.0, 1.0, -1.0]), hands=True)
    assert inside(placement, mirrored).any() == (not len(graph.stereocentres))
    if any(step.beside and step.width < 6 for step in placement.steps):  # a hand that no motion changes
        assert not inside(placement, labelled * torch.tensor([1.0, 1.0, -1.0])).any()


@pytest.mark.parametrize("smiles", BRIDGEHEADS)
def test_bridgeheads_whose_neighbours_are_in_one_plane_are_in_the_domain(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    placement = Placement.of(graph)
    assert any(math.pi < step.width < 6 for step in placement.steps)
    for relaxed in (False, True):
        given = placement.relabelled(embedded(graph, relaxed=relaxed), hands=True)
        assert len(given) and inside(placement, given).all()
        turns, wide = placement.coordinates(given)[..., 2], [(k, s) for k, s in enumerate(placement.steps) if math.pi < s.width < 6]
        assert max((turns[:, k] - s.start - s.width / 2).abs().max() for k, s in wide) > math.pi / 2  # half a circle would not do


def test_peptides_with_the_labels_of_their_residues_are_in_the_domain():
    for residues in ("KS", ["ACE", "PRO", "NME"], "RV"):
        graph = peptide(residues)
        placement = Placement.of(graph)
        assert inside(placement, placement.relabelled(embedded(graph, 2), hands=True)).all()
        orders = sorted(fold.order for fold in placement.folds)
        methyls = {"KS": [2, 3, 3], "RV": [2, 2, 2, 2, 3, 3, 3]}.get(str(residues), [3, 3])
        assert orders == methyls, residues


@pytest.mark.parametrize("smiles", ALIKE)
def test_alike_branches_are_folded(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    placement = Placement.of(graph)
    assert tuple(sorted(fold.order for fold in placement.folds)) == tuple(sorted(ALIKE[smiles]))
    assert placement.log_multiplicity == pytest.approx(math.log(math.prod(ALIKE[smiles])))


@pytest.mark.parametrize("smiles", ALIKE)
def test_any_labelling_of_alike_branches_is_undone_exactly(smiles):
    """And none of them changes a hand, since motions do not."""
    graph = MolecularGraph.from_smiles(smiles)
    placement = Placement.of(graph)
    labelled = placement.relabelled(embedded(graph, 2), hands=True)
    centres = [hand.quadruple[1] for hand in placement.hands]
    around = [[k, *sorted(n.GetIdx() for n in graph.mol.GetAtomWithIdx(k).GetNeighbors())[:3]] for k in centres]
    quadruples = torch.tensor(around, dtype=torch.long).reshape(-1, 4)
    assert (signed_volumes(labelled, quadruples) > 0).all()
    rng, seen = np.random.default_rng(3), set()
    for _ in range(12):
        labels = [[rng.integers(fold.order) for fold in placement.folds] for _ in labelled]
        other = placement.labelled(labelled, torch.tensor(labels))
        assert (signed_volumes(other, quadruples) > 0).all()
        for hands in (False, True):
            torch.testing.assert_close(placement.relabelled(other, hands=hands), labelled, rtol=0, atol=0)
        seen.add(other.numpy().tobytes())
    assert len(seen) > 1 or not placement.folds
    for fold in placement.folds:
        for permutation in fold.permutations[1:]:
            torch.testing.assert_close(placement.relabelled(labelled[:, permutation]), labelled, rtol=0, atol=0)


@pytest.mark.parametrize("smiles", CHIRAL)
def test_samples_have_the_hand_that_is_specified(network, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    _, _, positions = drawn(network, graph, 20)
    volumes = signed_volumes(positions, torch.tensor(graph.stereocentres[:, :4]))
    # of a triple that a dihedral was drawn for; another one is planar where the angles are far from their equilibrium
    assert (volumes.sign() == torch.tensor(graph.stereocentres[:, 4])).double().mean() > 0.98


@pytest.mark.parametrize(("smiles", "cis"), [("C/C=C/C", False), ("C/C=C\\C", True), ("F/C=C/[C@H](C)O", False), ("C(=C/Cl)\\Br", False)])
def test_double_bonds_keep_their_side(network, smiles, cis):
    graph = MolecularGraph.from_smiles(smiles)
    _, _, positions = drawn(network, graph, 100)
    found = dihedrals(positions, torch.tensor(graph.stereobonds[:, :4])).cos()
    assert torch.where(torch.tensor(graph.stereobonds[:, 4]) > 0, found, -found).min() > 0
    assert (graph.stereobonds[0, 4] > 0) == (smiles == "C/C=C\\C") or not cis


def test_what_is_left_open_is_drawn_in_both_forms(network):
    for smiles, quadruple in (("CC(F)Cl", (1, 0, 2, 3)), ("CCN(C)C(F)F", (2, 1, 3, 4)), ("CCS(C)=O", (2, 1, 3, 4))):
        _, _, positions = drawn(network, MolecularGraph.from_smiles(smiles), 100)
        assert 10 < (signed_volumes(positions, torch.tensor([quadruple])) > 0).sum() < 90, smiles
    _, _, positions = drawn(network, MolecularGraph.from_smiles("CC=CC"), 200)
    assert 20 < (dihedrals(positions, torch.tensor([[0, 1, 2, 3]])).cos() > 0).sum() < 180


def test_atoms_in_line_have_no_coordinates():
    placement = Placement.of(MolecularGraph.from_smiles("OO"))
    straight = torch.tensor([[[0, 0, 0], [0.145, 0, 0], [-0.097, 0, 0], [0.2, 0.1, 0]]], dtype=torch.float64)
    assert not placement.coordinates(straight).isfinite().all()
    assert placement.relabelled(straight).isfinite().all()


def test_rigid_motion_changes_no_coordinate(network):
    graph = MolecularGraph.from_smiles(IBUPROFEN)
    placement, coordinates, positions = drawn(network, graph, 5)
    rotation, _ = torch.linalg.qr(torch.tensor(np.random.default_rng(1).normal(size=(3, 3))))
    rotation = rotation * torch.linalg.det(rotation)
    moved = positions @ rotation.T + torch.tensor([0.5, -1.0, 2.0])
    torch.testing.assert_close(placement.coordinates(moved), placement.coordinates(positions), rtol=0, atol=1e-9)


def test_ring_closings_are_placed_by_two_lengths():
    for smiles, closings in (("C1CC1", 1), ("Cc1ccccc1", 1), ("c1ccc2ccccc2c1", 2), ("C1C2CC3CC1CC(C2)C3", 3), ("CCO", 0)):
        graph = MolecularGraph.from_smiles(smiles)
        closing = [step for step in Placement.of(graph).steps if step.closes]
        assert len(closing) == closings, smiles
        bonds = {frozenset(pair) for pair in graph.bonds.tolist()}
        assert all({frozenset((s.atom, s.parent)), frozenset((s.atom, s.second))} <= bonds for s in closing)


@pytest.mark.parametrize(
    "graph",
    [peptide("QY"), peptide("LW"), peptide("HF"), MolecularGraph.from_smiles(IBUPROFEN), *map(MolecularGraph.from_smiles, RINGS[:7])],
)
def test_torsions_of_rings_do_not_lie_where_their_range_ends(graph):
    """There they would be at both ends at once, which a mixture of Gaussians cannot follow."""
    placement = Placement.of(graph)
    positions = torch.tensor(embed_etkdg(graph, 5, seed=0).positions)
    turns = placement.coordinates(placement.relabelled(positions, hands=True))[..., 2]
    steps = [(k, step) for k, step in enumerate(placement.steps) if step.ring]
    assert steps or len(graph) < 10
    for k, step in steps:
        from_start = turns[:, k] - step.start
        assert (torch.minimum(from_start, step.width - from_start) > 0.5).all(), (step, turns[:, k])
