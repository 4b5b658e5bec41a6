"""What a training looks at: how well fresh samples weigh, and what the density makes of frames that it did not learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...generators.boltzmann.prepared import DRAWN, PIECE, PreparedMolecule
from ...models.autoregressive import AutoregressiveDensity
from ...threads import each_on_a_core
from ..objectives.energies import FARTHEST
from .frames import Frames

_NODES = 360


@dataclasses.dataclass(frozen=True)
class Samples:
    """Fresh samples of a network.

    Attributes
    ----------
    frames : Frames
    log_weights : Tensor of float64, (B,)
        Not normalised; -inf where the energy is not finite.
    log_q : Tensor of float64, (B,)
        Log density of the internal coordinates.
    """

    frames: Frames
    log_weights: torch.Tensor
    log_q: torch.Tensor


def draw_samples(prepared: PreparedMolecule, network: AutoregressiveDensity, count: int, seed: int, broad: bool = True) -> Samples:
    """Samples with their energies and densities.

    Parameters
    ----------
    prepared : PreparedMolecule
    network : AutoregressiveDensity
    count : int
        B.
    seed : int
        The same seed and weights give the same samples.
    broad : bool
        As in `AutoregressiveDensity.sample`; False for samples to learn from.

    Returns
    -------
    Samples
    """
    generator, shape = torch.Generator().manual_seed(seed), (len(prepared.graph), 6)
    sizes = [min(DRAWN, count - start) for start in range(0, count, DRAWN)]
    return samples_of(prepared, network, [torch.rand(size, *shape, dtype=torch.float64, generator=generator) for size in sizes], broad)


def samples_of(prepared: PreparedMolecule, network: AutoregressiveDensity, uniform: Sequence[torch.Tensor], broad: bool = True) -> Samples:
    """The samples that random numbers give, with their energies and densities.

    Parameters
    ----------
    prepared : PreparedMolecule
    network : AutoregressiveDensity
    uniform : sequence of Tensor of float64, (b, N, 6)
        As in `AutoregressiveDensity.sample`, of pieces that are drawn at once.
    broad : bool
        As there.

    Returns
    -------
    Samples
    """
    batch, parts, log_q = prepared.batch, [], []
    with torch.no_grad():
        static = network.static(batch)
    sample = lambda numbers: network.sample(batch, numbers.to(prepared.device), static, broad=broad)  # noqa: E731
    for drawn in each_on_a_core(sample, uniform, prepared.device):
        coordinates, placed, inside = (each.cpu() for each in drawn)
        log_q.append(inside)
        positions, _ = prepared.unplaced(coordinates, placed)
        parts.append(Frames.of(prepared, positions.numpy()))
    frames, inside = Frames.together(parts), torch.cat(log_q)
    return Samples(frames, (frames.log_target - inside).nan_to_num(nan=-torch.inf, neginf=-torch.inf), inside)


def mean_log_q(prepared: PreparedMolecule, network: AutoregressiveDensity, frames: Frames) -> float:
    """Mean log density of frames in their internal coordinates (evidence upper bound, EUBO, up to a constant).

    Parameters
    ----------
    prepared : PreparedMolecule
    network : AutoregressiveDensity
    frames : Frames
        That it did not learn from.

    Returns
    -------
    float
        nats. It falls where a mode of the frames is lost, which weights of samples do not see.
    """
    with torch.no_grad():
        static = network.static(prepared.batch)
        pieces = [frames.to(prepared.device)[rows] for rows in torch.arange(len(frames)).split(PIECE)]
        return float(torch.cat([network.log_prob(prepared.batch, f.coordinates, f.placed, static) for f in pieces]).double().mean())


def divergence(log_weights: torch.Tensor, of_frames: float) -> float | None:
    """Jeffreys divergence of the density and its target, ``KL(q | p) + KL(p | q)``, but for a constant that no density changes.

    The first term is the mean of ``-log w`` of samples, each at most `FARTHEST` from the median; the second the mean of ``-log q`` of
    frames, which rises where a mode is lost (Jeffreys 1946, doi:10.1098/rspa.1946.0056).

    Parameters
    ----------
    log_weights : Tensor, (B,)
        As in `Samples`.
    of_frames : float
        As `mean_log_q` gives it.

    Returns
    -------
    float or None
        nats. None where no weight is finite.
    """
    known = log_weights[log_weights.isfinite()]
    if not len(known):
        return None
    centre = known.median()
    return float(-(centre + (log_weights - centre).clamp(-FARTHEST, FARTHEST).mean())) - of_frames


def torus_distance(prepared: PreparedMolecule, samples: Samples, frames: Frames) -> float:
    """Mean over the torsions of the Wasserstein-1 distance, around the circle, of weighted samples from frames, in radians.

    On a circle it is the mean absolute difference of the distribution functions from its median (Rabin, Delon & Gousseau 2011,
    doi:10.1007/s10851-011-0284-0).

    Parameters
    ----------
    prepared : PreparedMolecule
    samples : Samples
    frames : Frames
        Of equilibrium.

    Returns
    -------
    float
        NaN where the molecule has no torsion, or no sample has a weight.
    """
    columns = prepared.batch.torsion.nonzero()[:, 0]
    weights = torch.softmax(samples.log_weights, 0)
    if not len(columns) or not weights.isfinite().all():
        return float("nan")
    found = []
    for k in columns:
        ours = _distribution(samples.frames.coordinates[:, k, 2], weights.numpy())
        theirs = _distribution(frames.coordinates[:, k, 2], np.full(len(frames), 1 / len(frames)))
        difference = ours - theirs
        found.append(2 * np.pi * np.abs(difference - np.median(difference)).mean())
    return float(np.mean(found))


def _distribution(turns: torch.Tensor, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(turns.double().numpy() % (2 * np.pi), bins=_NODES, range=(0, 2 * np.pi), weights=weights)
    return counts.cumsum()
