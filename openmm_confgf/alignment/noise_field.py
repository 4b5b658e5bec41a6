"""ConfGF's field as a denoising model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..generators.confgf import ConfGFGenerator
from ..models.features import GraphBatch, collate, featurise
from ..molecules.graph import MolecularGraph
from ..units import NM_PER_ANGSTROM
from .denoising import NoiseRange

NOISE = NoiseRange(0.2, 5.0)
"""Angstrom: where the samples of `ConfGFGenerator` begin to settle, and where they start from noise. Between them it is decided which
conformation a sample becomes."""


class NoiseField:
    """A `PairField` that generates from noise (``confgf-noise``), as a `DenoisingModel`.

    Parameters
    ----------
    generator : ConfGFGenerator
        With the start ``"noise"``.
    device : torch.device or str
    """

    least_level = -1.0
    """Where the noise is 0.008 Angstrom, the least that the field was trained on."""

    def __init__(self, generator: ConfGFGenerator, device: str = "cpu") -> None:
        self.generator, self.device = generator, device
        generator.net.to(device)
        self._graphs: dict[MolecularGraph, GraphBatch] = {}

    @property
    def network(self) -> nn.Module:
        """The field."""
        return self.generator.net

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """Conformers, as the generator makes them.

        Parameters
        ----------
        molecule : MolecularGraph
        n : int
        seed : int
        """
        return self.generator.sample(molecule, n, seed=seed, device=self.device).positions

    def denoising_errors(self, molecule: MolecularGraph, positions: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """``|x - D(x + sigma z, sigma)|^2 / sigma^2`` times the range of log sigma of `NOISE`.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : Tensor, (K, N, 3)
        levels : Tensor, (S,)
        noise : Tensor, (S, N, 3)

        Returns
        -------
        Tensor, (S, K)
            In nats.
        """
        if molecule not in self._graphs:
            self._graphs[molecule] = collate([featurise(molecule)]).to(self.device)
        batch, sigma = self._graphs[molecule], NOISE.sigma(levels).float().to(self.device)
        clean = (positions / NM_PER_ANGSTROM).float().to(self.device)
        shift = (noise - noise.mean(1, keepdim=True)).float().to(self.device)[:, None]
        noisy = (clean + sigma * shift).flatten(0, 1)[None]
        each = sigma.expand(-1, len(clean), 1, 1).reshape(1, -1)
        # told as when it generates from noise: what is specified
        hands = batch.hands[:, None].expand(-1, noisy.shape[1], -1)
        denoised = self.generator.net(self.generator.net.encode(batch), noisy, each, hands)[0].view(len(levels), *clean.shape)
        return NOISE.errors(denoised, clean, sigma)
