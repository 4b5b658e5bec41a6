"""What holds for every denoising model, as tests that a model from outside can be put through before it is aligned.

Subclass the suite in your tests, and give the model as a fixture::

    class TestMyModel(DenoisingModelSuite):
        @pytest.fixture(scope="class")
        def model(self):
            return MyModel()
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..alignment.denoising import DenoisingModel
from ..molecules.graph import MolecularGraph
from ..molecules.superposition import superposed

_SEED, _LEVELS = 3, 5


class DenoisingModelSuite:
    """Tests of a `DenoisingModel`.

    Attributes
    ----------
    molecules : tuple of str
        SMILES of molecules that it takes.
    n : int
        Conformations of each, at least 3.
    """

    molecules: tuple[str, ...] = ("CCO", "CCCC")
    n: int = 4

    def test_samples_are_conformations_that_a_seed_gives_again(self, model: DenoisingModel) -> None:
        """(n, N, 3) in nm, the same for the same seed and others for another."""
        for graph in self._graphs():
            drawn = np.asarray(model.sample(graph, self.n, seed=_SEED))
            assert drawn.shape == (self.n, len(graph), 3), f"samples have shape {drawn.shape}, not (n, N, 3)"
            finite = drawn[np.isfinite(drawn).all((1, 2))]
            assert len(finite), "no sample is finite"
            widths = np.linalg.norm(finite - finite.mean(1, keepdims=True), axis=-1).max(1)
            assert (widths < 0.2 + 0.1 * len(graph)).all(), f"samples are up to {widths.max():.3g} nm wide; positions are in nm"
            assert np.allclose(drawn, model.sample(graph, self.n, seed=_SEED), atol=1e-5, equal_nan=True), (
                "a seed gives other samples again"
            )
            assert not np.allclose(drawn, model.sample(graph, self.n, seed=_SEED + 1), equal_nan=True), "the seed makes no difference"

    def test_errors_are_finite_one_for_each_level_and_conformation(self, model: DenoisingModel) -> None:
        """(S, K), not negative."""
        assert model.least_level <= 0, "least_level is where the training ended below level 0, or 0"
        for graph in self._graphs():
            errors = self._errors(model, graph, self._frames(model, graph))
            assert errors.shape == (_LEVELS, self.n), f"errors have shape {tuple(errors.shape)}, not (levels, conformations)"
            assert errors.isfinite().all() and (errors >= 0).all(), "an error is negative, or not finite"

    def test_gradients_reach_the_network(self, model: DenoisingModel) -> None:
        """At least one parameter learns."""
        model.network.requires_grad_(True)
        graph = next(self._graphs())
        self._errors(model, graph, self._frames(model, graph)).mean().backward()
        gradients = [parameter.grad for parameter in model.network.parameters() if parameter.grad is not None]
        model.network.zero_grad()
        assert any((gradient != 0).any() for gradient in gradients), "no parameter of `network` has a gradient"
        assert all(gradient.isfinite().all() for gradient in gradients), "a gradient is not finite"

    def test_conformations_share_the_noise(self, model: DenoisingModel) -> None:
        """The same conformation twice has the same error twice, in whatever company."""
        graph = next(self._graphs())
        frames = self._frames(model, graph)
        twice = self._errors(model, graph, np.concatenate([frames[:1], frames, frames[:1]]))
        _assert_near(twice[:, 0], twice[:, -1], "the same conformation has another error: noise is not shared")
        _assert_near(twice[:, 1:-1], self._errors(model, graph, frames), "an error depends on the other conformations of the call")

    def test_errors_depend_on_the_weights_and_on_nothing_random(self, model: DenoisingModel) -> None:
        """The same call again is the same; other weights are not."""
        graph = next(self._graphs())
        frames = self._frames(model, graph)
        before = self._errors(model, graph, frames).detach()
        _assert_near(before, self._errors(model, graph, frames).detach(), "the same call gives other errors: noise of its own is drawn")
        kept = {name: value.clone() for name, value in model.network.state_dict().items()}
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter))
        after = self._errors(model, graph, frames).detach()
        model.network.load_state_dict(kept)
        assert not torch.allclose(before, after), "other weights of `network` give the same errors"

    def _graphs(self) -> Iterator[MolecularGraph]:
        return (MolecularGraph.from_smiles(smiles) for smiles in self.molecules)

    def _frames(self, model: DenoisingModel, graph: MolecularGraph) -> np.ndarray:
        drawn = np.asarray(model.sample(graph, self.n, seed=_SEED), np.float64)
        finite = drawn[np.isfinite(drawn).all((1, 2))]
        chosen = finite[np.arange(self.n) % len(finite)]
        chosen = chosen - chosen.mean(1, keepdims=True)
        return superposed(chosen, chosen[0])

    def _errors(self, model: DenoisingModel, graph: MolecularGraph, frames: np.ndarray) -> Tensor:
        noise = np.random.default_rng(0).standard_normal((_LEVELS, len(graph), 3))
        return model.denoising_errors(
            graph, torch.from_numpy(frames), torch.linspace(0.05, 0.95, _LEVELS).double(), torch.from_numpy(noise)
        )


def _assert_near(one: Tensor, other: Tensor, message: str) -> None:
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.detach().abs().mean())), message
