"""Exact densities: the energy of the model is -log q, and what alignment teaches is the Boltzmann distribution itself."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..generators.boltzmann import BoltzmannGenerator
from ..generators.boltzmann.prepared import PreparedMolecule
from ..models.density_pieces import log_prob_in_pieces
from ..molecules.graph import MolecularGraph


class DensityModel:
    """An `AutoregressiveDensity` (``boltzmann``) as an `AlignableModel`.

    Parameters
    ----------
    generator : BoltzmannGenerator
    device : torch.device or str
    """

    def __init__(self, generator: BoltzmannGenerator, device: str = "cpu") -> None:
        self.generator, self.device = generator, device
        generator.network.to(device)
        self._prepared: dict[MolecularGraph, PreparedMolecule] = {}

    @property
    def network(self) -> nn.Module:
        """The density."""
        return self.generator.network

    def prepare(self, molecule: MolecularGraph) -> PreparedMolecule:
        """The molecule in its force field; each is kept.

        Parameters
        ----------
        molecule : MolecularGraph
        """
        if molecule not in self._prepared:
            known = self.generator
            self._prepared[molecule] = PreparedMolecule.of(molecule, known.source, known.temperature, self.device, known.level)
        return self._prepared[molecule]

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """Samples to learn from: the broad components of the density, which `model_energies` counts, are not drawn from.

        Parameters
        ----------
        molecule : MolecularGraph
        n : int
        seed : int
        """
        positions, _ = self.prepare(molecule).draw(self.generator.network, seed, 0, n, broad=False)
        return positions

    def model_energies(self, molecule: MolecularGraph, positions: NDArray[np.float64], *, seed: int) -> Tensor:
        """-log q of conformations on the mean-free subspace, in nats, whichever labels alike branches have.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : ndarray of float64, (K, N, 3)
            nm.
        seed : int
            Of no meaning here: nothing is random.

        Returns
        -------
        Tensor of float64, (K,)
            NaN where q is zero. In single precision, as all steps of training are.
        """
        prepared = self.prepare(molecule)
        coordinates, placed, volume = prepared.coordinates(positions, hands=True)
        seen = (placed - placed.mean(1, keepdim=True)).float()
        log_q = log_prob_in_pieces(self.generator.network, prepared.batch, coordinates.float().to(self.device), seen.to(self.device))
        return volume.to(self.device) - log_q

    def anchor(self, molecule: MolecularGraph, positions: NDArray[np.float64], weights: NDArray[np.float64], *, seed: int) -> Tensor:
        """0: differences of log q between conformations are all there is to a density, so that nothing can be forgotten beside them.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : ndarray of float64, (K, N, 3)
        weights : ndarray of float64, (K,)
        seed : int

        Returns
        -------
        Tensor, ()
        """
        return torch.zeros(())
