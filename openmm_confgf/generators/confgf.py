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
from .samplers import mode_ascent, probability_flow


class ConfGFGenerator(NetworkGenerator):
    """ETKDGv3 conformations, noised, brought back by the probability flow of a trained `PairField`, and settled in its modes.

    The hand of every tetrahedral centre is that of the ETKDG start, which has the specified ones right. Settling moves each sample to
    the conformation that it belongs to, so the samples are conformers, not draws from a thermal distribution.

    Parameters
    ----------
    weights : str or Path
        Name of shipped weights, or a ``.safetensors`` file with its card beside it.
    sigma_max : float
        Noise on the ETKDG start in Angstrom. More of it explores more; from about 1 on, little is left of the start.
    flow_calls : int
        Network calls of the flow from `sigma_max` to the first settling level.
    settle_sigmas : sequence of float
        Noise levels in Angstrom of the settling steps, one network call each.
    """

    name = "confgf"

    def __init__(
        self,
        weights: str | Path = "confgf",
        sigma_max: float = 0.6,
        flow_calls: int = 6,
        settle_sigmas: Sequence[float] = 8 * (0.2,) + 16 * (0.1,) + 8 * (0.05,),
    ) -> None:
        super().__init__(weights)
        self.sigma_max, self.flow_calls, self.settle_sigmas = sigma_max, flow_calls, tuple(settle_sigmas)
        self.calls = flow_calls + len(self.settle_sigmas)

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
        settling = torch.tensor(self.settle_sigmas, device=starts.device)
        flowing = torch.from_numpy(np.geomspace(self.sigma_max, self.settle_sigmas[0], self.flow_calls, dtype=np.float32)).to(starts.device)

        def denoise(positions: Tensor, sigma: Tensor) -> Tensor:
            return net(graph, positions, sigma.expand(positions.shape[:2]), hands)

        flowed = probability_flow(denoise, starts + self.sigma_max * noise.to(starts.device), flowing)
        return mode_ascent(denoise, flowed, settling)

    def _settings(self) -> dict[str, Any]:
        return {"start": "etkdg", "sigma_max": self.sigma_max, "flow_calls": self.flow_calls, "settle_sigmas": list(self.settle_sigmas)}
