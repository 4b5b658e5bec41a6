"""ConfGF, the default preset: ETKDG gives topology and hand, the field gives geometry and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.features import GraphBatch, conformation_hands
from ..models.field import PairField
from ..molecule import MolecularGraph
from ..units import NM_PER_ANGSTROM
from ._network import NetworkGenerator
from .etkdg import embed_etkdg
from .samplers import probability_flow

class ConfGFGenerator(NetworkGenerator):
    """ETKDGv3 conformations, noised to `sigma_max` and brought back by the probability flow of a trained `PairField`.

    The hand of every tetrahedral centre is that of the ETKDG start, which has the specified ones right.

    Parameters
    ----------
    weights : str or Path
        Name of shipped weights, or a ``.safetensors`` file with its card beside it.
    sigma_max, sigma_min : float
        First and last noise level in Angstrom. A larger first one explores more; ETKDG's own faults need about 0.3.
    calls : int
        Noise levels, and so network calls, per conformation.
    """

    name = "confgf"

    def __init__(self, weights: str | Path = "confgf", sigma_max: float = 0.5, sigma_min: float = 0.01, calls: int = 16) -> None:
        super().__init__(weights)
        self.sigma_max, self.sigma_min, self.calls = sigma_max, sigma_min, calls

    def _start(self, graph: MolecularGraph, n: int, seed: int, streams: Sequence[np.random.Generator]) -> NDArray[np.float64]:
        positions = embed_etkdg(graph, n, seed).positions / NM_PER_ANGSTROM
        return positions - positions.mean(axis=1, keepdims=True)

    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        assert isinstance(self.net, PairField)
        kept = conformation_hands(starts, batch)
        hands = torch.where(kept == 0, batch.hands[:, None], kept)
        noise = torch.zeros_like(starts, device="cpu")
        sizes = batch.atom_mask.sum(1).tolist()
        for row, size, row_streams in zip(noise, sizes, streams, strict=True):
            for sample, stream in zip(row, row_streams, strict=False):
                drawn = torch.from_numpy(stream.standard_normal((size, 3), np.float32))
                sample[:size] = drawn - drawn.mean(0)
        graph, net = self.net.encode(batch), self.net
        sigmas = torch.logspace(np.log10(self.sigma_max), np.log10(self.sigma_min), self.calls, device=starts.device)

        def denoise(positions: Tensor, sigma: Tensor) -> Tensor:
            return net(graph, positions, sigma.expand(positions.shape[:2]), hands)

        return probability_flow(denoise, starts + self.sigma_max * noise.to(starts.device), sigmas)

    def _settings(self) -> dict[str, Any]:
        return {"start": "etkdg", "sigma_max": self.sigma_max, "sigma_min": self.sigma_min}
