import copy

import openmm
import pytest
import torch

from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.density_pieces import log_prob_in_pieces
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.placement import Placement

from .test_autoregressive import inputs, uniform

SIZES = AutoregressiveConfig(width=32, static_width=16, static_layers=1, pair_width=8, blocks=1, nodes=30, ahead=16, reach=200)
SMILES = "[NH3+]CCCC(=O)[O-]"
GRAPH = MolecularGraph.from_smiles(SMILES)


@pytest.fixture(scope="module")
def density():
    """A network, a molecule and 401 of its conformations, which no number of pieces divides."""
    torch.manual_seed(3)
    network = AutoregressiveDensity(SIZES).double()
    for layer in (network.torsion_head, network.pair_strengths, network.group_strengths):
        torch.nn.init.normal_(layer.weight, std=0.15)
    batch = inputs(SMILES)
    coordinates, placed, _ = network.sample(batch, uniform(batch, 401))
    return network, batch, coordinates, placed


def values_and_gradients(found, network):
    """Of a sum in which every conformation counts otherwise."""
    network.zero_grad()
    (found * torch.linspace(-1, 2, len(found), dtype=torch.float64)).sum().backward()
    return found.detach(), {name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("number", [1, 2])
def test_pieces_have_the_density_and_the_gradients_of_the_whole(density, torch_cores, number):
    torch_cores(number)
    network = density[0]
    values, gradients = values_and_gradients(network.log_prob(*density[1:]), network)
    found, ours = values_and_gradients(log_prob_in_pieces(*density), network)
    torch.testing.assert_close(found, values, rtol=0, atol=1e-10)
    assert gradients.keys() == ours.keys() and "group_strengths.weight" in ours
    largest = max(float(expected.abs().max()) for expected in gradients.values())
    for name, expected in gradients.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-12 * largest)


def test_what_is_rounded_in_a_step_is_rounded_in_its_pieces(density, torch_cores):
    torch_cores(2)
    network, (coordinates, placed) = copy.deepcopy(density[0]).float(), (each.float() for each in density[2:])
    batch = placement_batch(GRAPH, Placement.of(GRAPH), openmm.System(), 300)
    exact = network.log_prob(batch, coordinates, placed)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, found = network.log_prob(batch, coordinates, placed), log_prob_in_pieces(network, batch, coordinates, placed)
    # products of other shapes may be summed in another order, which is nothing to what bfloat16 rounds off
    assert (found - rounded).abs().mean() < 0.1 * (found - exact).abs().mean()


def test_gradients_are_made_only_where_they_are_wanted(density):
    network = density[0]
    with torch.no_grad():
        assert not log_prob_in_pieces(*density).requires_grad
    network.bias.requires_grad_(False)
    try:
        _, gradients = values_and_gradients(log_prob_in_pieces(*density), network)
    finally:
        network.bias.requires_grad_(True)
    assert "bias.weight" not in gradients and "modulate.weight" in gradients


@pytest.mark.filterwarnings("error")
def test_parts_of_the_network_that_a_molecule_does_not_use_have_no_gradient(density):
    network, batch = copy.deepcopy(density[0]), inputs("CCO")
    network.requires_grad_(False)
    network.group_strengths.weight.requires_grad_(True)
    coordinates, placed, _ = network.sample(batch, uniform(batch, 401))
    found = log_prob_in_pieces(network, batch, coordinates, placed)
    torch.testing.assert_close(found, network.log_prob(batch, coordinates, placed), rtol=0, atol=1e-10)
    found.sum().backward()
    assert network.group_strengths.weight.grad is None or not network.group_strengths.weight.grad.any()


def test_it_has_no_second_derivative(density):
    parameters = list(density[0].parameters())
    (first,) = torch.autograd.grad(log_prob_in_pieces(*density).square().sum(), parameters[-1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_few_conformations_are_one_piece(density):
    network, batch, coordinates, placed = density
    assert torch.equal(
        log_prob_in_pieces(network, batch, coordinates[:5], placed[:5]), network.log_prob(batch, coordinates[:5], placed[:5])
    )
