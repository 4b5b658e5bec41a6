"""Denoising errors as energies, and the suite that models from outside must pass."""

import math

import numpy as np
import pytest
import torch

from openmm_confgf.alignment import Denoised
from openmm_confgf.errors import ConfGFError
from openmm_confgf.testing import DenoisingModelSuite
from tests.alignment.mixture import MixtureModel


class TestMixture(DenoisingModelSuite):
    molecules = ("CCCCO",)

    @pytest.fixture
    def model(self, mixture):
        return mixture


def test_the_mean_error_is_minus_log_of_the_probability(mixture, butanol, butanol_minima):
    """The bound is an equality for the exact denoiser: differences between centres are those of their logits."""
    wanted = torch.tensor([0.0, -1.0, 0.5, -0.3], dtype=torch.float64)
    mixture.network.logits.data = wanted.clone()
    model = Denoised(mixture, draws=64)
    with torch.no_grad():
        found = torch.stack([model.model_energies(butanol, butanol_minima[0], seed=seed) for seed in range(60)])
    away = found - found.mean(1, keepdim=True)
    error = away.std(0) / math.sqrt(len(found))
    assert (away.mean(0) + wanted - wanted.mean()).abs().lt(6 * error + 0.1).all()  # 0.1: of noise beyond the range
    assert (error < 0.1).all()


def test_what_is_linear_in_the_noise_cancels(butanol, butanol_minima):
    class Linear(MixtureModel):
        def denoising_errors(self, molecule, positions, levels, noise):
            return self.network.logits + (noise.sum((1, 2))[:, None] * positions[:, 0, 0])

    model = Denoised(Linear(butanol_minima[0]), draws=1)
    assert model.model_energies(butanol, butanol_minima[0], seed=0).abs().max() < 1e-12


def test_gradients_have_noise_of_their_own(mixture, butanol, butanol_minima):
    """Their mean is the slope of the mean energies, and their noise does not go with that of the energies."""
    model, step = Denoised(mixture, draws=6), 0.05
    difference = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)

    def energy(seed):
        return model.model_energies(butanol, butanol_minima[0], seed=seed) @ difference

    mixture.network.logits.data = 0.8 * difference
    energies, gradients, slopes = [], [], []
    for seed in range(400):
        (gradient,) = torch.autograd.grad(found := energy(seed), mixture.network.logits)
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                mixture.network.logits += sign * step * difference
                ends.append(energy(seed))
                mixture.network.logits -= sign * step * difference
        energies.append(found.item())
        gradients.append((gradient @ difference).item())
        slopes.append(((ends[0] - ends[1]) / (2 * step)).item())
    away = np.array(gradients) - np.array(slopes)
    assert abs(away.mean()) < 6 * away.std() / math.sqrt(len(away)) < 0.5 * abs(np.mean(slopes))
    apart, together = (abs(np.corrcoef(energies, other)[0, 1]) for other in (gradients, slopes))
    assert apart < 6 / math.sqrt(len(energies)) < together


class Wrong(MixtureModel):
    def sample(self, molecule, n, *, seed):
        return super().sample(molecule, n, seed=seed)[:, :-1]

    def denoising_errors(self, molecule, positions, levels, noise):
        return super().denoising_errors(molecule, positions, levels, noise).T


def test_a_model_of_another_shape_is_named(butanol, butanol_minima):
    model = Denoised(Wrong(butanol_minima[0]))
    with pytest.raises(ConfGFError, match="Wrong.sample gave 'CCCCO' positions of shape"):
        model.sample(butanol, 3, seed=0)
    with pytest.raises(ConfGFError, match="Wrong.denoising_errors gave 'CCCCO' errors of shape"):
        model.model_energies(butanol, butanol_minima[0][:2], seed=0)


class TestTheSuite:
    """It fails where a model is wrong."""

    def failing(self, model):
        suite, failed = TestMixture(), set()
        for name in dir(suite):
            if name.startswith("test_"):
                try:
                    getattr(suite, name)(model)
                except (AssertionError, ValueError, RuntimeError):
                    failed.add(name)
        return failed

    def test_noise_of_its_own(self, butanol_minima):
        class Noisy(MixtureModel):
            def denoising_errors(self, molecule, positions, levels, noise):
                return super().denoising_errors(molecule, positions, levels, torch.randn(noise.shape, dtype=torch.float64))

        assert "test_errors_depend_on_the_weights_and_on_nothing_random" in self.failing(Noisy(butanol_minima[0]))

    def test_noise_of_each_conformation(self, butanol_minima):
        class Apart(MixtureModel):
            def denoising_errors(self, molecule, positions, levels, noise):
                each = [
                    super(Apart, self).denoising_errors(molecule, positions[k : k + 1], levels, noise.roll(k, 0))
                    for k in range(len(positions))
                ]
                return torch.cat(each, 1)

        assert "test_conformations_share_the_noise" in self.failing(Apart(butanol_minima[0]))

    def test_angstrom_and_unseeded_samples(self, butanol_minima):
        class Angstrom(MixtureModel):
            def sample(self, molecule, n, *, seed):
                return 10 * super().sample(molecule, n, seed=seed)

        class Unseeded(MixtureModel):
            def sample(self, molecule, n, *, seed):
                return super().sample(molecule, n, seed=np.random.default_rng().integers(2**31))

        for kind in (Angstrom, Unseeded):
            assert self.failing(kind(butanol_minima[0])) >= {"test_samples_are_conformations_that_a_seed_gives_again"}

    def test_a_network_that_is_not_used(self, butanol_minima):
        class Detached(MixtureModel):
            def __init__(self, centres):
                super().__init__(centres)
                self.mixture, self.network = self.network, torch.nn.Linear(2, 2)

            def sample(self, molecule, n, *, seed):
                return self.centres[:n].numpy() + 1e-3 * np.random.default_rng(seed).standard_normal((n, len(molecule), 3))

            def denoising_errors(self, molecule, positions, levels, noise):
                own, self.network = self.network, self.mixture
                errors = super().denoising_errors(molecule, positions, levels, noise)
                self.network = own
                return errors

        failed = self.failing(Detached(butanol_minima[0]))
        assert {"test_gradients_reach_the_network", "test_errors_depend_on_the_weights_and_on_nothing_random"} <= failed
