import dataclasses
import math

import numpy as np
import openmm
import pytest
import torch
from scipy.special import ndtr

from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.models import autoregressive
from openmm_confgf.models.autoregressive import GEOMETRY, AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.conditionals import BROAD_SHARE, broken_line_log_prob, sample_truncated_mixture, truncated_mixture_log_prob
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.placement import Placement

SIZES = AutoregressiveConfig(width=32, static_width=16, static_layers=1, pair_width=8, blocks=1, nodes=30, ahead=16, reach=200)
MOLECULES = ["O", "OO", "CO", "C[C@H](N)C(=O)O", "CC1CC1", "Cc1ccccc1", "CC(F)Cl", "C/C=C\\F", "[NH3+]CCCC(C[NH3+])CC(=O)[O-]"]


@pytest.fixture(scope="module")
def network():
    """Its heads far from where they begin, so that all inputs tell."""
    torch.manual_seed(3)
    net = AutoregressiveDensity(SIZES).double()
    heads = (net.length_head, net.second_head, net.turn_head, net.torsion_head)
    for layer in (*heads, net.modulate, net.pair_strengths, net.carried_strengths, net.group_strengths):
        torch.nn.init.normal_(layer.weight, std=0.15)
    return net


def inputs(smiles):
    """In float64, with typical bonds and angles."""
    graph = MolecularGraph.from_smiles(smiles)
    batch = placement_batch(graph, Placement.of(graph), openmm.System(), 300)
    found = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return type(batch)(**{name: x.double() if x.is_floating_point() else x for name, x in found.items()})


def uniform(batch, count, seed=0):
    return torch.tensor(np.random.default_rng(seed).random((count, len(batch.atoms), 6)))


def recorded(monkeypatch, name, sink):
    """Note what a function of the module is called with, and what it gives."""
    real = getattr(autoregressive, name)

    def noting(*arguments):
        result = real(*arguments)
        sink.append((arguments, result))
        return result

    monkeypatch.setattr(autoregressive, name, noting)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_density_along_the_path_of_sampling_is_that_of_one_pass(network, monkeypatch, smiles):
    batch, mixtures, lines = inputs(smiles), [], []
    recorded(monkeypatch, "sample_truncated_mixture", mixtures)
    recorded(monkeypatch, "sample_broken_line", lines)
    coordinates, placed, drawn = network.sample(batch, uniform(batch, 40))
    path = sum(truncated_mixture_log_prob(x, *arguments[2:]) for arguments, x in mixtures)
    path = path + sum(broken_line_log_prob(x, *arguments[2:]) for arguments, x in lines)
    n = len(batch.atoms)
    assert len(mixtures) + len(lines) == 3 * n - 6 and len(lines) == int(batch.torsion.sum())
    assert coordinates.isfinite().all() and placed.isfinite().all()
    with torch.no_grad():
        found = network.log_prob(batch, coordinates, placed)
    torch.testing.assert_close(drawn, path[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(found, drawn, rtol=0, atol=1e-7)


@pytest.mark.parametrize("smiles", ["OO", "CO", "CC1CC1", "CC(F)Cl"])
def test_each_coordinate_follows_the_conditional_of_one_pass(network, monkeypatch, smiles):
    """Its distribution function there is uniform (Rosenblatt 1952, doi:10.1214/aoms/1177729394)."""
    batch, count, mixtures, lines = inputs(smiles), 2000, [], []
    coordinates, placed, _ = network.sample(batch, uniform(batch, count, 1))
    recorded(monkeypatch, "truncated_mixture_log_prob", mixtures)
    recorded(monkeypatch, "broken_line_log_prob", lines)
    with torch.no_grad():
        network.log_prob(batch, coordinates, placed)
    found = [mixture_cdf(*arguments)[:, first:] for first, (arguments, _) in zip((1, 2, 0), mixtures, strict=True)]
    found += [line_cdf(*arguments) for arguments, _ in lines]
    places = np.sort(np.concatenate(found, axis=1), axis=0)
    assert places.shape == (count, 3 * len(batch.atoms) - 6)
    distance = np.abs(places - ((np.arange(count) + 0.5) / count)[:, None]).max(0)
    assert distance.max() < 3.2 / math.sqrt(count)  # six standard deviations: 2 exp(-2 n d^2) is 2e-9


def mixture_cdf(x, log_shares, means, log_scales, lower, upper):
    low, high, here = ((k[..., None] - means) / log_scales.exp() for k in (lower, upper, x))
    flip = low + high > 0  # in the lower tail
    low, high, here = torch.where(flip, -high, low), torch.where(flip, -low, high), torch.where(flip, -here, here)
    low, high, here = (ndtr(k.numpy()) for k in (low, high, here))
    with np.errstate(invalid="ignore"):  # 0 / 0 far out, where a component has no share to speak of
        parts = np.nan_to_num((here - low) / (high - low))
    parts = np.where(flip.numpy(), 1 - parts, parts)
    return (log_shares.exp().numpy() * parts).sum(-1)


def line_cdf(x, logits, width):
    """By the midpoint rule within each bin, exact for lines; of columns (B, T)."""
    bins = logits.shape[-1] - 1
    place = (x / width * bins).clamp(0, bins - 1e-9)
    k = place.floor().long()
    middles = (torch.arange(bins) + 0.5) / bins
    density = broken_line_log_prob(middles * width[..., None], logits[..., None, :].expand(*x.shape, bins, -1), width[..., None]).exp()
    before = torch.cat([torch.zeros_like(x)[..., None], (density * width[..., None] / bins).cumsum(-1)], -1)
    middle = (k + 0.5 * (place - k)) / bins * width
    here = broken_line_log_prob(middle, logits, width).exp()
    return (before.gather(-1, k[..., None])[..., 0] + here * (place - k) / bins * width).numpy()


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "Cc1ccccc1"])
def test_no_conditional_depends_on_what_is_placed_later(network, monkeypatch, smiles):
    batch = inputs(smiles)
    coordinates, placed, _ = network.sample(batch, uniform(batch, 2, 2))
    rows = torch.arange(len(batch.atoms))
    turns = torch.cat([rows[(rows > 2) & ~batch.torsion], rows[(rows > 2) & batch.torsion]])
    for k in (3, 5, len(rows) - 1):
        results = []
        for change in (0.0, 0.02):
            moved, others = placed.clone(), coordinates.clone()
            moved[:, k] += change
            others[:, k] += change * torch.tensor([0.1, 0.5, 0.5])
            sink = []
            with monkeypatch.context() as patch:
                recorded(patch, "truncated_mixture_log_prob", sink)
                recorded(patch, "broken_line_log_prob", sink)
                with torch.no_grad():
                    network.log_prob(batch, others, moved)
            (length, second, *rest) = (result for _, result in sink)
            results.append((length, second, torch.cat(rest, dim=1)))
        (length, second, turn), (other_length, other_second, other_turn) = results
        # of a step's own, length and angle are known before its dihedral
        torch.testing.assert_close(length[:, 1:k], other_length[:, 1:k], rtol=0, atol=1e-10)
        torch.testing.assert_close(second[:, 2:k], other_second[:, 2:k], rtol=0, atol=1e-10)
        torch.testing.assert_close(turn[:, turns < k], other_turn[:, turns < k], rtol=0, atol=1e-10)
        assert k == len(rows) - 1 or (length[:, k + 1 :] - other_length[:, k + 1 :]).abs().max() > 1e-6


