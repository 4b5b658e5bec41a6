"""Score matching on distances, as ConfGF was published: independent noise on each distance, one level of a ladder per molecule.

The paper: C. Shi, S. Luo, M. Xu, J. Tang, ICML 2021, doi:10.48550/arXiv.2105.03902.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...models.confgf import ConfGF, EdgeGraph, NoiseLadder
from ...models.features import TensorRecord
from ...molecules.geometry import distances
from .base import Objective
from .conformers import draw_conformers

if TYPE_CHECKING:
    from ..data import TrainingMolecule


@dataclasses.dataclass(frozen=True)
class NoisyDistances(TensorRecord):
    """Noisy distances of the edges of M molecules: arguments of `ConfGF.forward` and the clean distances.

    Attributes
    ----------
    graph : EdgeGraph
    clean, noisy : Tensor, (K, E)
        Angstrom.
    sigma : Tensor, (K, E)
        Standard deviation of the noise in Angstrom.
    molecules : int
        M.
    """

    graph: EdgeGraph
    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    molecules: int


def distance_score_loss(scores: Tensor, clean: Tensor, noisy: Tensor, sigma: Tensor, molecules: int) -> Tensor:
    """Denoising score matching on distances (paper, eq. 6): ``1/2 sigma^2 (s_ij + (d~ - d) / sigma^2)^2``.

    Summed over a molecule's edges, averaged over molecules.

    Parameters
    ----------
    scores : Tensor, (K, E)
        1/Angstrom.
    clean, noisy : Tensor, (K, E)
        Distances in Angstrom.
    sigma : Tensor, broadcastable to (K, E)
        Angstrom.
    molecules : int

    Returns
    -------
    Tensor, ()
    """
    target = -(noisy - clean) / sigma**2
    return 0.5 * (sigma**2 * (scores - target) ** 2).sum() / (molecules * len(scores))


@dataclasses.dataclass(frozen=True)
class DistanceScores(Objective[ConfGF, NoisyDistances]):
    """The published noise and loss (paper, section 4.1).

    Attributes
    ----------
    ladder : NoiseLadder
    draws : int
        Noisy conformations K of each molecule of a batch.
    """

    architecture: ClassVar[str] = "ConfGF"
    title: ClassVar[str] = "denoising loss"

    ladder: NoiseLadder = NoiseLadder()
    draws: int = 1

    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> NoisyDistances:
        """Draw conformers, noise levels and noise.

        Parameters
        ----------
        molecules : sequence of TrainingMolecule
            M molecules.
        rng : numpy.random.Generator

        Returns
        -------
        NoisyDistances
        """
        padded, clean, _ = draw_conformers(molecules, self.draws, rng)
        graph = EdgeGraph.from_batch(padded)
        lengths = distances(graph.flat(clean), graph.edges)
        level = self.ladder.sigmas()[torch.from_numpy(rng.integers(self.ladder.levels, size=(self.draws, len(molecules))))]
        sigma = level[:, graph.molecule]
        shift = torch.from_numpy(rng.standard_normal(tuple(lengths.shape), np.float32))
        return NoisyDistances(graph, lengths, lengths + sigma * shift, sigma, len(molecules))

    def losses(self, network: ConfGF, batch: NoisyDistances) -> Tensor:
        """`distance_score_loss`, whose mean over molecules is taken already.

        Parameters
        ----------
        network : ConfGF
        batch : NoisyDistances

        Returns
        -------
        Tensor, ()
        """
        scores = network(batch.graph, batch.noisy, batch.sigma)
        return distance_score_loss(scores, batch.clean, batch.noisy, batch.sigma, batch.molecules)

    def members(self, batch: NoisyDistances) -> int:
        """The number of molecules.

        Parameters
        ----------
        batch : NoisyDistances

        Returns
        -------
        int
        """
        return batch.molecules
