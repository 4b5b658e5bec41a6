import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.models.features import conformation_hands
from openmm_confgf.training.batches import StepDataset
from openmm_confgf.training.objectives.denoising import LEVEL_EDGES, Denoising, denoising_loss


def test_noise_is_mean_free_and_has_the_variance_of_its_level(molecules):
    dataset = StepDataset(molecules, 400, Denoising(), 2000)
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
    noise = Denoising(path_min=1e-5, path_max=2e-5, draws=64)
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
    shown = Denoising(hidden_hands=0.0).batch([molecules[2]], np.random.default_rng(0))
    assert torch.equal(shown.hands, conformation_hands(shown.clean, shown.graph))
    hidden = Denoising(hidden_hands=1.0).batch([molecules[2]], np.random.default_rng(0))
    assert torch.equal(hidden.hands, hidden.graph.hands[:, None].expand_as(hidden.hands))
    assert (hidden.hands != 0).sum() == hidden.hands.shape[1]  # one specified centre in each conformation


def test_a_part_is_the_losses_of_its_noise_level_or_those_on_paths(molecules):
    objective = Denoising(draws=64)
    paths = molecules[1].positions[:, None] + np.float32(0.1)
    batch = objective.batch([molecules[0], dataclasses.replace(molecules[1], paths=paths)], np.random.default_rng(3))
    losses = torch.arange(128.0).reshape(2, 64)
    found = objective.part_values(losses, batch)
    assert list(found) == [part.name for part in objective.parts]
    assert found["val_loss_paths"].tolist() == losses[1].tolist()
    assert sorted(torch.cat([values for name, values in found.items() if name != "val_loss_paths"]).tolist()) == losses[0].tolist()
    for low, high in zip((0.0, *LEVEL_EDGES), (*LEVEL_EDGES, math.inf), strict=True):
        inside = (batch.sigma[0] > low) & (batch.sigma[0] <= high)
        assert found[f"val_loss_above_{low}"].tolist() == losses[0][inside].tolist()


def test_parts_are_labelled_by_their_ranges():
    labels = [part.label for part in Denoising.parts]
    assert labels == [
        *("0 to 0.02", "0.02 to 0.05", "0.05 to 0.1", "0.1 to 0.2", "0.2 to 0.4", "0.4 to 0.8", "0.8 to 1.2", "above 1.2", "on paths")
    ]