@pytest.mark.parametrize("smiles", ["CO", "Cc1ccccc1"])
def test_weights_of_what_is_not_placed_yet_are_zero(network, smiles):
    batch = inputs(smiles)
    n = len(batch.atoms)
    static = network.static(batch)
    bias = static.heads
    weights = static.weights.view(n, n, GEOMETRY, SIZES.width)
    assert (weights[torch.triu(torch.ones(n, n, dtype=torch.bool))] == 0).all()
    assert (weights[torch.tril(torch.ones(n, n, dtype=torch.bool), -1)].abs().sum((1, 2)) > 0).all()
    assert bias.shape == (n, network.head_bias.out_features)


def test_the_network_sees_no_rigid_motion(network):
    batch = inputs("C[C@H](N)C(=O)O")
    coordinates, placed, _ = network.sample(batch, uniform(batch, 6, 3))
    rotation, _ = torch.linalg.qr(torch.tensor(np.random.default_rng(1).normal(size=(3, 3))))
    moved = placed @ (rotation * torch.linalg.det(rotation)).T + 3.0
    # the first three atoms have no frame of their own: the steps that would need one have a context that is not used
    with torch.no_grad():
        before, after = (network.log_prob(batch, coordinates, x) for x in (placed, moved))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-7)


def test_everything_that_is_learned_has_a_finite_gradient(network):
    network.zero_grad()
    for smiles in ("C[C@H](N)C(=O)O", "[NH3+]CCCC(C[NH3+])CC(=O)[O-]"):
        batch = inputs(smiles)
        coordinates, placed, _ = network.sample(batch, uniform(batch, 16, 4))
        network.log_prob(batch, coordinates, placed).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    network.zero_grad()


