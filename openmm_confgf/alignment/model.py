"""What can be aligned: a model that draws conformations and says how improbable it finds those of others."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..molecules.graph import MolecularGraph


class AlignableModel(Protocol):
    """A generator whose relative probabilities can be taught.

    Those of this package are `DensityModel`, and `Denoised` around a `DenoisingModel`, which is what a model from outside implements.
    """

    @property
    def network(self) -> nn.Module:
        """What is trained, in place."""

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """Conformations (n, N, 3) in nm, in the molecule's atom order; NaN where one failed. A seed gives the same ones again."""

    def model_energies(self, molecule: MolecularGraph, positions: NDArray[np.float64], *, seed: int) -> Tensor:
        """``E_theta`` of conformations (K, N, 3) in nm, (K,), which gradients run through.

        It is -log q up to a constant of the molecule, or what bounds that, in nats. What is random in it is the same for all K, and comes
        from the seed.
        """

    def anchor(self, molecule: MolecularGraph, positions: NDArray[np.float64], weights: NDArray[np.float64], *, seed: int) -> Tensor:
        """What bounds minus the log-likelihood of conformations (K, N, 3) with weights that sum to one, in nats, ().

        Differences of energies say nothing of whether conformations are drawn well: this keeps a model what it was trained to be. 0 of an
        exact density, which is nothing but differences.
        """
