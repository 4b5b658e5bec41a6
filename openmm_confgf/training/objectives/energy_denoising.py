"""Denoising score matching at one noise: an `EnergyField` learns the energy whose force takes the noise off positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from ...errors import ConfGFError
from ...models.energy_field import EnergyField
from ...models.features import GraphBatch, TensorRecord
from .base import Objective
from .conformers import draw_conformers, mean_free_noise

if TYPE_CHECKING:
    from ..data import TrainingMolecule


@dataclasses.dataclass(frozen=True)
class NoisyConformers(TensorRecord):
    """M molecules with K noisy conformers each.

    Attributes
    ----------
    graph : GraphBatch
    noise : Tensor, (M, K, N, 3)
        What was added, in units of its standard deviation; it does not move the mean.
    noisy : Tensor, (M, K, N, 3)
        Angstrom.
    """

    graph: GraphBatch
    noise: Tensor
    noisy: Tensor


def score_matching_loss(scores: Tensor, batch: NoisyConformers, sigma: float) -> Tensor:
    """``|sigma s(x_0 + sigma z) + z|^2 / (3 n)``, one value per conformation.

    1 for an energy that is the same everywhere. Its minimiser over s is the score of the noised density of conformers (Vincent 2011,
    eq. 9, doi:10.1162/NECO_a_00142), so that an energy of which s is minus the gradient is minus that density's logarithm.

    Parameters
    ----------
    scores : Tensor, (M, K, N, 3)
        1/Angstrom.
    batch : NoisyConformers
    sigma : float
        Angstrom.

    Returns
    -------
    Tensor, (M, K)
    """
    mask = batch.graph.atom_mask[:, None, :, None]
    return (((sigma * scores + batch.noise) ** 2) * mask).sum((-2, -1)) / (3 * mask.sum((-2, -1)))


@dataclasses.dataclass(frozen=True)
class EnergyDenoising(Objective[EnergyField, NoisyConformers]):
    """Noise of one size on mean-free conformers, and the error of the energy's force in taking it off.

    Attributes
    ----------
    sigma_pm : int
        The noise in pm, which is that of the network.
    draws : int
        Noisy conformers K of each molecule of a batch; the molecule is encoded once for all of them.
    """

    architecture: ClassVar[str] = "EnergyField"
    title: ClassVar[str] = "score matching loss"
    weight_decay: ClassVar[float] = 1e-4

    sigma_pm: int = 10
    draws: int = 4

    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> NoisyConformers:
        """Draw conformers and noise.

        Parameters
        ----------
        molecules : sequence of TrainingMolecule
            M molecules.
        rng : numpy.random.Generator

        Returns
        -------
        NoisyConformers

        Raises
        ------
        ConfGFError
            If a molecule has paths, whose points are no conformers.
        """
        if any(molecule.paths is not None for molecule in molecules):
            raise ConfGFError("An energy is learnt from conformers, and a file has paths to them; leave it out.")
        graph, clean, _ = draw_conformers(molecules, self.draws, rng)
        noise = mean_free_noise(graph, self.draws, rng)
        return NoisyConformers(graph, noise, clean + self.sigma_pm / 100 * noise)

    def losses(self, network: EnergyField, batch: NoisyConformers) -> Tensor:
        """`score_matching_loss` of each conformation.

        Parameters
        ----------
        network : EnergyField
        batch : NoisyConformers

        Returns
        -------
        Tensor, (M, K)

        Raises
        ------
        ConfGFError
            If the network is one for another noise.
        """
        if network.config.sigma_pm != self.sigma_pm:
            raise ConfGFError(f"The network is for a noise of {network.config.sigma_pm} pm, not {self.sigma_pm} pm; take another preset.")
        _, scores = network.scores(network.encode(batch.graph), batch.noisy, training=network.training)
        return score_matching_loss(scores, batch, network.sigma)

    def members(self, batch: NoisyConformers) -> int:
        """The number of conformations, M times K.

        Parameters
        ----------
        batch : NoisyConformers

        Returns
        -------
        int
        """
        return batch.noisy.shape[0] * batch.noisy.shape[1]
