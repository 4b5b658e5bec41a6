import numpy as np
import torch

from openmm_confgf.training.batches import StepDataset
from openmm_confgf.training.objectives.denoising import Denoising


def test_every_molecule_is_seen_once_an_epoch_and_batches_keep_their_budget(molecules):
    dataset = StepDataset(molecules * 5, 10_000, Denoising(), pair_budget=1500)
    plan = dataset._plan(0)
    assert sorted(np.concatenate(plan)) == list(range(len(molecules) * 5))
    for batch in plan:
        largest = max(len(dataset.molecules[m].features) for m in batch)
        assert len(batch) == 1 or len(batch) * 4 * largest * (largest - 1) // 2 <= 1500


def test_steps_run_through_the_epochs_and_each_epoch_is_planned_once(molecules, monkeypatch):
    dataset = StepDataset(molecules * 2, 60, Denoising(), 1500)
    monkeypatch.setattr(Denoising, "batch", lambda self, chosen, rng: len(chosen))
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
    first, second = (StepDataset(molecules, 50, Denoising(), 800, seed=5) for _ in range(2))
    for step in (30, 2, 17, 30):
        second[step]
    for step in (17, 0, 30):
        a, b = first[step], second[step]
        assert torch.equal(a.noisy, b.noisy) and torch.equal(a.sigma, b.sigma) and torch.equal(a.hands, b.hands)
    assert not torch.equal(first[17].sigma, StepDataset(molecules, 50, Denoising(), 800, seed=6)[17].sigma)
