"""The EGNN: its symmetries, padding, and the published formula written out pair by pair."""

import math

import pytest
import torch
from torch.nn.functional import silu

from openmm_confgf.models.egnn import EGNN, EGNNConfig, without_mean
from openmm_confgf.models.registry import build_network, describe_network

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def network_of(dtype=torch.float64, layers=4):
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(atom_features=4, width=16, layers=layers)).to(dtype)
    for layer in network.layers:
        torch.nn.init.xavier_uniform_(layer.shift_out.weight, gain=0.3)
    return network.requires_grad_(False)


def inputs(dtype=torch.float64, count=3, n=6):
    torch.manual_seed(1)
    return torch.rand(count, dtype=dtype), torch.randn(count, n, 3, dtype=dtype), torch.eye(4, dtype=dtype)[torch.arange(n) % 4]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_velocities_turn_with_the_positions_and_no_translation_changes_them(dtype, sign):
    network, (t, x, features) = network_of(dtype), inputs(dtype)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turn = (turn * sign * turn.det().sign()).to(dtype)
    expected = network(t, x, features) @ turn.T
    assert expected.abs().max() > 0.3
    moved = x @ turn.T + torch.tensor([0.3, -0.7, 0.2], dtype=dtype)
    torch.testing.assert_close(network(t, moved, features), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_velocities_permute_with_the_atoms(dtype):
    network, (t, x, features) = network_of(dtype), inputs(dtype)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    expected = network(t, x, features)[:, order]
    torch.testing.assert_close(network(t, x[:, order], features[order]), expected, rtol=0, atol=TOLERANCE[dtype])
    # atoms that are alike can be exchanged alone
    alike = torch.tensor([4, 1, 2, 3, 0, 5])
    torch.testing.assert_close(network(t, x[:, alike], features), network(t, x, features)[:, alike], rtol=0, atol=TOLERANCE[dtype])


def test_padding_changes_no_velocity_whatever_it_holds():
    network, (t, x, features) = network_of(), inputs()
    expected = network(t, x, features)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[:, 6:] = False
    for filling in (0.0, 0.1, 1e6, math.nan):
        padded = torch.full((3, 9, 3), filling, dtype=torch.float64)
        padded[:, :6] = x
        found = network(t, padded, torch.cat([features, torch.ones(3, 4, dtype=torch.float64)]), mask)
        torch.testing.assert_close(found[:, :6], expected, rtol=0, atol=1e-12)
        assert (found[:, 6:] == 0).all()
    half = mask.clone()
    half[1, 4:] = False  # a smaller molecule in the same batch
    found = network(t, padded, torch.cat([features, torch.ones(3, 4, dtype=torch.float64)]), half)
    torch.testing.assert_close(found[1, :4], network(t[1], x[1:2, :4], features[:4])[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[0, :6], expected[0], rtol=0, atol=1e-12)


def test_velocities_have_no_mean_and_depend_on_time_and_features():
    network, (t, x, features) = network_of(), inputs()
    velocity = network(t, x, features)
    assert velocity.mean(1).abs().max() < 1e-14
    assert (network(t + 0.5, x, features) - velocity).abs().max() > 1e-3
    assert (network(t, x, features.roll(1, 0)) - velocity).abs().max() > 1e-3
    torch.testing.assert_close(network(t, x, features.expand(3, -1, -1)), velocity)
    torch.testing.assert_close(network(t[0], x, features)[0], velocity[0])


def written_out(network, t, x, features):
    """The published formulas, one pair after the other, with the concatenation that they have."""
    n = len(x)
    h = network.embedding(torch.cat([features, t.expand(n, 1)], 1))
    at_input, start = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") ** 2, x
    for layer in network.layers:
        moves, received = torch.zeros_like(x), torch.zeros_like(h)
        for i in range(n):
            for j in range(n):
                if i != j:
                    squared = ((x[i] - x[j]) ** 2).sum()
                    message = silu(layer.edge_out(silu(layer.edge_in(torch.cat([h[i], h[j], squared[None], at_input[i, j][None]])))))
                    message = message * torch.sigmoid(layer.gate(message))
                    strength = torch.tanh(layer.shift_out(silu(layer.shift_in(message)))) * 15 / len(network.layers)
                    moves[i] += (x[i] - x[j]) / (torch.sqrt(squared + 1e-8) + 1) * strength
                    received[i] += message
        x = x + moves
        if layer.updates:
            h = h + layer.node_out(silu(layer.node_in(torch.cat([h, received], 1))))
    return x - start - (x - start).mean(0)


def test_velocities_are_the_published_formula():
    network, (t, x, features) = network_of(layers=2), inputs()
    for k in range(3):
        torch.testing.assert_close(network(t, x, features)[k], written_out(network, t[k], x[k], features), rtol=0, atol=1e-12)


def test_sizes_are_those_published():
    """148,000 parameters, of which the last layer's and the output's for states are not here."""
    network = EGNN()
    unread = (128 * 64 + 64) + (64 * 64 + 64) + (64 * 10 + 10)
    assert sum(p.numel() for p in network.parameters()) + unread == pytest.approx(148_000, abs=500)
    assert sum(p.abs().max() for p in (layer.shift_out.weight for layer in network.layers)) < 5 * 0.001 * math.sqrt(6 / 65)


def test_a_card_can_name_it():
    assert describe_network(build_network("EGNN", {"width": 8})) == ("EGNN", {"atom_features": 9, "width": 8, "layers": 5})


def test_the_mean_is_that_of_the_atoms():
    x = torch.tensor([[[1.0, 0, 0], [3, 0, 0], [100, 0, 0]]])
    assert without_mean(x, torch.tensor([[True, True, False]]))[0, :, 0].tolist() == [-1, 1, 0]
    assert without_mean(x[:, :2])[0, :, 0].tolist() == [-1, 1]
