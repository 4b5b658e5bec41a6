import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.features import conformation_hands, featurise
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.batches import LadderNoise, NoiseConfig, StepDataset
from openmm_confgf.training.data import TrainingMolecule
from openmm_confgf.training.denoising import denoising_loss


@pytest.fixture(scope="module")
def molecules():
    found = []
    for smiles in ("CCO", "CC(C)(N)C(=O)O", "C[C@H](F)O", "CCCCCC", "C=O", "c1ccccc1"):
        graph = MolecularGraph.from_smiles(smiles)
        x = (embed_etkdg(graph, 3, 0).positions * 10).astype(np.float32)
        found.append(TrainingMolecule(featurise(graph), x - x.mean(1, keepdims=True), np.zeros(3, np.float32), graph.smiles))
    return found


def test_every_molecule_is_seen_once_an_epoch_and_batches_keep_their_budget(molecules):
    dataset = StepDataset(molecules * 5, 10_000, NoiseConfig(), pair_budget=1500)
    plan = dataset._plan(0)
    assert sorted(np.concatenate(plan)) == list(range(len(molecules) * 5))
    for batch in plan:
        largest = max(len(dataset.molecules[m].features) for m in batch)
        assert len(batch) == 1 or len(batch) * 4 * largest * (largest - 1) // 2 <= 1500


def test_steps_run_through_the_epochs_and_each_epoch_is_planned_once(molecules, monkeypatch):
    dataset = StepDataset(molecules * 2, 60, NoiseConfig(), 1500)
    monkeypatch.setattr(NoiseConfig, "batch", lambda self, chosen, rng: len(chosen))
    permutations = []
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values: permutations.append(1) or argsort(values))
    sizes = [dataset[step] for step in range(60)]
    seen, epochs = 0, 0
    for size in sizes:
        seen += size
        epochs += seen % len(dataset.molecules) == 0
    assert epochs >= 3 and len(permutations) <= epochs + 1


def test_a_batch_is_a_function_of_its_step_alone(molecules):
    first, second = (StepDataset(molecules, 50, NoiseConfig(), 800, seed=5) for _ in range(2))
    for step in (30, 2, 17, 30):
        second[step]
    for step in (17, 0, 30):
        a, b = first[step], second[step]
        assert torch.equal(a.noisy, b.noisy) and torch.equal(a.sigma, b.sigma) and torch.equal(a.hands, b.hands)
    assert not torch.equal(first[17].sigma, StepDataset(molecules, 50, NoiseConfig(), 800, seed=6)[17].sigma)


def test_noise_is_mean_free_and_has_the_variance_of_its_level(molecules):
    dataset = StepDataset(molecules, 400, NoiseConfig(), 2000)
    squares, freedom = 0.0, 0
    for step in range(400):
        batch = dataset[step]
        shift = (batch.noisy - batch.clean) / batch.sigma[..., None, None]
        assert shift.sum(2).abs().max() < 1e-3
        squares += (shift**2).sum().item()
        freedom += int(3 * (batch.graph.atom_mask.sum(1) - 1).sum()) * batch.sigma.shape[1]
    assert abs(squares - freedom) < 6 * math.sqrt(2 * freedom)  # chi-squared with 3 (n - 1) degrees of freedom each


def test_conformations_on_a_path_are_noised_there_and_aim_at_its_end(molecules):
    graph = molecules[3]
    paths = graph.positions[:, None] + np.random.default_rng(0).normal(scale=0.4, size=(3, 2, *graph.positions.shape[1:])).astype(
        np.float32
    )
    on_path = dataclasses.replace(graph, paths=paths - paths.mean(2, keepdims=True))
    noise = NoiseConfig(path_min=1e-5, path_max=2e-5, draws=64)
    batch = noise.batch([on_path, molecules[0]], np.random.default_rng(1))
    n = len(graph.features)
    near = np.abs(batch.noisy[0, :, None, None, :n].numpy() - on_path.paths).max(axis=(-2, -1)) < 1e-3
    assert (near.sum(axis=(1, 2)) == 1).all()
    assert set(np.argwhere(near)[:, 1]) == {0, 1, 2} and set(np.argwhere(near)[:, 2]) == {0, 1}
    for drawn, k, f in np.argwhere(near):
        np.testing.assert_array_equal(batch.clean[0, drawn, :n], on_path.positions[k])
        assert batch.distance[0, drawn].item() == pytest.approx(
            np.sqrt(np.mean((on_path.paths[k, f] - on_path.positions[k]) ** 2)), rel=1e-3
        )
    torch.testing.assert_close(batch.distance[1], batch.sigma[1])
    assert batch.on_path.tolist() == [[True], [False]]
    assert (denoising_loss(batch.noisy, batch)[0] - 1).abs().max() < 1e-3  # doing nothing leaves the whole way
    assert denoising_loss(batch.clean, batch).max() == 0


def test_hands_are_those_of_the_clean_conformer_or_hidden_down_to_the_specified(molecules):
    shown = NoiseConfig(hidden_hands=0.0).batch([molecules[2]], np.random.default_rng(0))
    assert torch.equal(shown.hands, conformation_hands(shown.clean, shown.graph))
    hidden = NoiseConfig(hidden_hands=1.0).batch([molecules[2]], np.random.default_rng(0))
    assert torch.equal(hidden.hands, hidden.graph.hands[:, None].expand_as(hidden.hands))
    assert (hidden.hands != 0).sum() == hidden.hands.shape[1]  # one specified centre in each conformation


def test_published_noise_is_one_level_per_molecule_and_independent_on_distances(molecules):
    batch = LadderNoise().batch(molecules, np.random.default_rng(1))
    levels = LadderNoise().ladder.sigmas()
    for m in range(len(molecules)):
        own = batch.sigma[0][batch.graph.molecule == m].unique()
        assert len(own) == 1 and own.item() in levels
    many = [LadderNoise().batch(molecules, np.random.default_rng(k)) for k in range(200)]
    z = torch.cat([((b.noisy - b.clean) / b.sigma).flatten() for b in many])
    assert abs(z.mean().item()) < 6 / math.sqrt(len(z))
    assert abs(z.var().item() - 1) < 6 * math.sqrt(2 / len(z))
