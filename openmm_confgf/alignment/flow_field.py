"""The velocity field of a flow as a denoising model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..generators.tbg import TBGGenerator
from ..molecules.graph import MolecularGraph
from .denoising import NoiseRange

NOISE = NoiseRange(0.05, 20.0)
"""Of the noise to the molecule on a straight path, (1 - t) / t: at the ends the one or the other is all there is."""


class FlowField:
    """The `EGNN` of a flow (``tbg``), as a `DenoisingModel`.

    At the time t of a straight path, ``x_t = t (x + sigma z)`` with ``sigma = (1 - t) / t``, and a velocity v says where the path ends:
    ``x_t + (1 - t) v``.

    Parameters
    ----------
    generator : TBGGenerator
    device : torch.device or str
    """

    least_level = 0.0

    def __init__(self, generator: TBGGenerator, device: str = "cpu") -> None:
        self.generator, self.device = generator, device
        generator.network.to(device)

    @property
    def network(self) -> nn.Module:
        """The field."""
        return self.generator.network

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """Samples of the flow, after its filter.

        Parameters
        ----------
        molecule : MolecularGraph
        n : int
        seed : int
        """
        return self.generator.sample(molecule, n, seed=seed, device=self.device).positions

    def denoising_errors(self, molecule: MolecularGraph, positions: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """``|x - x_1|^2 / sigma^2`` times the range of log sigma, where x_1 is where the velocity leads to.

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
        field = self.generator.prepare(molecule, self.device).field(self.generator.network)
        sigma = NOISE.sigma(levels).to(self.device)
        clean = (positions * self.generator.flow.scale).to(self.device)
        shift = (noise - noise.mean(1, keepdim=True)).to(self.device)[:, None]
        t = 1 / (1 + sigma)
        on_path = t * (clean + sigma * shift)
        each = t.expand(-1, len(clean), 1, 1).flatten()
        velocity = field(each, on_path.flatten(0, 1)).view(on_path.shape)
        found = on_path + (1 - t) * velocity
        return NOISE.errors(found, clean, sigma).to(torch.get_default_dtype())
