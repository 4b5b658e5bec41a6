import pytest
import torch

from openmm_confgf.models.confgf import ConfGF, EdgeGraph, NoiseLadder
from openmm_confgf.models.features import collate, featurise
from openmm_confgf.molecules.geometry import distances, pseudo_forces
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return ConfGF().double().eval().requires_grad_(False)


def edge_graph(*smiles):
    return EdgeGraph.from_batch(collate([featurise(MolecularGraph.from_smiles(s)) for s in smiles]))


def random_positions(graph, seed=0):
    return torch.randn(2, len(graph.elements), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def test_edges_are_the_pairs_up_to_three_bonds_apart():
    graph = edge_graph("CCCCC#N", "C=O")
    kinds = torch.bincount(graph.kinds, minlength=8)
    # C-C and C-H; the nitrile; C=O; distances of more than one bond follow them
    assert kinds[1] == 4 + 9 + 2 and kinds[3] == 1 and kinds[2] == 1 and kinds[5] == 0
    first = MolecularGraph.from_smiles("CCCCC#N")
    second = MolecularGraph.from_smiles("C=O")
    for bonds in (2, 3):
        assert kinds[4 + bonds] == sum((g.topological_distances == bonds).sum() // 2 for g in (first, second))
    assert (graph.molecule == 1).sum() == 6  # all pairs of formaldehyde


def test_position_scores_are_the_gradient_of_a_function_of_the_distances():
    """Chain rule (paper, eq. 7) against autograd: for log p = f(d), the position scores must be its gradient."""
    graph = edge_graph("CC(=O)N")
    x = random_positions(graph).requires_grad_(True)
    log_p = torch.sin(distances(x, graph.edges)).sum() - 0.1 * (distances(x, graph.edges) ** 2).sum()
    expected = torch.autograd.grad(log_p, x)[0]
    d = distances(x.detach(), graph.edges)
    torch.testing.assert_close(pseudo_forces(torch.cos(d) - 0.2 * d, x.detach(), graph.edges), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_field_turns_with_the_molecule_and_ignores_where_it_is(net, seed):
    graph = edge_graph("C[C@H](N)C(=O)O")
    x = random_positions(graph, seed)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).Q  # reflections too

    def field(positions):
        return pseudo_forces(net(graph, distances(positions, graph.edges), torch.tensor(0.5)), positions, graph.edges)

    torch.testing.assert_close(field(x @ turn.T + 3.0), field(x) @ turn.T, atol=1e-5, rtol=1e-5)
    assert field(x).sum(1).abs().max() < 1e-8 * field(x).abs().max()


def test_field_follows_a_permutation_of_the_atoms(net):
    from rdkit import Chem

    graph = MolecularGraph.from_smiles("CC(=O)NC")
    order = torch.randperm(len(graph), generator=torch.Generator().manual_seed(2)).tolist()
    first, second = (
        EdgeGraph.from_batch(collate([featurise(g)])) for g in (graph, MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order)))
    )
    x = random_positions(first)
    fields = [pseudo_forces(net(g, distances(p, g.edges), torch.tensor(0.5)), p, g.edges) for g, p in ((first, x), (second, x[:, order]))]
    torch.testing.assert_close(fields[1], fields[0][:, order], atol=1e-5, rtol=1e-5)


def test_scores_are_inversely_proportional_to_sigma(net):
    graph = edge_graph("CCO")
    d = distances(random_positions(graph), graph.edges)
    torch.testing.assert_close(net(graph, d, torch.tensor(0.2)), 5 * net(graph, d, torch.tensor(1.0)))


def test_ladder_has_the_published_levels_and_step_sizes():
    ladder = NoiseLadder()
    sigmas, steps = ladder.sigmas(), ladder.step_sizes()
    assert len(sigmas) == 50 and sigmas[0] == pytest.approx(10) and sigmas[-1] == pytest.approx(0.01)
    torch.testing.assert_close(sigmas[1:] / sigmas[:-1], torch.full((49,), (0.01 / 10) ** (1 / 49)), rtol=1e-5, atol=0)
    assert steps[-1].item() == pytest.approx(2.4e-6) and steps[0].item() == pytest.approx(2.4e-6 * 1e6, rel=1e-5)
    assert ladder.levels * ladder.steps_per_level == 5000
