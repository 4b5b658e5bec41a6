"""Denoising score matching: a PairField learns to take the noise off positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...models.features import GraphBatch, TensorRecord, conformation_hands
from ...models.field import PairField
from .base import Objective, Part
from .conformers import draw_conformers, mean_free_noise

if TYPE_CHECKING:
    from ..data import TrainingMolecule

LEVEL_EDGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.2)
"""Edges in Angstrom of the noise levels whose losses are logged apart."""

_LEVELS = tuple(f"val_loss_above_{low}" for low in (0.0, *LEVEL_EDGES))
_PATHS = "val_loss_paths"


@dataclasses.dataclass(frozen=True)
class NoisyBatch(TensorRecord):
    """M molecules with K noisy conformations each; arguments of `PairField.forward`, the clean positions, and how far off the noisy are.

    Attributes
    ----------
    graph : GraphBatch
    clean, noisy : Tensor, (M, K, N, 3)
        Angstrom.
    sigma : Tensor, (M, K)
        Standard deviation of the noise in Angstrom.
    distance : Tensor, (M, K)
        Root mean square of a coordinate's displacement in Angstrom: `sigma`, and more where the noise is on a path to the clean positions.
    on_path : Tensor of bool, (M, 1)
        Whether a molecule's noise is on paths.
    hands : Tensor, (M, K, Q)
        The wanted sign of each tetrahedron's volume that the network is told, 0 for none.
    """

    graph: GraphBatch
    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    distance: Tensor
    on_path: Tensor
    hands: Tensor


def denoising_loss(denoised: Tensor, batch: NoisyBatch) -> Tensor:
    """Denoising error in units of the distance to go, one value per conformation.

    ``|D(x, sigma) - x_0|^2 / (3 n s^2)``: 1 for a model that does nothing, 0 for one that knows the answer. Where the distance s is
    that of the noise, sigma, its minimiser over D gives the score ``(D - x) / sigma^2`` of the noised density (Vincent 2011, eq. 9,
    doi:10.1162/NECO_a_00142), with the weight sigma^2 of ConfGF's loss. Where it is on a path, the minimiser is where that leads to on
    average.

    Parameters
    ----------
    denoised : Tensor, (M, K, N, 3)
        Angstrom.
    batch : NoisyBatch

    Returns
    -------
    Tensor, (M, K)
    """
    mask = batch.graph.atom_mask[:, None, :, None]
    error = ((denoised - batch.clean) / batch.distance[..., None, None]) ** 2 * mask
    return error.sum((-2, -1)) / (3 * mask.sum((-2, -1)))


@dataclasses.dataclass(frozen=True)
class Denoising(Objective[PairField, NoisyBatch]):
    """Noise on mean-free positions, and the network's error in taking it off: sigma is log-uniform over two ranges.

    Attributes
    ----------
    sigma_min, sigma_max : float
        The range that matters for sampling, Angstrom.
    wide_max, wide_share : float
        A second range from `sigma_max` to `wide_max` (Angstrom) holds this share of the draws.
    path_min, path_max : float
        The range for conformations on a path, Angstrom.
    hidden_hands : float
        Share of the conformations whose unspecified hands the network is not told.
    draws : int
        Noisy conformations K of each molecule of a batch; the molecule is encoded once for all of them.
    """

    architecture: ClassVar[str] = "PairField"
    title: ClassVar[str] = "denoising loss"
    parts: ClassVar[tuple[Part, ...]] = (
        *(
            Part(name, f"{low:g} to {high:g}" if high else f"above {low:g}")
            for name, low, high in zip(_LEVELS, (0.0, *LEVEL_EDGES), (*LEVEL_EDGES, None), strict=True)
        ),
        Part(_PATHS, "on paths", graded=False),
    )
    parts_title: ClassVar[str] = "validation by noise level"
    parts_legend: ClassVar[str] = "noise (Å)"
    weight_decay: ClassVar[float] = 1e-4

    sigma_min: float = 0.008
    sigma_max: float = 1.2
    wide_max: float = 5.0
    wide_share: float = 0.08
    path_min: float = 0.15
    path_max: float = 0.5
    hidden_hands: float = 0.2
    draws: int = 4

    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> NoisyBatch:
        """Draw conformers, noise levels and noise.

        Parameters
        ----------
        molecules : sequence of TrainingMolecule
            M molecules.
        rng : numpy.random.Generator

        Returns
        -------
        NoisyBatch
        """
        graph, clean, before = draw_conformers(molecules, self.draws, rng)
        shape = clean.shape[:2]
        sigma = _log_uniform(rng, self.sigma_min, self.sigma_max, shape)
        sigma = np.where(rng.random(shape) < self.wide_share, _log_uniform(rng, self.sigma_max, self.wide_max, shape), sigma)
        on_path = np.array([m.paths is not None for m in molecules])
        sigma[on_path] = _log_uniform(rng, self.path_min, self.path_max, (int(on_path.sum()), self.draws))
        shift = mean_free_noise(graph, self.draws, rng)
        level = torch.from_numpy(sigma.astype(np.float32))
        hidden = torch.from_numpy(rng.random(shape) < self.hidden_hands)[..., None]
        hands = torch.where(hidden, graph.hands[:, None], conformation_hands(clean, graph))
        left = ((before - clean) ** 2).sum((-2, -1)) / (3 * graph.atom_mask[:, None].sum(-1))
        noisy = before + level[..., None, None] * shift
        return NoisyBatch(graph, clean, noisy, level, torch.sqrt(level**2 + left), torch.from_numpy(on_path)[:, None], hands)

    def losses(self, network: PairField, batch: NoisyBatch) -> Tensor:
        """`denoising_loss` of each conformation.

        Parameters
        ----------
        network : PairField
        batch : NoisyBatch

        Returns
        -------
        Tensor, (M, K)
        """
        return denoising_loss(network(network.encode(batch.graph), batch.noisy, batch.sigma, batch.hands), batch)

    def members(self, batch: NoisyBatch) -> int:
        """The number of conformations, M times K.

        Parameters
        ----------
        batch : NoisyBatch

        Returns
        -------
        int
        """
        return batch.sigma.numel()

    def part_values(self, losses: Tensor, batch: NoisyBatch) -> Mapping[str, Tensor]:
        """Losses by their noise level, and those on paths.

        Parameters
        ----------
        losses : Tensor, (M, K)
        batch : NoisyBatch

        Returns
        -------
        mapping of str to Tensor, (number of conformations)
        """
        bins = torch.bucketize(batch.sigma, batch.sigma.new_tensor(LEVEL_EDGES))
        levels = {name: losses[(bins == k) & ~batch.on_path] for k, name in enumerate(_LEVELS)}
        return {**levels, _PATHS: losses[batch.on_path.expand_as(bins)]}


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))
