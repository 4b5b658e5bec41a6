"""ConfGF as published, and ConfGFDist, its ablation that anneals distances and embeds them afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.confgf import ConfGF, EdgeGraph, NoiseLadder
from ..models.features import GraphBatch
from ..molecules.bond_windows import HOTTEST
from ..molecules.geometry import distances, pseudo_forces
from ..molecules.graph import MolecularGraph
from .network.conformer_job import Starts
from .network.conformers import NetworkConformerGenerator
from .samplers import annealed_langevin, embed_distances


class PublishedConfGFGenerator(NetworkConformerGenerator):
    """Annealed Langevin dynamics of positions from noise under the published field (Shi et al. 2021).

    It has no notion of handedness: where stereo is specified, about half of the samples of each centre are WRONG_STEREO.

    Parameters
    ----------
    weights : str or Path
        Name of shipped weights, or a ``.safetensors`` file with its card beside it.
    ladder : NoiseLadder
        Noise levels and step sizes.
    """

    name = "confgf-paper"
    network = ConfGF
    roughness = HOTTEST  # its samples end with noise on them

    def __init__(self, weights: str | Path = "confgf-paper", ladder: NoiseLadder = NoiseLadder()) -> None:
        super().__init__(weights)
        self.ladder = ladder

    def calls(self, graph: MolecularGraph) -> int:
        """As in `Generator.calls`: one for each Langevin step, the same for all molecules."""
        return self.ladder.levels * self.ladder.steps_per_level

    def _starts(self, graph: MolecularGraph, n: int, seed: int, streams: Sequence[np.random.Generator]) -> Starts:
        return Starts([np.stack([stream.standard_normal((len(graph), 3)) for stream in streams])], ["noise"] * n)

    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        graph, net = EdgeGraph.from_batch(batch), self._network()
        sizes = batch.atom_mask.sum(1).tolist()

        def score(positions: Tensor, sigma: Tensor) -> Tensor:
            lengths = distances(positions, graph.edges)
            return pseudo_forces(net(graph, lengths, sigma), positions, graph.edges)

        def noise() -> Tensor:
            return _flat_noise(streams, sizes, 3, starts)

        ladder = self.ladder
        positions = graph.flat(starts)
        sigmas, steps = ladder.sigmas().to(starts), ladder.step_sizes().to(starts)
        return _unflatten(annealed_langevin(score, positions, sigmas, steps, ladder.steps_per_level, noise), graph, starts)

    def _network(self) -> ConfGF:
        assert isinstance(self.net, ConfGF)
        return self.net

    def _settings(self, graph: MolecularGraph) -> dict[str, Any]:
        return {"start": "noise", **dataclasses.asdict(self.ladder)}


class ConfGFDistGenerator(PublishedConfGFGenerator):
    """The paper's ablation: Langevin dynamics of the distances as if they were independent, then positions by least squares.

    Parameters
    ----------
    weights : str or Path
        The same weights as `PublishedConfGFGenerator`.
    ladder : NoiseLadder
        The paper uses a smaller step size here.
    """

    name = "confgf-dist"

    def __init__(self, weights: str | Path = "confgf-paper", ladder: NoiseLadder = NoiseLadder(epsilon=2e-6)) -> None:
        super().__init__(weights, ladder)

    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        graph, net, ladder = EdgeGraph.from_batch(batch), self._network(), self.ladder
        edge_counts = torch.bincount(graph.molecule, minlength=len(starts)).tolist()
        positions = graph.flat(starts)

        def score(lengths: Tensor, sigma: Tensor) -> Tensor:
            return net(graph, lengths.squeeze(-1), sigma).unsqueeze(-1)

        def noise() -> Tensor:
            return _flat_noise(streams, edge_counts, 1, starts)

        lengths = distances(positions, graph.edges).unsqueeze(-1)
        sigmas, steps = ladder.sigmas().to(starts), ladder.step_sizes().to(starts)
        annealed = annealed_langevin(score, lengths, sigmas, steps, ladder.steps_per_level, noise).squeeze(-1)
        return _unflatten(embed_distances(annealed, positions, graph.edges), graph, starts)


def _flat_noise(streams: Sequence[Sequence[np.random.Generator]], sizes: Sequence[int], width: int, like: Tensor) -> Tensor:
    """Standard normal noise (K, sum of sizes, width), each molecule's and sample's part from its own stream."""
    noise = np.zeros((like.shape[1], sum(sizes), width), np.float32)
    start = 0
    for row_streams, size in zip(streams, sizes, strict=True):
        for k, stream in enumerate(row_streams):
            noise[k, start : start + size] = stream.standard_normal((size, width), np.float32)
        start += size
    return torch.from_numpy(noise).to(like)


def _unflatten(positions: Tensor, graph: EdgeGraph, like: Tensor) -> Tensor:
    """Flat atoms (K, A, 3) back to the padded batch (M, K, N, 3)."""
    m, k, n, _ = like.shape
    padded = torch.zeros(k, m * n, 3, dtype=positions.dtype, device=positions.device)
    padded[:, graph.atom_slots] = positions
    return padded.unflatten(1, (m, n)).transpose(0, 1)
