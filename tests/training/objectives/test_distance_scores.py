import math

import numpy as np
import pytest
import torch

from openmm_confgf.training.objectives.distance_scores import DistanceScores, distance_score_loss


def test_published_noise_is_one_level_per_molecule_and_independent_on_distances(molecules):
    batch = DistanceScores().batch(molecules, np.random.default_rng(1))
    levels = DistanceScores().ladder.sigmas()
    for m in range(len(molecules)):
        own = batch.sigma[0][batch.graph.molecule == m].unique()
        assert len(own) == 1 and own.item() in levels
    many = [DistanceScores().batch(molecules, np.random.default_rng(k)) for k in range(200)]
    z = torch.cat([((b.noisy - b.clean) / b.sigma).flatten() for b in many])
    assert abs(z.mean().item()) < 6 / math.sqrt(len(z))
    assert abs(z.var().item() - 1) < 6 * math.sqrt(2 / len(z))


def test_loss_is_half_the_squared_error_in_units_of_the_noise():
    scores, clean, noise = (torch.randn(1, 7, generator=torch.Generator().manual_seed(k)) for k in range(3))
    sigma = torch.full((1, 7), 0.3)
    expected = 0.5 * ((0.3 * scores + noise) ** 2).sum() / 2  # target -(d~ - d)/sigma^2 = -z/sigma, weight sigma^2, two molecules
    torch.testing.assert_close(distance_score_loss(scores, clean, clean + 0.3 * noise, sigma, 2), expected)
    perfect = -noise / 0.3
    assert distance_score_loss(perfect, clean, clean + 0.3 * noise, sigma, 2).item() == pytest.approx(0, abs=1e-9)
