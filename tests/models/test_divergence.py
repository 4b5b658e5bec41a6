"""Divergences against each other, a dense Jacobian and closed forms."""

import pytest
import torch

from openmm_confgf.errors import WrongTypeError
from openmm_confgf.models import divergence, egnn_trace
from openmm_confgf.models.divergence import MolecularField, backward, exact_divergence, forward, structured
from openmm_confgf.models.egnn import EGNN, EGNNConfig

WAYS = [backward, forward, structured]


def field_of(n, count=None, layers=3, dtype=torch.float64):
    """A field that moves atoms far, since weights as small as those at the start of a training would hide a wrong derivative."""
    torch.manual_seed(n)
    network = EGNN(EGNNConfig(atom_features=4, width=12, layers=layers)).to(dtype)
    for layer in network.layers:
        torch.nn.init.xavier_uniform_(layer.shift_out.weight)
    shape = (n, 4) if count is None else (count, n, 4)
    return MolecularField(network.requires_grad_(False), torch.randn(shape, dtype=dtype))


def jacobian_trace(field, t, positions):
    found = []
    for k in range(len(positions)):
        one = field.rows(torch.tensor([k]))
        dense = torch.func.jacrev(lambda x, one=one, k=k: one(t[k], x[None])[0])(positions[k])
        found.append(dense.reshape(positions[k].numel(), -1).trace())
    return torch.stack(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("n", "layers"), [(2, 1), (5, 2), (6, 5)])
def test_divergence_is_the_trace_of_the_jacobian(way, n, layers):
    field = field_of(n, layers=layers)
    positions, t = torch.randn(3, n, 3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    velocity, found = way(field, t, positions)
    torch.testing.assert_close(velocity, field(t, positions), rtol=0, atol=1e-12)
    torch.testing.assert_close(found, jacobian_trace(field, t, positions), rtol=0, atol=1e-10)
    assert not found.requires_grad and found.abs().min() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_padding_changes_no_divergence(way):
    field, t = field_of(6, count=2), torch.tensor([0.2, 0.9], dtype=torch.float64)
    positions = torch.randn(2, 6, 3, dtype=torch.float64)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    velocity, found = way(MolecularField(field.network, field.features, mask), t, positions)
    alone = [MolecularField(field.network, field.features[k, :n]) for k, n in enumerate((6, 4))]
    for k, (one, n) in enumerate(zip(alone, (6, 4), strict=True)):
        expected, trace = way(one, t[k], positions[k : k + 1, :n])
        torch.testing.assert_close(velocity[k, :n], expected[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(found[k], trace[0], rtol=0, atol=1e-11)
    assert (velocity[1, 4:] == 0).all()


def test_blocks_and_chunks_change_nothing(monkeypatch):
    field = field_of(5)
    positions, t = torch.randn(7, 5, 3, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    expected = exact_divergence(field, t, positions)[1]
    for block in (1, 5 * 15 * 12 * 2, 5 * 5 * 15 * 12 * 3):  # less than an atom, two atoms, three molecules
        monkeypatch.setattr(egnn_trace, "BLOCK", block)
        torch.testing.assert_close(structured(field, t, positions)[1], expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(divergence, "TANGENTS", 220)  # two directions at once
    torch.testing.assert_close(forward(field, t, positions)[1], expected, rtol=0, atol=1e-10)


def test_single_precision_is_good_to_a_hundred_thousandth():
    field, t = field_of(8, layers=5), torch.tensor(0.5)
    positions = torch.randn(4, 8, 3)
    expected = structured(field, t, positions)[1]
    single = MolecularField(field.network.float(), field.features.float())
    torch.testing.assert_close(structured(single, t, positions)[1].double(), expected, rtol=1e-4, atol=1e-4)


class Linear:
    mask = None

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, t, positions):
        return torch.einsum("kl,bil->bik", self.matrix, positions) * t.reshape(-1, 1, 1)

    def rows(self, chosen):
        return self


def test_of_a_linear_field_it_is_the_trace_of_its_matrix():
    matrix = torch.randn(3, 3, dtype=torch.float64)
    positions, t = torch.randn(2, 4, 3, dtype=torch.float64), torch.tensor([0.5, 1.0], dtype=torch.float64)
    for way in (backward, forward, exact_divergence):
        torch.testing.assert_close(way(Linear(matrix), t, positions)[1], 4 * matrix.trace() * t)


def test_only_networks_have_a_closed_form():
    with pytest.raises(WrongTypeError, match=r"and this is a .*Linear; use forward"):
        structured(Linear(torch.eye(3)), torch.tensor(0.5), torch.zeros(1, 2, 3))
