import numpy as np
import torch

from openmm_confgf.generators import ConfGFDistGenerator, PublishedConfGFGenerator
from openmm_confgf.models.confgf import NoiseLadder
from openmm_confgf.molecules.graph import MolecularGraph

SHORT = NoiseLadder(first=1.0, last=0.1, levels=3, epsilon=2e-4, steps_per_level=4)
MOLECULES = [MolecularGraph.from_smiles(s) for s in ("CCO", "CC(N)C(=O)O", "C=O")]


def test_published_presets_make_5000_calls(untrained_confgf):
    generator = PublishedConfGFGenerator(untrained_confgf)
    assert generator.calls(MOLECULES[0]) == 5000 and generator.ladder.epsilon == 2.4e-6
    dist = ConfGFDistGenerator(untrained_confgf)
    assert dist.calls(MOLECULES[0]) == 5000 and dist.ladder.epsilon == 2e-6


def test_samples_do_not_depend_on_the_other_molecules(untrained_confgf):
    for kind in (PublishedConfGFGenerator, ConfGFDistGenerator):
        generator = kind(untrained_confgf, SHORT)
        together = dict(generator.sample_many(MOLECULES, [5, 2, 3], seed=4))
        assert sorted(together) == [0, 1, 2]
        for index, molecule in enumerate(MOLECULES):
            alone = generator.sample(molecule, 2, seed=4)
            np.testing.assert_allclose(alone.positions, together[index].positions[:2], atol=1e-4)


def test_sampler_is_the_published_update_written_out_for_one_molecule(untrained_confgf):
    """The batched generator against algorithm 1 with plain loops, the same noise and the network's own scores by the chain rule."""
    from openmm_confgf.generators.base import sample_stream
    from openmm_confgf.models.confgf import EdgeGraph
    from openmm_confgf.models.features import collate, featurise

    graph = MOLECULES[0]
    generator = PublishedConfGFGenerator(untrained_confgf, SHORT)
    result = generator.sample(graph, 1, seed=9).positions[0] * 10  # Angstrom
    edges = EdgeGraph.from_batch(collate([featurise(graph)]))
    stream = sample_stream(graph, 9, 0)
    x = torch.from_numpy(stream.standard_normal((len(graph), 3)).astype(np.float32))
    for sigma in np.geomspace(1.0, 0.1, 3):
        step = 2e-4 * (sigma / 0.1) ** 2
        for _ in range(4):
            leaf = x.clone().requires_grad_(True)
            lengths = torch.stack([(leaf[i] - leaf[j]).norm() for i, j in edges.edges])
            scores = generator.net(edges, lengths.detach()[None], torch.tensor(sigma, dtype=torch.float32))[0]
            drift = torch.autograd.grad((scores.detach() * lengths).sum(), leaf)[0]
            drift = drift * torch.clamp(1000 / drift.norm(dim=1, keepdim=True), max=1.0)
            z = torch.from_numpy(stream.standard_normal((len(graph), 3), np.float32))
            x = x + step * drift + np.sqrt(2 * step) * z
    expected = (x - x.mean(0)).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-3 * np.abs(expected).max())
