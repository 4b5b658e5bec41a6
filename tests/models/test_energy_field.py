import importlib.util
import subprocess
import sys

import pytest
import torch

from openmm_confgf.errors import MissingPackageError
from openmm_confgf.models.energy_field import EnergyField, EnergyFieldConfig, _attention_layer
from openmm_confgf.models.features import collate, featurise
from openmm_confgf.models.field import radial
from openmm_confgf.models.registry import build_network
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.openmm_plugin.graph_force import in_double

needs_torchmdnet = pytest.mark.skipif(importlib.util.find_spec("torchmdnet") is None, reason="torchmd-net is not installed")

SMILES = ["C[C@H](N)C(=O)O", "C/C=C/F", "CO"]


def batch_of(*smiles):
    return in_double(collate([featurise(MolecularGraph.from_smiles(s)) for s in smiles]))


@pytest.fixture(scope="module")
def net():
    if importlib.util.find_spec("torchmdnet") is None:
        pytest.skip("torchmd-net is not installed")
    torch.manual_seed(0)
    net = EnergyField(EnergyFieldConfig(pair_width=16, atom_width=24, references=2, graph_layers=1, width=16, layers=2, heads=2)).double()
    for linear in (net.pair_energy, net.response, net.atom_energy[2]):  # small on purpose at first; a test must see them
        torch.nn.init.normal_(linear.weight, std=0.3)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def inputs():
    batch = batch_of(*SMILES)
    x = torch.randn(len(SMILES), 2, batch.atoms.shape[1], 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1.5
    return batch, x


def test_energy_stays_and_scores_turn_when_the_molecule_is_turned_moved_or_mirrored(net, inputs):
    batch, x = inputs
    graph = net.encode(batch)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).Q
    energies, scores = net.scores(graph, x)
    for matrix in (turn, -turn):
        moved, turned = net.scores(graph, x @ matrix.T + 3.0)
        torch.testing.assert_close(moved, energies, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(turned, scores @ matrix.T, atol=1e-8, rtol=1e-8)
    assert scores.abs().max() > 1 and (scores.sum(2).abs() < 1e-8).all()  # no force on the whole


def test_scores_are_minus_the_gradient_of_the_energy(net, inputs):
    batch, x = inputs
    graph, step = net.encode(batch), 1e-5
    _, scores = net.scores(graph, x)
    along = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    along = along * batch.atom_mask[:, None, :, None]
    numeric = (net(graph, x + step * along) - net(graph, x - step * along)) / (2 * step)
    torch.testing.assert_close(-(scores * along).sum((-2, -1)), numeric, atol=1e-6, rtol=1e-6)


def test_a_molecule_has_its_energy_whatever_its_company_and_however_it_is_padded(net, inputs):
    batch, x = inputs
    energies, scores = net.scores(net.encode(batch), x)
    for k, smiles in enumerate(SMILES):
        alone = batch_of(smiles)
        n = alone.atoms.shape[1]
        energy, score = net.scores(net.encode(alone), x[k : k + 1, :, :n])
        torch.testing.assert_close(energy[0], energies[k], atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(score[0], scores[k, :, :n], atol=1e-9, rtol=1e-9)
        assert not scores[k, :, n:].any()


def test_the_graph_is_seen_and_not_the_elements_alone(net):
    """Dimethyl ether's and ethanol's atoms in the same places have other energies."""
    x = torch.randn(1, 1, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 1.5
    ethanol, ether = (
        net(net.encode(batch_of(smiles)), x[:, :, order]) for smiles, order in (("CCO", range(9)), ("COC", [0, 2, 1, *range(3, 9)]))
    )
    assert abs(float(ethanol - ether)) > 1e-3


def test_the_energy_is_what_the_equations_of_its_module_say(net, inputs):
    batch, x = inputs
    m, n, x = 2, int(batch.atom_mask[2].sum()), x[2, :1, : int(batch.atom_mask[2].sum())]
    graph, sigma = net.encode(batch), net.config.sigma_pm / 100
    normed, c, total = net.atom_norm(graph.atoms[m]), net.config.pair_width, 0.0
    edges, lengths, features, units = [], [], [], []
    for p, (i, j) in enumerate(batch.pair_index.tolist()):
        if j >= n:
            continue
        difference = x[0, i] - x[0, j]
        d = torch.sqrt((difference**2).sum() + 1e-6)
        w = torch.sqrt(2 * sigma**2 + graph.spread[m, p] ** 2)
        z = (d - graph.reference[m, p]) / w
        both = net.from_atoms(normed[[i, j]])
        met = both[0, :c] + both[1, :c] + both[0, c:] * both[1, c:]
        seen = torch.cat([torch.tanh(z), torch.exp(-(z**2) / 2), radial(d[None])])
        q = graph.pairs[m, p] + net.pair(net.pair_norm(graph.pairs[m, p]) + net.from_geometry(seen) + met)
        silu = torch.nn.functional.silu
        total += net.pair_energy(silu(q)).squeeze() + (net.response(silu(graph.pairs[m, p])) * w * torch.log(torch.cosh(z))).sum()
        for a, b, sign in ((i, j, 1), (j, i, -1)):
            edges.append((a, b)), lengths.append(d), features.append(silu(q)), units.append(sign * difference / d)
    h, v = net.into_attention(normed[:n]), torch.zeros(n, 3, net.config.width, dtype=torch.float64)
    for layer in net.attention:
        change = layer(h, v, torch.tensor(edges).T, torch.stack(lengths), torch.stack(features), torch.stack(units))
        h, v = h + change[0], v + change[1]
    total += net.atom_energy(net.out_norm(h)).sum()
    assert float(net(graph, inputs[1])[2, 0]) == pytest.approx(float(total) / sigma, rel=1e-10)


def test_scores_have_gradients_where_they_are_learnt(net, inputs):
    batch, x = inputs
    learning = EnergyField(net.config).double()
    learning.load_state_dict(net.state_dict())
    _, scores = learning.scores(learning.encode(batch), x, training=True)
    (scores**2).sum().backward()
    deaf = {name for name, parameter in learning.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert not {
        name for name in deaf if name.startswith(("references", "pair", "response", "from_", "attention.0.dv", "into", "atom_e"))
    } - {
        "pair_energy.bias",
        "atom_energy.2.bias",
    }


def test_without_torchmd_net_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmdnet.models.torchmd_et", None)
    with pytest.raises(MissingPackageError, match="pip install torchmd-net"):
        build_network("EnergyField")


@needs_torchmdnet
def test_loading_torchmd_net_prints_nothing():
    code = "from openmm_confgf.models.energy_field import EnergyField; EnergyField()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert issubclass(_attention_layer(), torch.nn.Module)
