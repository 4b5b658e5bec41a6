import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from openmm_confgf.models.conditionals import (
    BROAD_SHARE,
    broken_line_log_prob,
    sample_broken_line,
    sample_truncated_mixture,
    truncated_mixture_log_prob,
)

N = 20_000
SIX_SIGMA = 3.2 / math.sqrt(N)
"""Of the Kolmogorov-Smirnov distance: its tail is 2 exp(-2 N d^2), 2e-9 there as beyond six standard deviations."""

DOMAINS = [(0.0, math.pi), (0.1, 0.101), (-math.pi, 0.0), (math.pi, 2 * math.pi)]
OFFSETS = [-30.0, -0.5, 0.0, 0.3, 1.0, 1.4, 40.0]
"""Of means, in widths of the domain from its lower end."""

NUMBERS = np.random.default_rng(7)


def mixture(domain, offsets, scales, dtype=torch.float64):
    """Log shares, means, log scales, lower and upper of one density."""
    lower, upper = (torch.tensor(x, dtype=dtype) for x in domain)
    means = lower + torch.tensor(offsets, dtype=dtype) * (upper - lower)
    log_shares = torch.linspace(0.0, 0.5, len(offsets), dtype=dtype).log_softmax(-1)
    return log_shares, means, torch.tensor(scales, dtype=dtype).log(), lower, upper


def drawn(choice, uniform, parameters):
    """Of one density, with a number each in ``choice`` and ``uniform``."""
    log_shares, means, log_scales, lower, upper = parameters
    rows = [x.expand(len(choice), -1) for x in (log_shares, means, log_scales)]
    return sample_truncated_mixture(choice, uniform, *rows, lower.expand(len(choice)), upper.expand(len(choice)))


def line(x, logits, width):
    return broken_line_log_prob(x, logits.expand(len(x), -1), width.expand(len(x)))


def nodes(parameters):
    """Gauss-Legendre nodes and weights on pieces that grow from both ends of the domain and from each mean within it."""
    _, means, _, lower, upper = (x.numpy() for x in parameters)
    growing = np.concatenate([[0.0], np.geomspace(1e-14, 1, 400)]) * (upper - lower)
    ends = np.concatenate([lower + growing, upper - growing, *(m + s * growing for m in means for s in (1, -1))])
    ends = np.unique(np.clip(ends, lower, upper))
    at, weights = np.polynomial.legendre.leggauss(8)
    half = 0.5 * np.diff(ends)[:, None]
    return torch.tensor((ends[:-1, None] + half * (1 + at)).ravel()), torch.tensor((half * weights).ravel())


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("scale", [1e-4, 0.01, 0.3, 10.0])
def test_truncated_mixtures_integrate_to_one(domain, scale):
    for offsets in [[k] for k in OFFSETS] + [[0.2, 0.8], [-2.0, 0.5, 3.0]]:
        parameters = mixture(domain, offsets, [scale * (k + 1) for k in range(len(offsets))])
        x, weights = nodes(parameters)
        density = truncated_mixture_log_prob(x, *parameters).exp()
        # an exponent of z^2 / 2 is known to a few parts in 1e16
        furthest = max(abs(end - mean) for end in domain for mean in parameters[1].tolist()) / scale
        assert (density * weights).sum().item() == pytest.approx(1, abs=1e-9 + 4e-16 * furthest**2), offsets


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("offsets", [[0.4], [-3.0], [5.0], [0.1, 0.9], [0.0, 1.0], [-1.0, 0.5, 2.0]])
@pytest.mark.parametrize("share", [0.02, 0.3, 5.0])
def test_samples_of_truncated_mixtures_follow_their_density(domain, offsets, share):
    """The scales are shares of the domain: its means are up to 200 of them outside."""
    parameters = mixture(domain, offsets, [share * (domain[1] - domain[0])] * len(offsets))
    log_shares, means, log_scales, lower, upper = parameters
    choice, uniform = (torch.tensor(NUMBERS.random(N)) for _ in range(2))
    x = drawn(choice, uniform, parameters)
    assert ((x > lower) & (x < upper)).all()
    assert truncated_mixture_log_prob(x, log_shares, means, log_scales, lower, upper).isfinite().all()
    scale = log_scales.exp()
    parts = [truncated_cdf(x.numpy(), m.item(), s.item(), *domain) for m, s in zip(means, scale, strict=True)]
    cumulative = np.sort(log_shares.exp().numpy() @ np.array(parts))
    assert np.abs(cumulative - (np.arange(N) + 0.5) / N).max() < SIX_SIGMA


def truncated_cdf(x, mean, scale, lower, upper):
    low, high, z = ((k - mean) / scale for k in (lower, upper, x))
    if low + high > 0:  # in the lower tail
        return 1 - truncated_cdf(-x, -mean, scale, -upper, -lower)
    first, last, here = (norm.logcdf(k) for k in (low, high, z))
    return np.exp(here - last) * -np.expm1(first - here) / -np.expm1(first - last)


def test_a_sample_is_inside_whatever_the_random_numbers():
    """Also at 0 and next to 1, where inversion would give the ends."""
    numbers = torch.tensor([0.0, 1e-300, 1e-16, 0.5, 1 - 2**-53], dtype=torch.float64)
    choice, uniform = (x.ravel() for x in torch.meshgrid(numbers, numbers, indexing="ij"))
    for domain, offset, scale in itertools.product(DOMAINS, OFFSETS, (1e-4, 0.3, 10.0)):
        parameters = mixture(domain, [offset, 0.5], [scale, 3 * scale])
        x = drawn(choice, uniform, parameters)
        assert truncated_mixture_log_prob(x, *parameters).isfinite().all(), (domain, offset, scale)