def test_the_same_numbers_give_the_same_samples(network):
    batch = inputs("CC(F)Cl")
    numbers = uniform(batch, 8)
    one, other = (network.sample(batch, numbers) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    fewer = network.sample(batch, numbers[:3])
    torch.testing.assert_close(fewer[1], one[1][:3], rtol=0, atol=1e-9)


def test_numbers_at_the_ends_give_samples_with_a_density(network):
    for smiles in MOLECULES:
        batch = inputs(smiles)
        shape = (3, len(batch.atoms), 6)
        numbers = (
            torch.stack([torch.zeros(shape[1:]), torch.full(shape[1:], 0.5), torch.full(shape[1:], 1.0)]).double().clamp_max(1 - 2**-53)
        )
        coordinates, placed, _ = network.sample(batch, numbers)
        with torch.no_grad():
            assert network.log_prob(batch, coordinates, placed).isfinite().all(), smiles


@pytest.mark.parametrize("smiles", MOLECULES)
def test_without_their_broad_components_samples_have_the_same_density(network, monkeypatch, smiles):
    """The numbers that choose the broad component choose the last of the others."""
    batch, mixtures = inputs(smiles), []
    numbers = uniform(batch, 6)
    numbers[..., ::2] = 1 - 0.5 * BROAD_SHARE
    recorded(monkeypatch, "sample_truncated_mixture", mixtures)
    coordinates, placed, drawn = network.sample(batch, numbers, broad=False)
    for (choice, place, shares, means, scales, lower, upper), found in mixtures:
        alone = torch.zeros_like(shares[..., :1]), means[..., -2:-1], scales[..., -2:-1]
        torch.testing.assert_close(found, sample_truncated_mixture(choice, place, *alone, lower, upper), rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(network.log_prob(batch, coordinates, placed), drawn, rtol=0, atol=1e-8)
    mixtures.clear()
    network.sample(batch, numbers)
    (_, place, shares, means, scales, lower, upper), found = mixtures[0]
    broad = torch.zeros_like(shares[..., :1]), means[..., -1:], scales[..., -1:]
    torch.testing.assert_close(found, sample_truncated_mixture(0 * place, place, *broad, lower, upper), rtol=0, atol=1e-12)


def test_float32_weights_give_densities_in_float64():
    torch.manual_seed(3)
    net, graph = AutoregressiveDensity(SIZES), MolecularGraph.from_smiles("CO")
    batch = placement_batch(graph, Placement.of(graph), openmm.System(), 300)
    coordinates, placed, drawn = net.sample(batch, uniform(batch, 8))
    with torch.no_grad():
        found = net.log_prob(batch, coordinates, placed)
        single = net.log_prob(batch, coordinates.float(), placed.float())
    assert found.dtype == torch.float64 and single.dtype == torch.float32
    torch.testing.assert_close(found, single.double(), rtol=0, atol=0.05)
    # how a matrix product rounds depends on its shape
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(found, drawn, rtol=0, atol=1e-4)


def test_frames_in_float32_are_not_rounded_out_of_their_domain():
    """A hydrogen of a methyl group that is drawn at the very end of its domain, which depends on where the first one is."""
    torch.manual_seed(3)
    net, graph = AutoregressiveDensity(SIZES), MolecularGraph.from_smiles("CCO")
    placement = Placement.of(graph)
    batch, count = placement_batch(graph, placement, openmm.System(), 300), 200
    numbers = uniform(batch, count)
    last = max(k for k, step in enumerate(placement.steps) if step.leader >= 0 and step.start > 0)
    numbers[:, last, 5] = 1 - 2**-53
    coordinates, placed, _ = net.sample(batch, numbers)
    coordinates[:, last, 2] = 2 * math.pi - coordinates[:, placement.steps[last].leader, 2]
    with torch.no_grad():
        assert net.log_prob(batch, coordinates.float(), placed.float()).isfinite().all()


@pytest.mark.parametrize("smiles", MOLECULES)
def test_what_is_given_is_read_as_it_was_placed(network, smiles):
    """Kept atoms have the coordinates that they were placed by, and the density of all that is drawn after the third is as before."""
    batch = inputs(smiles)
    n = len(batch.atoms)
    coordinates, placed, whole = network.sample(batch, uniform(batch, 20))
    later = torch.arange(n) > 2
    kept = network.sample(batch, uniform(batch, 20, seed=1), given=autoregressive.Given(placed, torch.zeros(n, dtype=torch.bool)))
    torch.testing.assert_close(kept[0], coordinates, atol=1e-9, rtol=0)
    assert torch.equal(kept[1], placed) and (kept[2] == 0).all()
    copies = placed[:1].expand(20, -1, -1)
    again = network.sample(batch, uniform(batch, 20, seed=1), given=autoregressive.Given(copies, later))
    full = network.log_prob(batch, again[0], again[1])
    torch.testing.assert_close(again[2] - again[2][0], full - whole[0], atol=1e-9, rtol=0)
    assert torch.equal(again[1][:, :3], copies[:, :3])
