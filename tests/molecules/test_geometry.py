import math

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolTransforms

from openmm_confgf.molecules import geometry

random_positions = st.integers(0, 2**32 - 1).map(lambda seed: normal(seed, 3, 6, 3))


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(seed):
    q, r = torch.linalg.qr(normal(seed, 3, 3))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.linalg.det(q)  # det +1: for 3x3, scaling by -1 flips the sign


PAIRS = torch.combinations(torch.arange(6), 2)
QUADRUPLES = torch.tensor([[0, 1, 2, 3], [5, 4, 1, 0], [2, 3, 4, 5]])


def test_dihedrals_and_distances_agree_with_rdkit():
    mol = Chem.AddHs(Chem.MolFromSmiles("CC(C)C[C@H](N)C(=O)O"))
    rdDistGeom.EmbedMultipleConfs(mol, 4, randomSeed=3)
    quadruples = [m for m in mol.GetSubstructMatches(Chem.MolFromSmarts("*~*~*~*"), uniquify=True)]
    positions = torch.from_numpy(np.array([c.GetPositions() for c in mol.GetConformers()]))
    ours = geometry.dihedrals(positions, torch.tensor(quadruples))
    theirs = torch.tensor([[rdMolTransforms.GetDihedralRad(c, *q) for q in quadruples] for c in mol.GetConformers()], dtype=torch.float64)
    difference = torch.remainder(ours - theirs + math.pi, 2 * math.pi) - math.pi
    assert difference.abs().max() < 1e-9
    pairs = torch.combinations(torch.arange(mol.GetNumAtoms()), 2)
    matrix = torch.from_numpy(np.array([Chem.Get3DDistanceMatrix(mol, c.GetId()) for c in mol.GetConformers()]))
    assert torch.allclose(geometry.distances(positions, pairs), matrix[:, pairs[:, 0], pairs[:, 1]])


def test_dihedral_of_a_right_angle_has_the_iupac_sign():
    # looking along b -> c, d lies clockwise of a: +90 degrees
    positions = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]], dtype=torch.float64)
    assert math.degrees(geometry.dihedrals(positions, torch.tensor([[0, 1, 2, 3]]))) == pytest.approx(90)


def test_signed_volume_of_unit_vectors_is_one():
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert geometry.signed_volumes(positions, torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]])).tolist() == [1, -1]


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(random_positions, st.integers(0, 10**6))
def test_rotations_change_nothing_and_mirrors_change_signs(positions, seed):
    moved = positions @ rotation(seed).T + normal(seed + 1, 1, 1, 3)
    for function, index in ((geometry.distances, PAIRS), (geometry.signed_volumes, QUADRUPLES), (geometry.dihedrals, QUADRUPLES)):
        assert torch.allclose(function(moved, index), function(positions, index), atol=1e-8)
    mirrored = positions * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(geometry.signed_volumes(mirrored, QUADRUPLES), -geometry.signed_volumes(positions, QUADRUPLES))
    assert torch.allclose(geometry.dihedrals(mirrored, QUADRUPLES), -geometry.dihedrals(positions, QUADRUPLES), atol=1e-8)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(random_positions)
def test_pseudo_forces_are_the_chain_rule(positions):
    """Against autograd of sum(s * d), whose gradient is the chain rule with fixed scores s."""
    scores = normal(1, 3, len(PAIRS))
    leaf = positions.clone().requires_grad_()
    (geometry.distances(leaf, PAIRS) * scores).sum().backward()
    ours = geometry.pseudo_forces(scores, positions, PAIRS)
    assert torch.allclose(ours, leaf.grad, atol=1e-10)
    assert ours.sum(-2).abs().max() < 1e-10  # no net force
    assert torch.linalg.cross(positions - positions.mean(-2, keepdim=True), ours).sum(-2).abs().max() < 1e-9  # no net torque


def test_pseudo_forces_of_atoms_on_one_spot_are_finite():
    positions = torch.zeros(2, 3, dtype=torch.float32)
    assert torch.isfinite(geometry.pseudo_forces(torch.ones(1), positions, torch.tensor([[0, 1]]))).all()


def test_no_rows_are_no_rows():
    positions, empty = torch.randn(2, 6, 3), torch.zeros(0, 4, dtype=torch.int64)
    assert geometry.signed_volumes(positions, empty).shape == (2, 0)
    assert geometry.dihedrals(positions, empty).shape == (2, 0)