def test_the_ends_are_in_the_domain_and_what_is_beyond_is_not():
    for domain, offset, scale in itertools.product(DOMAINS, OFFSETS, (1e-2, 10.0)):
        parameters = mixture(domain, [offset], [scale])
        x = torch.tensor([*domain, domain[0] - 1e-12, domain[1] + 1e-12, math.inf], dtype=torch.float64)
        found = truncated_mixture_log_prob(x, *parameters)
        assert found[:2].isfinite().all() and (found[2:] == -math.inf).all()
    width = torch.tensor(2.0, dtype=torch.float64)
    x = torch.tensor([0.0, 2.0, -1e-12, 2 + 1e-12], dtype=torch.float64)
    found = line(x, torch.randn(11, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), width)
    assert found[:2].isfinite().all() and (found[2:] == -math.inf).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_are_finite_inside_and_outside(dtype):
    for domain, offset, scale in itertools.product(DOMAINS, OFFSETS, (1e-4, 0.3, 10.0)):
        if dtype == torch.float32 and abs(offset) * (domain[1] - domain[0]) / scale > 1e5:
            continue  # z^2 is beyond what its digits tell apart
        log_shares, means, log_scales, lower, upper = mixture(domain, [offset, 0.5], [scale, 3 * scale], dtype)
        inputs = [x.clone().requires_grad_() for x in (log_shares, means, log_scales)]
        x = torch.linspace(domain[0] - 0.1, domain[1] + 0.1, 41, dtype=dtype)
        found = truncated_mixture_log_prob(x, *inputs, lower, upper)
        inside = (x > lower) & (x < upper)
        assert found[inside].isfinite().all() and (found[~inside & ((x < lower) | (x > upper))] == -math.inf).all()
        found[inside].sum().backward()
        assert all(k.grad.isfinite().all() for k in inputs), (domain, offset, scale)
    heights = (30 * torch.randn(91, dtype=dtype, generator=torch.Generator().manual_seed(2))).requires_grad_()
    line(torch.linspace(0, 1, 33, dtype=dtype), heights, torch.ones((), dtype=dtype)).sum().backward()
    assert heights.grad.isfinite().all()


def test_float32_is_near():
    for domain, offsets in itertools.product([DOMAINS[0], DOMAINS[2]], [[0.4], [-0.5], [0.1, 0.9]]):
        double = mixture(domain, offsets, [0.2] * len(offsets))
        x = torch.linspace(domain[0] + 0.01, domain[1] - 0.01, 50, dtype=torch.float64)
        single = truncated_mixture_log_prob(x.float(), *(k.float() for k in double))
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), truncated_mixture_log_prob(x, *double), atol=1e-3, rtol=1e-4)


LINES = [torch.zeros(5), torch.tensor([0.0, -800, -800, 800]), torch.tensor([3.0, -2, 0, 1, -5, 2]), torch.linspace(-4, 4, 91)]


@pytest.mark.parametrize("logits", LINES, ids=len)
@pytest.mark.parametrize("width", [1e-3, math.pi, 2 * math.pi])
def test_broken_lines_integrate_to_one_and_are_sampled(logits, width):
    logits, width = logits.double(), torch.tensor(width, dtype=torch.float64)
    bins = len(logits) - 1
    at, weights = np.polynomial.legendre.leggauss(4)
    x = ((np.arange(bins)[:, None] + 0.5 * (1 + at)) / bins).ravel() * width.item()
    density = line(torch.tensor(x), logits, width).exp().numpy()
    assert (density * np.tile(0.5 * weights / bins * width.item(), bins)).sum() == pytest.approx(1, abs=1e-12)
    assert density.min() * width.item() >= BROAD_SHARE * (1 - 1e-9)
    choice, uniform = (torch.tensor(NUMBERS.random(N)) for _ in range(2))
    x = sample_broken_line(choice, uniform, logits.expand(N, -1), width.expand(N))
    assert line(x, logits, width).isfinite().all()
    assert np.abs(np.sort(line_cdf(x, logits, width)) - (np.arange(N) + 0.5) / N).max() < SIX_SIGMA


def line_cdf(x, logits, width):
    """By trapezoids, which are exact for lines: up to the node before, and from there to x."""
    grid = torch.linspace(0, 1, len(logits), dtype=torch.float64) * width
    heights = line(grid, logits, width).exp().numpy()
    before = np.concatenate([[0], np.cumsum(0.5 * (heights[1:] + heights[:-1]) * np.diff(grid.numpy()))])
    k = np.clip(np.searchsorted(grid.numpy(), x.numpy(), side="right") - 1, 0, len(grid) - 2)
    here = line(x, logits, width).exp().numpy()
    return before[k] + 0.5 * (heights[k] + here) * (x.numpy() - grid.numpy()[k])


def test_broken_lines_are_sampled_inside_at_extreme_numbers():
    numbers = torch.tensor([0.0, 1e-300, 1 - 2**-53], dtype=torch.float64)
    choice, uniform = (x.ravel() for x in torch.meshgrid(numbers, numbers, indexing="ij"))
    for logits in LINES:
        x = sample_broken_line(choice, uniform, logits.double().expand(9, -1), torch.full((9,), 0.5, dtype=torch.float64))
        assert ((x > 0) & (x < 0.5)).all()
