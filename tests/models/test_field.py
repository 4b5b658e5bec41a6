import pytest
import torch

from openmm_confgf.models import field
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


def test_the_field_is_what_the_equations_of_its_module_say():
    """One molecule, one conformation, one atom and one pair at a time, with the linear layers of the network."""
    torch.manual_seed(1)
    net = PairField(FieldConfig(pair_width=6, atom_width=8, vectors=3, references=2, graph_layers=1, blocks=2)).double()
    net.requires_grad_(False)
    for block in net.blocks:
        torch.nn.init.normal_(block.heads.weight, std=0.5)
        torch.nn.init.normal_(block.linear_response.weight, std=0.5)
    batch = collate([featurise(MolecularGraph.from_smiles("C[C@H](F)O"))])
    batch = type(batch)(*(v.double() if v.is_floating_point() else v for v in vars(batch).values()))
    pairs, tetrahedra, n = batch.pair_index.tolist(), batch.tetrahedra[0].tolist(), batch.atoms.shape[1]
    x = torch.randn(n, 3, dtype=torch.float64, generator=seeded(5)) * 1.5
    sigma, hands = torch.tensor(0.4, dtype=torch.float64), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)[: len(tetrahedra)]
    silu, cat = torch.nn.functional.silu, torch.cat

    def total(values):
        return sum(values, torch.zeros_like(values[0]))

    def meet(linear, norm, a, i, j):
        (plus_i, times_i), (plus_j, times_j) = (linear(norm(a[k])).chunk(2) for k in (i, j))
        return plus_i + plus_j + times_i * times_j

    def of_atom(values, k):
        return total([v for v, pair in zip(values, pairs, strict=True) if k in pair])

    a = [total([e(batch.atoms[0, k, c]) for c, e in enumerate(net.atom_embeddings)]) for k in range(n)]
    lower, upper = batch.bounds[0].unbind(-1)
    p = [
        total([e(batch.pairs[0, m, c]) for c, e in enumerate(net.pair_embeddings)])
        + net.bounds(torch.stack([lower[m], upper[m].clamp(max=20), (upper[m] - lower[m]).clamp(max=20)]) / 5)
        for m in range(len(pairs))
    ]
    for layer in net.graph_layers:
        norm = layer.atom_norm
        p = [q + layer.pair(layer.pair_norm(q) + meet(layer.from_atoms, norm, a, *pair)) for q, pair in zip(p, pairs, strict=True)]
        a = [a[k] + layer.atom(cat([norm(a[k]), of_atom([silu(q) for q in p], k) / 4])) for k in range(n)]
    r, s = [], []
    for m, q in enumerate(p):
        b, c = net.references(q).chunk(2)
        w, g = (upper[m] - lower[m]).clamp(max=10) / 2, torch.tensor([-0.75, 0.75], dtype=torch.float64)
        r.append((upper[m].clamp(max=20) + lower[m]) / 2 + (w + 0.05) * (g + b))
        s.append((w + 0.05) / 4 * torch.exp(c.clamp(-6, 3)))
    start, v = x, None
    for block in net.blocks:
        level = field.noise_features(sigma)
        d = [torch.sqrt(((x[i] - x[j]) ** 2).sum() + 1e-6) for i, j in pairs]
        unit = [(x[i] - x[j]) / d[m] for m, (i, j) in enumerate(pairs)]
        z = [(d[m] - r[m]) / torch.sqrt(2 * sigma**2 + s[m] ** 2) for m in range(len(pairs))]
        y, gradients = [], []
        for h, quadruple in zip(hands, tetrahedra, strict=True):
            corners = x[quadruple].requires_grad_(True)
            one, two, three = corners[1:] - corners[0]
            volume = one @ torch.linalg.cross(two, three)
            gradient = torch.autograd.grad(volume, corners)[0]
            gradients.append(gradient / torch.sqrt((gradient**2).sum() + 0.01))
            y.append(torch.stack([torch.tanh(h * volume / 4), torch.tanh(h * volume), h.abs()]).detach())
        for h, quadruple, seen in zip(hands, tetrahedra, y, strict=True):
            for k in quadruple:
                a[k] = a[k] + h.abs() * block.hand_to_atom(seen)
        for m, (i, j) in enumerate(pairs):
            f = [torch.tanh(z[m]), torch.exp(-(z[m] ** 2) / 2), field.radial(d[m][None])]
            if v is not None:
                along_i, along_j = unit[m] @ v[i], unit[m] @ v[j]
                f += [along_i - along_j, along_i * along_j, (v[i] * v[j]).sum(0)]
            state = block.pair_norm(p[m]) + block.from_geometry(cat(f)) + block.from_noise(level)
            p[m] = p[m] + block.pair(state + meet(block.from_atoms, block.atom_norm, a, i, j))
        active = [silu(q) for q in p]
        heads = [block.heads(q) for q in active]
        t = [heads[m][0] + block.linear_response(active[m]) @ torch.tanh(z[m]) for m in range(len(pairs))]
        away = [[unit[m] * (1 if pair[0] == k else -1) for m, pair in enumerate(pairs)] for k in range(n)]
        pushed = [of_atom([torch.outer(away[k][m], heads[m][1:]) for m in range(len(pairs))], k) / 4 for k in range(n)]
        v = pushed if v is None else [v[k] + pushed[k] for k in range(n)]
        a = [a[k] + block.atom(cat([block.atom_norm(a[k]), of_atom(active, k) / 4])) for k in range(n)]
        force = torch.stack([of_atom([t[m] * away[k][m] for m in range(len(pairs))], k) for k in range(n)])
        for h, quadruple, seen, gradient in zip(hands, tetrahedra, y, gradients, strict=True):
            strength = h * block.hand(cat([total([a[k] for k in quadruple]) / 4, seen, level]))
            for corner, k in enumerate(quadruple):
                force[k] = force[k] + strength * gradient[corner]
        x = x + sigma * force
    found = net(net.encode(batch), start[None, None], sigma[None, None], hands[None, None])
    assert (x - start).abs().max() > 0.1
    torch.testing.assert_close(found[0, 0], x, atol=1e-9, rtol=1e-9)
