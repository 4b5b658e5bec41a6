r"""Denoising models: those without a density, whose denoising error stands in for it.

A model that predicts clean positions :math:`\hat x` from noised ones, :math:`y = x + \sigma z`, bounds the probability of x (Kingma & Gao
2023, arXiv:2303.00848, in the variable :math:`\log \sigma`):

.. math:: -\log p(x) \le \int E_z |x - \hat x(x + \sigma z, \sigma)|^2 / \sigma^2 \; d\log\sigma + \mathrm{const}.

Differences of that integral between conformations of one molecule are what alignment teaches (Lu et al. 2025, arXiv:2505.24203). Its
noise must be the same for all of them, or their differences drown in it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from ..molecules.superposition import superposed


class DenoisingModel(Protocol):
    """What a model needs for its alignment; `testing.DenoisingModelSuite` is the tests that it must pass.

    Attributes
    ----------
    least_level : float
        The lowest level that the model was trained on, 0 or below. Preferences are decided between 0 and 1; how well conformations are
        drawn in the end, below.
    """

    least_level: float

    @property
    def network(self) -> nn.Module:
        """What is trained, in place."""

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """Conformations of a molecule.

        Parameters
        ----------
        molecule : MolecularGraph
            Of N atoms.
        n : int
        seed : int
            The same seed and weights give the same conformations.

        Returns
        -------
        ndarray of float64, (n, N, 3)
            nm, in the molecule's atom order; NaN where one failed.
        """

    def denoising_errors(self, molecule: MolecularGraph, positions: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """How badly the model takes given noise off given conformations, with gradients to its weights.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : Tensor of float64, (K, N, 3)
            nm, without their mean, superposed on the first.
        levels : Tensor of float64, (S,)
            Between 0, the least noise at which conformations are still told apart, and 1, the most, uniformly, or down to `least_level`;
            what they mean is the model's to say. Where they are evenly spaced in log sigma and the error is ``|x - D|^2 / sigma^2`` times
            the range of log sigma from level 0 to 1, its mean is in nats.
        noise : Tensor of float64, (S, N, 3)
            Standard normal numbers of each level, for all K conformations alike.

        Returns
        -------
        Tensor, (S, K)
        """


@dataclasses.dataclass(frozen=True)
class NoiseRange:
    """Noise levels that are evenly spaced in log sigma, and errors in nats over them.

    Attributes
    ----------
    least, most : float
        sigma at level 0 and at level 1, in the model's unit of length.
    """

    least: float
    most: float

    @property
    def span(self) -> float:
        """The range of log sigma from level 0 to 1."""
        return math.log(self.most / self.least)

    def sigma(self, levels: Tensor) -> Tensor:
        """Standard deviations of the noise, (S, 1, 1, 1), at levels (S,)."""
        return (self.least * (levels * self.span).exp())[:, None, None, None]

    def errors(self, denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
        """``|x - D|^2 / sigma^2`` times `span`, (S, K), of D (S, K, N, 3) and x (K, N, 3)."""
        return self.span * ((denoised - clean) / sigma).square().sum((-2, -1))


MORE_DRAWS = 4
"""Times as many noise levels tell what the model prefers as tell its gradient: they cost a third each."""


class Denoised:
    """A `DenoisingModel` as an `AlignableModel`: its energy is the mean of denoising errors under noise that the conformations share.

    Each noise is used with both signs, in which what is linear in it cancels: of `confgf-noise` a third less variance, for as many errors.
    The energies' gradient has noise of its own, apart from that of their values. Else the two would go together, and a loss could be
    lowered by making the noise of the energies small instead of making them right.

    Parameters
    ----------
    model : DenoisingModel
    draws : int
        Noise levels for the gradient of each molecule's energies; `MORE_DRAWS` times as many are for their values.
    """

    def __init__(self, model: DenoisingModel, draws: int = 4) -> None:
        self.model, self.draws = model, draws

    @property
    def network(self) -> nn.Module:
        """The model's."""
        return self.model.network

    def sample(self, molecule: MolecularGraph, n: int, *, seed: int) -> NDArray[np.float64]:
        """The model's, once their shape is right.

        Parameters
        ----------
        molecule : MolecularGraph
        n : int
        seed : int

        Raises
        ------
        ConfGFError
            If what it gives is of another shape.
        """
        drawn = np.asarray(self.model.sample(molecule, n, seed=seed), np.float64)
        if drawn.shape != (n, len(molecule), 3):
            raise ConfGFError(
                f"{type(self.model).__name__}.sample gave {molecule.name!r} positions of shape {drawn.shape}; "
                f"return {(n, len(molecule), 3)} in nm."
            )
        return drawn

    def model_energies(self, molecule: MolecularGraph, positions: NDArray[np.float64], *, seed: int) -> Tensor:
        """Mean denoising error of each conformation, with a gradient where gradients are enabled.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : ndarray of float64, (K, N, 3)
            nm.
        seed : int
            Of levels and noise.

        Returns
        -------
        Tensor, (K,)

        Raises
        ------
        ConfGFError
            If the model gives errors of another shape.
        """
        with torch.no_grad():
            energies = self._errors(molecule, positions, 0.0, MORE_DRAWS * self.draws, [seed, 0]).mean(0)
        if not torch.is_grad_enabled():
            return energies
        slope = self._errors(molecule, positions, 0.0, self.draws, [seed, 1]).mean(0)
        return energies + (slope - slope.detach())

    def anchor(self, molecule: MolecularGraph, positions: NDArray[np.float64], weights: NDArray[np.float64], *, seed: int) -> Tensor:
        """The denoising error of conformations over all levels, from the model's `least_level` on; half of `draws` tell it.

        Parameters
        ----------
        molecule : MolecularGraph
        positions : ndarray of float64, (K, N, 3)
            nm.
        weights : ndarray of float64, (K,)
        seed : int
            Of levels and noise.

        Returns
        -------
        Tensor, ()
        """
        least = self.model.least_level
        errors = (1 - least) * self._errors(molecule, positions, least, -(-self.draws // 2), [seed, 2]).mean(0)
        return (torch.from_numpy(weights).to(errors) * errors).sum()

    def _errors(self, molecule: MolecularGraph, positions: NDArray[np.float64], least: float, levels: int, seed: list[int]) -> Tensor:
        """(2 S, K), one level in each of S equal parts of the range from `least` to 1, and its noise with both signs."""
        rng = np.random.default_rng(seed)
        each = least + (1 - least) * (np.arange(levels) + rng.random(levels)) / levels
        noise = rng.standard_normal((levels, len(molecule), 3))
        centred = positions - positions.mean(axis=1, keepdims=True)
        alike = superposed(centred, centred[0])
        given = (alike, np.concatenate([each, each]), np.concatenate([noise, -noise]))
        errors = self.model.denoising_errors(molecule, *map(torch.from_numpy, given))
        if errors.shape != (2 * levels, len(positions)):
            raise ConfGFError(
                f"{type(self.model).__name__}.denoising_errors gave {molecule.name!r} errors of shape {tuple(errors.shape)}; return "
                f"{(2 * levels, len(positions))}, one for each level and conformation."
            )
        return errors
