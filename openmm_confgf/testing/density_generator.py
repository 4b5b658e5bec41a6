"""What holds for every generator with a density, as tests that one of your own can be put through.

As `GeneratorSuite`, with one fixture more::

    class TestMyGenerator(DensityGeneratorSuite):
        @pytest.fixture(scope="class")
        def generator(self):
            return MyGenerator(temperature=300)

        @pytest.fixture(scope="class")
        def second(self):
            return HarmonicGenerator(temperature=400)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..generators.density import DensityGenerator
from .generator import GeneratorSuite, assert_raises

_SIGMA = 6.0
"""Standard errors by which an estimate may be off: beyond them is one of 500 million that are right."""


class DensityGeneratorSuite(GeneratorSuite):
    """Tests of a `DensityGenerator`, on top of those of a `Generator`.

    The fixture `second` is another DensityGenerator, whose density covers that of the first: a broader one of the same minima.

    Attributes
    ----------
    log_q_atol : float
        nats, by which the density of a sample may differ between `sample` and `log_prob`.
    weighed : str
        SMILES of the molecule on which normalisation is tested.
    draws : int
        Samples for that.
    largest_error : float
        Largest standard error of the mean weight with which the test says anything.
    """

    log_q_atol: float = 1e-6
    weighed: str = "O"
    draws: int = 4000
    largest_error: float = 0.03

    def test_samples_carry_their_densities(self, generator: DensityGenerator) -> None:
        """``log_q`` (n,) in float64 is what `log_prob` says of the same positions, to `log_q_atol`."""
        assert isinstance(generator, DensityGenerator), f"{type(generator).__name__} is no DensityGenerator"
        for ensemble in self._ensembles(generator):
            assert ensemble.log_q is not None and ensemble.log_q.dtype == np.float64, "log_q is missing, or not in float64"
            found = generator.log_prob(ensemble.graph, ensemble.positions, device="cpu")
            assert found.shape == (self.n,) and found.dtype == np.float64, f"log_prob is {found.dtype} of shape {found.shape}"
            np.testing.assert_allclose(ensemble.log_q, found, rtol=0.0, atol=self.log_q_atol, err_msg="log_q is not log_prob")

    def test_positions_are_free_of_their_mean(self, generator: DensityGenerator) -> None:
        """The mean over the atoms of each sample is zero."""
        for ensemble in self._ensembles(generator):
            np.testing.assert_allclose(ensemble.positions.mean(axis=1), 0, atol=1e-9, err_msg="positions are not mean-free")

    def test_translations_make_no_difference(self, generator: DensityGenerator) -> None:
        """`log_prob` is the same where all atoms are moved alike."""
        for ensemble in self._ensembles(generator):
            moved = generator.log_prob(ensemble.graph, ensemble.positions + np.array([0.3, -0.2, 0.5]), device="cpu")
            np.testing.assert_allclose(moved, _log_q(ensemble), rtol=0.0, atol=self.log_q_atol, err_msg="log_prob depends on the centre")

    def test_each_density_depends_on_its_own_conformation(self, generator: DensityGenerator) -> None:
        """A conformation with NaN has -inf and changes no other; (N, 3) is taken for (1, N, 3), and (0, N, 3) gives (0,)."""
        ensemble = self._ensembles(generator)[0]
        positions = ensemble.positions.copy()
        positions[1] = np.nan
        found = generator.log_prob(ensemble.graph, positions, device="cpu")
        others = np.arange(self.n) != 1
        assert found[1] == -np.inf, f"the density of NaN is {found[1]}, and not -inf"
        np.testing.assert_allclose(found[others], _log_q(ensemble)[others], rtol=0.0, atol=self.log_q_atol, err_msg="beside NaN")
        alone = generator.log_prob(ensemble.graph, positions[0], device="cpu")
        assert alone.shape == (1,) and abs(alone[0] - found[0]) <= self.log_q_atol, "one conformation (N, 3) has another density"
        assert generator.log_prob(ensemble.graph, positions[:0], device="cpu").shape == (0,), "no conformations have densities"

    def test_positions_of_another_molecule_are_refused(self, generator: DensityGenerator) -> None:
        """One atom less is a ValueError that says something."""
        ensemble = self._ensembles(generator)[0]
        assert_raises(ValueError, lambda: generator.log_prob(ensemble.graph, ensemble.positions[:, 1:], device="cpu"))

    def test_densities_ask_for_no_gradients(self, generator: DensityGenerator) -> None:
        """`log_prob` gives an array, and the same one under ``torch.no_grad``."""
        ensemble = self._ensembles(generator)[0]
        with torch.no_grad():
            found = generator.log_prob(ensemble.graph, ensemble.positions, device="cpu")
        assert type(found) is np.ndarray, f"log_prob gives a {type(found).__name__}, and not an array"
        np.testing.assert_allclose(found, _log_q(ensemble), rtol=0.0, atol=self.log_q_atol, err_msg="under torch.no_grad")

    def test_the_density_is_normalised(self, generator: DensityGenerator, second: DensityGenerator) -> None:
        r"""The mean of q / p over samples of p is :math:`\int q\,dz = 1`."""
        weights, _ = self._weights(generator, second)
        error = weights.std() / np.sqrt(self.draws)
        assert error <= self.largest_error, (
            f"The standard error of the mean weight is {error:.2g}: give more draws, or a second density that covers the first better."
        )
        assert abs(weights.mean() - 1) < _SIGMA * error, f"the density integrates to {weights.mean():.4f} +- {error:.4f}"

    def test_samples_follow_the_density(self, generator: DensityGenerator, second: DensityGenerator) -> None:
        r"""Means over samples of q are means over samples of p with the weights q / p: of ``log_q`` and of the mean square radius."""
        weights, elsewhere = self._weights(generator, second)
        drawn = generator.sample(self.weighed, self.draws, seed=6, device="cpu")
        own = np.stack([_log_q(drawn), np.square(drawn.positions).sum((1, 2))])
        others = np.stack([generator.log_prob(self.weighed, elsewhere, device="cpu"), np.square(elsewhere).sum((1, 2))])
        others[:, weights == 0] = 0.0  # log_prob is -inf there
        expected = (weights * others).sum(1) / weights.sum()
        # of a ratio of means, by the delta method
        error = np.sqrt(own.var(1) + np.square(weights * (others - expected[:, None])).mean(1) / weights.mean() ** 2) / np.sqrt(self.draws)
        off = np.abs(own.mean(1) - expected) / error
        for name, distance in zip(("log_q", "the mean square radius"), off, strict=True):
            assert distance < _SIGMA, f"the mean of {name} over the samples is {distance:.1f} standard errors from the density's"

    def _weights(self, generator: DensityGenerator, second: DensityGenerator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights q / p (draws,) of samples of the second generator, and these, (draws, N, 3) in nm."""
        drawn = second.sample(self.weighed, self.draws, seed=5, device="cpu")
        log_weights = generator.log_prob(self.weighed, drawn.positions, device="cpu") - _log_q(drawn)
        return np.exp(log_weights), drawn.positions


def _log_q(ensemble: Ensemble) -> NDArray[np.float64]:
    assert ensemble.log_q is not None, "the ensemble has no log_q"
    return ensemble.log_q
