"""Noisy batches as a pure function of the step: the same step gives the same batch, so that training resumes bit for bit."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..models.confgf import EdgeGraph, NoiseLadder
from ..models.features import GraphBatch, TensorRecord, collate, conformation_hands
from ..molecules.geometry import distances

if TYPE_CHECKING:
    from .data import TrainingMolecule


@dataclasses.dataclass(frozen=True)
class NoisyBatch(TensorRecord):
    """M molecules with K noisy conformations each; arguments of `PairField.forward`, the clean positions, and how far off the noisy are.

    Attributes
    ----------
    clean, noisy : Tensor, (M, K, N, 3)
    sigma : Tensor, (M, K)
        Standard deviation of the noise in Angstrom.
    distance : Tensor, (M, K)
        Root mean square of a coordinate's displacement: `sigma`, and more where the noise is on a path to the clean positions.
    on_path : Tensor of bool, (M, 1)
        Whether a molecule's noise is on paths.
    hands : Tensor, (M, K, Q)
    """

    graph: GraphBatch
    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    distance: Tensor
    on_path: Tensor
    hands: Tensor


@dataclasses.dataclass(frozen=True)
class NoisyDistances(TensorRecord):
    """Noisy distances (K, E) of the edges of M molecules: arguments of `ConfGF.forward` and the clean distances."""

    graph: EdgeGraph
    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    molecules: int


Noisy = NoisyBatch | NoisyDistances


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """Noise on mean-free positions: sigma in Angstrom, log-uniform over two ranges.

    Attributes
    ----------
    sigma_min, sigma_max : float
        The range that matters for sampling.
    wide_max, wide_share : float
        A second range from `sigma_max` to `wide_max` holds this share of the draws.
    path_min, path_max : float
        The range for conformations on a path.
    hidden_hands : float
        Share of the conformations whose unspecified hands the network is not told.
    draws : int
        Noisy conformations K of each molecule of a batch; the molecule is encoded once for all of them.
    """

    sigma_min: float = 0.008
    sigma_max: float = 1.2
    wide_max: float = 5.0
    wide_share: float = 0.08
    path_min: float = 0.15
    path_max: float = 0.5
    hidden_hands: float = 0.2
    draws: int = 4

    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> NoisyBatch:
        """Draw conformers, noise levels and noise for a batch of molecules."""
        graph, clean, before = _draw_conformers(molecules, self.draws, rng)
        shape = clean.shape[:2]
        sigma = _log_uniform(rng, self.sigma_min, self.sigma_max, shape)
        sigma = np.where(rng.random(shape) < self.wide_share, _log_uniform(rng, self.sigma_max, self.wide_max, shape), sigma)
        on_path = np.array([m.paths is not None for m in molecules])
        sigma[on_path] = _log_uniform(rng, self.path_min, self.path_max, (int(on_path.sum()), self.draws))
        mask = graph.atom_mask[:, None, :, None].numpy()
        shift = rng.standard_normal(tuple(clean.shape), np.float32) * mask
        shift -= shift.sum(2, keepdims=True) / mask.sum(2, keepdims=True) * mask
        level = torch.from_numpy(sigma.astype(np.float32))
        hidden = torch.from_numpy(rng.random(shape) < self.hidden_hands)[..., None]
        hands = torch.where(hidden, graph.hands[:, None], conformation_hands(clean, graph))
        left = ((before - clean) ** 2).sum((-2, -1)) / (3 * torch.from_numpy(mask).sum((-2, -1)))
        noisy = before + level[..., None, None] * torch.from_numpy(shift)
        return NoisyBatch(graph, clean, noisy, level, torch.sqrt(level**2 + left), torch.from_numpy(on_path)[:, None], hands)


@dataclasses.dataclass(frozen=True)
class LadderNoise:
    """The published noise: one level of the ladder per molecule, independent noise on each distance (Shi et al. 2021, section 4.1)."""

    ladder: NoiseLadder = NoiseLadder()
    draws: int = 1

    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> NoisyDistances:
        """Draw conformers, noise levels and noise for a batch of molecules."""
        padded, clean, _ = _draw_conformers(molecules, self.draws, rng)
        graph = EdgeGraph.from_batch(padded)
        lengths = distances(graph.flat(clean), graph.edges)
        level = self.ladder.sigmas()[torch.from_numpy(rng.integers(self.ladder.levels, size=(self.draws, len(molecules))))]
        sigma = level[:, graph.molecule]
        shift = torch.from_numpy(rng.standard_normal(tuple(lengths.shape), np.float32))
        return NoisyDistances(graph, lengths, lengths + sigma * shift, sigma, len(molecules))


class StepDataset(Dataset[Noisy]):
    """Item k is the batch of training step k.

    Molecules of like size share a batch; a batch holds about `pair_budget` atom pairs over all of its conformations.

    Parameters
    ----------
    molecules : sequence of TrainingMolecule
    steps : int
        Length of the run.
    noise : NoiseConfig or LadderNoise
    pair_budget : int
    seed : int
    """

    def __init__(
        self,
        molecules: Sequence[TrainingMolecule],
        steps: int,
        noise: NoiseConfig | LadderNoise,
        pair_budget: int = 7500,
        seed: int = 0,
    ) -> None:
        self.molecules, self.steps, self.noise, self.pair_budget, self.seed = molecules, steps, noise, pair_budget, seed
        self._sizes = np.array([len(m.features) for m in molecules])
        self._epoch_starts = [0]
        self._plans: dict[int, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Noisy:
        if step >= self.steps:
            raise IndexError(step)
        epoch = bisect.bisect_right(self._epoch_starts, step) - 1
        while step >= (end := self._epoch_starts[epoch] + len(self._plan(epoch))):
            self._epoch_starts.append(end)
            epoch += 1
        chosen = self._plan(epoch)[step - self._epoch_starts[epoch]]
        return self.noise.batch([self.molecules[m] for m in chosen], np.random.default_rng([self.seed, step]))

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """Batches of one pass over the molecules: sorted by size with a little noise, cut by budget, shuffled."""
        if epoch not in self._plans:
            rng = np.random.default_rng([self.seed, 1 << 40, epoch])
            order = np.argsort(self._sizes + rng.uniform(-0.5, 0.5, len(self._sizes)))
            batches, batch, largest = [], [], 0
            for m in order[::-1]:
                largest = largest or int(self._sizes[m])
                batch.append(m)
                if (len(batch) + 1) * self.noise.draws * largest * (largest - 1) // 2 > self.pair_budget:
                    batches.append(np.array(batch))
                    batch, largest = [], 0
            if batch:
                batches.append(np.array(batch))
            self._plans = {epoch: [batches[b] for b in rng.permutation(len(batches))]}
        return self._plans[epoch]


def _draw_conformers(molecules: Sequence[TrainingMolecule], draws: int, rng: np.random.Generator) -> tuple[GraphBatch, Tensor, Tensor]:
    """The padded graphs, `draws` random conformers of each molecule (M, K, N, 3), and a point on the path to each: itself without paths."""
    graph = collate([m.features for m in molecules])
    clean = np.zeros((len(molecules), draws, graph.atoms.shape[1], 3), np.float32)
    before = clean.copy()
    for ends, starts, molecule in zip(clean, before, molecules, strict=True):
        drawn, present = rng.integers(len(molecule.positions), size=draws), slice(len(molecule.features))
        ends[:, present] = starts[:, present] = molecule.positions[drawn]
        if molecule.paths is not None:
            starts[:, present] = molecule.paths[drawn, rng.integers(molecule.paths.shape[1], size=draws)]
    return graph, torch.from_numpy(clean), torch.from_numpy(before)


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))
