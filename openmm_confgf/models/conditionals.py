"""Densities of one variable, normalised on their domain exactly: mixtures of truncated Gaussians, and broken lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_LOG_ROOT_TURN = 0.5 * math.log(2 * math.pi)

_HAIR = 1e-9
"""Share of a domain by which samples keep away from its ends."""

BROAD_SHARE = 1e-3
"""Of each conditional: the share of a broad component, so that weights stay bounded. Of 0.01, it costs a tenth of the effective samples of
alanine dipeptide, which has 60 coordinates; of 0.001, one in a hundred."""

BROAD_WIDTH = 3.0
"""How many times as broad as the force field's thermal width it is."""


def _log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """``log(Phi(upper) - Phi(lower))`` of the standard Gaussian, computed in the tail where it is small."""
    flip = lower + upper > 0
    low, high = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    last, first = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return last + torch.log1p(-torch.exp(first - last).clamp_max(1 - 1e-12))


def truncated_mixture_log_prob(x: Tensor, log_shares: Tensor, means: Tensor, log_scales: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Log density of a mixture of Gaussians, each of them cut off at both ends and normalised between.

    Parameters
    ----------
    x, lower, upper : Tensor, (...)
    log_shares : Tensor, (..., K)
        Natural logarithms of the shares, whose sum is 1.
    means, log_scales : Tensor, (..., K)
        Of the Gaussians before they are cut off.

    Returns
    -------
    Tensor, (...)
        -inf outside of the domain.
    """
    inverse = torch.exp(-log_scales)
    scaled = (x[..., None] - means) * inverse
    mass = _log_mass((lower[..., None] - means) * inverse, (upper[..., None] - means) * inverse)
    parts = log_shares - 0.5 * scaled.square() - log_scales - _LOG_ROOT_TURN - mass
    return torch.logsumexp(parts, -1).masked_fill((x < lower) | (x > upper), -math.inf)


def sample_truncated_mixture(
    choice: Tensor, uniform: Tensor, log_shares: Tensor, means: Tensor, log_scales: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    """Samples of `truncated_mixture_log_prob`'s density, by inversion.

    Parameters
    ----------
    choice, uniform : Tensor, (...)
        Uniform random numbers in [0, 1): for the component, and for the place in it.
    log_shares, means, log_scales, lower, upper
        As there.

    Returns
    -------
    Tensor, (...)
    """
    shares = log_shares.exp().cumsum(-1)
    k = (choice[..., None] * shares[..., -1:] >= shares).sum(-1, keepdim=True).clamp_max(shares.shape[-1] - 1)
    mean, scale = means.gather(-1, k)[..., 0], log_scales.gather(-1, k)[..., 0].exp()
    low, high = (lower - mean) / scale, (upper - mean) / scale
    # in the lower tail, where the distribution function is resolved
    flip = low + high > 0
    start, stop = torch.special.ndtr(torch.where(flip, -high, low)), torch.special.ndtr(torch.where(flip, -low, high))
    place = torch.special.ndtri(start + uniform * (stop - start))
    place = torch.where(flip, -place, place)
    # so far out that nothing is resolved: there the distribution function goes as exp(-z^2 / 2), to one part in z^2
    near, far = torch.minimum(low.abs(), high.abs()), torch.maximum(low.abs(), high.abs())
    beyond = torch.sqrt(near.square() - 2 * torch.log1p(uniform * torch.expm1(0.5 * (near - far) * (near + far))))
    place = torch.where(place.isfinite(), place, torch.where(flip, beyond, -beyond))
    # by a hair inside, so that rounding does not make it one of zero density
    margin = _HAIR * (upper - lower)
    return torch.minimum(torch.maximum(mean + scale * place, lower + margin), upper - margin)


def broken_line_log_prob(x: Tensor, logits: Tensor, width: Tensor) -> Tensor:
    """Log of a density that is linear between equidistant nodes on [0, width], plus `BROAD_SHARE` of a uniform one.

    Parameters
    ----------
    x, width : Tensor, (...)
    logits : Tensor, (..., G + 1)
        Logarithms of the heights at the nodes, not normalised.

    Returns
    -------
    Tensor, (...)
        -inf outside of the domain.
    """
    bins = logits.shape[-1] - 1
    place = (x / width * bins).clamp(0, bins)
    k = place.floor().clamp_max(bins - 1)
    fraction, k = place - k, k.nan_to_num(nan=0.0).long()[..., None]  # what is NaN has a density that is NaN
    log_heights = logits - _log_area(logits)[..., None]
    left, right = log_heights.gather(-1, k)[..., 0], log_heights.gather(-1, k + 1)[..., 0]
    line = (1 - fraction) * left.exp() + fraction * right.exp()
    found = torch.log((1 - BROAD_SHARE) * line + BROAD_SHARE) - width.log()
    return found.masked_fill((x < 0) | (x > width), -math.inf)


def sample_broken_line(choice: Tensor, uniform: Tensor, logits: Tensor, width: Tensor) -> Tensor:
    """Samples of `broken_line_log_prob`'s density, by inversion.

    Parameters
    ----------
    choice, uniform : Tensor, (...)
        Uniform random numbers in [0, 1): for the bin, and for the place in it.
    logits, width
        As there.

    Returns
    -------
    Tensor, (...)
    """
    bins = logits.shape[-1] - 1
    heights = (1 - BROAD_SHARE) * torch.exp(logits - _log_area(logits)[..., None]) + BROAD_SHARE
    shares = (0.5 / bins * (heights[..., 1:] + heights[..., :-1])).cumsum(-1)
    k = (choice[..., None] * shares[..., -1:] >= shares).sum(-1, keepdim=True).clamp_max(bins - 1)
    left, right = heights.gather(-1, k)[..., 0], heights.gather(-1, k + 1)[..., 0]
    # u = (l f + (r - l) f^2 / 2) / (l + r) * 2, solved for the fraction f without cancellation
    fraction = uniform * (left + right) / (left + torch.sqrt(left.square() + uniform * (right.square() - left.square())))
    return ((k[..., 0] + fraction) / bins).clamp(_HAIR, 1 - _HAIR) * width


def _log_area(logits: Tensor) -> Tensor:
    """Logarithm of the trapezoids' area on [0, 1]."""
    bins = logits.shape[-1] - 1
    ends = pad(logits.new_zeros(bins - 1), (1, 1), value=-math.log(2))
    return torch.logsumexp(logits + ends, -1) - math.log(bins)
