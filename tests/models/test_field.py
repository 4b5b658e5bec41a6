import pytest
import torch

from openmm_confgf.models.features import collate, conformation_hands, featurise
from openmm_confgf.models.field import FieldConfig, PairField
from openmm_confgf.molecules.graph import MolecularGraph

SMILES = ["C[C@H](N)C(=O)O", "C/C=C/F", "CO"]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = PairField(FieldConfig(pair_width=16, atom_width=24, vectors=4, references=2, graph_layers=2, blocks=2)).double()
    for block in net.blocks:  # the initial scores are small on purpose; a test must see them
        torch.nn.init.normal_(block.heads.weight, std=0.3)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def inputs():
    batch = collate([featurise(MolecularGraph.from_smiles(s)) for s in SMILES])
    positions = torch.randn(len(SMILES), 3, batch.atoms.shape[1], 3, dtype=torch.float64, generator=seeded(1)) * 1.5
    positions = positions * batch.atom_mask[:, None, :, None]
    sigma = torch.tensor([0.02, 0.3, 1.0], dtype=torch.float64).expand(len(SMILES), 3)
    hands = conformation_hands(positions, batch)
    batch = type(batch)(*(v.double() if v.is_floating_point() else v for v in vars(batch).values()))
    return batch, positions, sigma, hands


def rotation(seed):
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=seeded(seed))).Q
    return q * torch.linalg.det(q)


def atoms_only(batch, x):
    return x * batch.atom_mask[:, None, :, None]


@pytest.mark.parametrize("seed", range(3))
def test_denoised_positions_turn_and_move_with_the_noisy_ones(net, inputs, seed):
    batch, x, sigma, hands = inputs
    turn, shift = rotation(seed), torch.randn(3, dtype=torch.float64, generator=seeded(seed + 10)) * 5
    graph = net.encode(batch)
    plain, moved = net(graph, x, sigma, hands), net(graph, x @ turn.T + shift, sigma, hands)
    assert (plain - x).abs().max() > 1e-2
    torch.testing.assert_close(atoms_only(batch, moved), atoms_only(batch, plain @ turn.T + shift), atol=1e-8, rtol=0)


def test_mirror_image_with_mirrored_hands_gives_the_mirror_image_and_with_kept_hands_does_not(net, inputs):
    batch, x, sigma, hands = inputs
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    graph = net.encode(batch)
    plain = net(graph, x, sigma, hands) * mirror
    torch.testing.assert_close(atoms_only(batch, net(graph, x * mirror, sigma, -hands)), atoms_only(batch, plain), atol=1e-8, rtol=0)
    assert (net(graph, x * mirror, sigma, hands) - plain)[0].abs().max() > 1e-3


def test_centroid_is_kept(net, inputs):
    batch, x, sigma, hands = inputs
    step = atoms_only(batch, net(net.encode(batch), x, sigma, hands) - x)
    assert step.sum(2).abs().max() < 1e-9


def test_result_of_a_molecule_does_not_depend_on_the_others_of_the_batch(net, inputs):
    batch, x, sigma, hands = inputs
    alone = collate([featurise(MolecularGraph.from_smiles(SMILES[2]))])
    alone = type(alone)(*(v.double() if v.is_floating_point() else v for v in vars(alone).values()))
    n, q = alone.atoms.shape[1], alone.tetrahedra.shape[1]
    single = net(net.encode(alone), x[2:, :, :n], sigma[2:], hands[2:, :, :q])
    torch.testing.assert_close(single, net(net.encode(batch), x, sigma, hands)[2:, :, :n], atol=1e-9, rtol=0)


def test_relabelled_atoms_give_relabelled_positions(net):
    from rdkit import Chem

    graph = MolecularGraph.from_smiles(SMILES[0])
    order = torch.randperm(len(graph), generator=seeded(3)).tolist()
    relabelled = MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order))
    x = torch.randn(1, 1, len(graph), 3, dtype=torch.float64, generator=seeded(4)) * 1.5
    results = []
    for molecule, positions in ((graph, x), (relabelled, x[:, :, order])):
        batch = collate([featurise(molecule)])
        # RDKit's bounds depend on the atom order by up to a few hundredths of an Angstrom: leave them out of this comparison
        batch = type(batch)(**{**vars(batch), "bounds": torch.full_like(batch.bounds, 2.0)})
        batch = type(batch)(*(v.double() if v.is_floating_point() else v for v in vars(batch).values()))
        results.append(
            net(net.encode(batch), positions, torch.full((1, 1), 0.3, dtype=torch.float64), conformation_hands(positions, batch))
        )
    torch.testing.assert_close(results[1], results[0][:, :, order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 1, 2, 0), (1, 2, 3, 0)])
def test_order_of_a_centres_neighbours_makes_no_difference(net, inputs, order):
    """Exchanging two corners changes the sign of volume and hand; the network must only see their product."""
    batch, x, sigma, _ = inputs
    reordered = type(batch)(**{**vars(batch), "tetrahedra": batch.tetrahedra[..., list(order)]})
    results = [net(net.encode(b), x, sigma, conformation_hands(x, b)) for b in (batch, reordered)]
    torch.testing.assert_close(results[1], results[0], atol=1e-9, rtol=0)
