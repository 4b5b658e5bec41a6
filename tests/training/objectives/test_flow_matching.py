"""Flow matching: its loss in closed form, and couplings that change nothing but which noise meets which molecule."""

import math

import pytest
import torch

from openmm_confgf.models.egnn import EGNN, EGNNConfig, without_mean
from openmm_confgf.training.objectives.flow_matching import flow_matching_loss, optimal_coupling


def pairs(count=6, n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [without_mean(torch.randn(count, n, 3, dtype=torch.float64, generator=generator)) for _ in range(3)]


def rotation(seed=1):
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    return turn * turn.det().sign()


def test_loss_of_a_perfect_velocity_is_nothing_and_of_none_the_squared_way():
    noise, clean, jitter = pairs()
    t = torch.linspace(0.05, 0.9, 6, dtype=torch.float64)
    seen = []

    def perfect(t, x, features, mask):
        seen.append(x)
        return clean - noise

    assert flow_matching_loss(perfect, t, noise, clean, jitter, torch.ones(5, 1)) == 0
    expected = noise + t[:, None, None] * (clean - noise) + 0.01 * jitter
    torch.testing.assert_close(seen[0], expected)
    still = flow_matching_loss(lambda t, x, features, mask: 0 * x, t, noise, clean, jitter, torch.ones(5, 1))
    assert still.item() == pytest.approx(((clean - noise) ** 2).mean().item())


def test_loss_is_over_atoms_alone():
    (noise, clean, jitter), features = pairs(2), torch.ones(5, 1)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = flow_matching_loss(
        lambda t, x, f, m: torch.where(m[..., None], x * 0, torch.nan), torch.rand(2), noise, clean, jitter, features, mask
    )
    squares = ((clean - noise) ** 2).sum(-1)
    assert found.item() == pytest.approx((squares[0].sum() + squares[1, :3].sum()).item() / 24)


def test_its_minimum_is_the_mean_velocity():
    """A velocity that is a number c times x_t, at one time: the best c is that of a regression."""
    noise, clean, jitter = pairs(400)
    t, c = torch.full((400,), 0.5, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    loss = flow_matching_loss(lambda t, x, features, mask: c * x, t, noise, clean, jitter, torch.ones(5, 1))
    (slope,) = torch.autograd.grad(loss, c)
    on_path = 0.5 * (noise + clean) + 0.01 * jitter
    assert slope.item() == pytest.approx(-2 * (on_path * (clean - noise)).mean().item())
    network = EGNN(EGNNConfig(atom_features=1, width=8, layers=1)).double()
    flow_matching_loss(network, t, noise, clean, jitter, torch.ones(5, 1, dtype=torch.float64)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def cost(noise, clean):
    return (noise - clean).square().sum((1, 2))


def test_a_turned_molecule_is_turned_back():
    noise, clean, _ = pairs()
    turned = clean @ rotation().T
    found = optimal_coupling(turned, clean, torch.arange(5), reflections=False)
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-12)
    mirrored = optimal_coupling(-turned, clean, torch.arange(5))
    torch.testing.assert_close(mirrored, clean, rtol=0, atol=1e-12)
    kept = optimal_coupling(-turned, clean, torch.arange(5), reflections=False)
    assert cost(kept, clean).min() > 0.01


def test_a_permuted_molecule_is_put_in_order_within_classes():
    _, clean, shift = pairs()
    classes, order = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([4, 3, 0, 1, 2])
    permuted = (clean + 0.01 * shift)[:, order]
    found = optimal_coupling(permuted, clean, classes)
    assert cost(found, clean).max() < 0.01
    assert cost(optimal_coupling(permuted, clean, torch.arange(5)), clean).min() > 0.05
    same = optimal_coupling(permuted, clean, classes.expand(6, 5))
    assert torch.equal(same, found)


@pytest.mark.parametrize("reflections", [True, False])
def test_coupled_noise_is_nearer_and_still_the_same_noise(reflections):
    noise, clean, _ = pairs(40)
    classes = torch.tensor([0, 1, 1, 1, 2])
    found = optimal_coupling(noise, clean, classes, reflections=reflections)
    assert (cost(found, clean) <= cost(noise, clean) + 1e-12).all() and cost(found, clean).mean() < 0.7 * cost(noise, clean).mean()
    # distances within a class, and from it to atoms of others, are the same numbers
    before, after = (torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") for x in (noise, found))
    torch.testing.assert_close(after[:, 0, 4], before[:, 0, 4])
    for k in (0, 4):
        torch.testing.assert_close(after[:, k, 1:4].sort(-1).values, before[:, k, 1:4].sort(-1).values)
    if not reflections:
        alone = optimal_coupling(noise, clean, torch.arange(5), reflections=False)
        torch.testing.assert_close(torch.linalg.det(alone[:, :3]), torch.linalg.det(noise[:, :3]))


def test_a_field_that_is_equivariant_maps_coupled_noise_alike():
    """Why coupling is allowed: its end is the end of the noise, turned and permuted."""
    noise, clean, _ = pairs(3)
    network = EGNN(EGNNConfig(atom_features=3, width=8, layers=2)).double().requires_grad_(False)
    features, classes = torch.eye(3, dtype=torch.float64)[[0, 1, 1, 1, 2]], torch.tensor([0, 1, 1, 1, 2])
    coupled, t = optimal_coupling(noise, clean, classes), torch.tensor(0.3)
    lengths = [network(t, x, features).norm(dim=-1) for x in (noise, coupled)]
    torch.testing.assert_close(lengths[0].sort(-1).values, lengths[1].sort(-1).values, rtol=0, atol=1e-12)


def test_padding_is_left_where_it_is():
    noise, clean, _ = pairs(2)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    noise, clean = without_mean(noise, mask), without_mean(clean, mask)
    found = optimal_coupling(noise, clean, torch.zeros(5, dtype=torch.long), mask)
    assert (found[1, 3:] == 0).all() and found.dtype == noise.dtype
    alone = optimal_coupling(noise[1:, :3], clean[1:, :3], torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(found[1, :3], alone[0])
    single = optimal_coupling(noise.float(), clean.float(), torch.arange(5), mask)
    assert single.dtype == torch.float32 and math.isfinite(single.sum())
