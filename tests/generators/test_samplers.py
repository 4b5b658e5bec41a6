import math

import torch

from openmm_confgf.generators.samplers import SCORE_LIMIT, annealed_langevin, embed_distances, mode_ascent, probability_flow
from openmm_confgf.molecules.geometry import distances


def test_langevin_samples_a_gaussian_with_the_variance_of_its_step_size():
    """Unadjusted Langevin of score -x/s^2 has the variance s^2 / (1 - a / (2 s^2)) exactly."""
    spread, step, count = 0.5, 0.05, 20_000
    source = torch.Generator().manual_seed(0)
    sampled = annealed_langevin(
        lambda x, sigma: -x / spread**2,
        torch.zeros(count, 1, dtype=torch.float64),
        torch.tensor([spread]),
        torch.tensor([step], dtype=torch.float64),
        200,
        lambda: torch.randn(count, 1, dtype=torch.float64, generator=source),
    )
    expected = spread**2 / (1 - step / (2 * spread**2))
    assert abs(sampled.var().item() - expected) < 6 * expected * math.sqrt(2 / count)
    assert abs(sampled.mean().item()) < 6 * math.sqrt(expected / count)


def test_each_level_uses_its_own_step_size_and_the_score_is_limited_per_atom():
    seen = []

    def score(x, sigma):
        seen.append(sigma.item())
        return torch.tensor([[3e6, 4e6, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)

    moved = annealed_langevin(
        score,
        torch.zeros(2, 3, dtype=torch.float64),
        torch.tensor([2.0, 1.0]),
        torch.tensor([0.1, 0.01]).double(),
        1,
        lambda: torch.zeros(2, 3),
    )
    assert seen == [2.0, 1.0]
    torch.testing.assert_close(moved, 0.11 * torch.tensor([[0.6 * SCORE_LIMIT, 0.8 * SCORE_LIMIT, 0.0], [1.0, 0.0, 0.0]]).double())


def test_noise_is_scaled_by_the_square_root_of_twice_the_step():
    step = 0.02
    moved = annealed_langevin(
        lambda x, s: torch.zeros_like(x), torch.zeros(1, 3), torch.tensor([1.0]), torch.tensor([step]), 1, lambda: torch.ones(1, 3)
    )
    torch.testing.assert_close(moved, torch.full((1, 3), math.sqrt(2 * step)))


def test_probability_flow_maps_a_gaussian_exactly_as_its_closed_form():
    """For data N(0, s^2) the exact flow is x(sigma) = x(sigma_0) sqrt((s^2 + sigma^2) / (s^2 + sigma_0^2))."""
    spread = 0.3
    sigmas = torch.logspace(0, -2, 400, dtype=torch.float64)
    start = torch.tensor([[[1.0, -2.0, 0.5]]], dtype=torch.float64)
    ended = probability_flow(lambda x, sigma: x * spread**2 / (spread**2 + sigma**2), start, sigmas)
    exact = start * math.sqrt(spread**2 / (spread**2 + 1))
    torch.testing.assert_close(ended, exact, rtol=2e-2, atol=0)
    finer = probability_flow(
        lambda x, sigma: x * spread**2 / (spread**2 + sigma**2), start, torch.logspace(0, -2, 800, dtype=torch.float64)
    )
    assert (finer - exact).abs().max() < 0.6 * (ended - exact).abs().max()  # first order in the step


def test_ascent_reaches_the_nearer_mode_of_two_gaussians():
    """Exact denoiser of an equal mixture at -1 and +1 with spread 0.05: each start ends in the mode on its side."""
    modes, spread = torch.tensor([-1.0, 1.0]), 0.05

    def denoise(x, sigma):
        variance = spread**2 + sigma**2
        belongs = torch.softmax(-((x.unsqueeze(-1) - modes) ** 2) / (2 * variance), -1)
        return x * spread**2 / variance + (belongs * modes).sum(-1) * sigma**2 / variance

    starts = torch.linspace(-1.6, 1.6, 9).reshape(9, 1, 1)
    ended = mode_ascent(denoise, starts, torch.full((30,), 0.2), momentum=0.5)
    off_centre = starts.abs() > 0.1
    torch.testing.assert_close(ended[off_centre], starts.sign()[off_centre], atol=1e-3, rtol=0)


def test_ascent_steps_are_the_momentum_recursion():
    seen = []

    def denoise(x, sigma):
        seen.append(x.item())
        return x + sigma

    ended = mode_ascent(denoise, torch.zeros(1, 1, 1), torch.tensor([1.0, 2.0, 3.0]), momentum=0.5)
    assert seen == [0.0, 1.5, 3.5] and ended.item() == 6.5  # 0 -> 1; ahead 1 + 0.5 * 1 -> 3.5; last without momentum


def test_embedding_finds_positions_with_the_distances_of_a_real_conformation():
    truth, start = (torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    edges = torch.combinations(torch.arange(6), 2)
    found = embed_distances(distances(truth, edges), truth + 0.3 * start, edges)
    torch.testing.assert_close(distances(found, edges), distances(truth, edges), atol=0.01, rtol=0)
