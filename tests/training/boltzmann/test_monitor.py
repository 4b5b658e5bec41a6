import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.energies.interface import EnergyResult
from openmm_confgf.thermodynamics.log_weights import log_weights
from openmm_confgf.training.boltzmann.frames import training_frames
from openmm_confgf.training.boltzmann.monitor import Samples, draw_samples, mean_log_q, torus_distance


def test_log_weights_are_those_of_the_generator(methanol, small_network):
    """Through positions, energies and the density on the mean-free subspace: up to a constant, none here."""
    network = small_network().eval()
    samples = draw_samples(methanol, network, 600, seed=3)
    assert len(samples.frames) == 600 and samples.log_weights.dtype == torch.float64
    positions = np.empty((600, 6, 3))
    positions[:, methanol.placement.order] = samples.frames.placed.double().numpy()
    log_q = methanol.log_density(network, positions)
    expected = log_weights(log_q, methanol.energy.evaluate(positions).energy, np.zeros(600), 300.0)
    # frames are kept in single precision, in which a stiff bond has an energy to 0.01 kT, and a clash or a straight angle any
    usual = expected > np.median(expected) - 10
    assert usual.mean() > 0.7
    np.testing.assert_allclose(samples.log_weights.numpy()[usual], expected[usual], rtol=1e-3, atol=0.05)
    again = draw_samples(methanol, network, 600, seed=3)
    assert torch.equal(again.log_weights, samples.log_weights)
    assert not torch.equal(draw_samples(methanol, network, 600, seed=4).log_weights, samples.log_weights)


def test_samples_without_a_finite_energy_have_no_weight(methanol, small_network):
    class Infinite:
        def evaluate(self, positions):
            energies = np.where(np.arange(len(positions)) < 3, 0.0, np.inf)
            return EnergyResult(energies, None, np.zeros(len(positions), np.int8))

    samples = draw_samples(dataclasses.replace(methanol, energy=Infinite()), small_network().eval(), 10, seed=0)
    assert samples.log_weights.isfinite().tolist() == [True] * 3 + [False] * 7
    assert (samples.log_weights[3:] == -torch.inf).all()


def test_the_mean_density_of_frames(methanol, methanol_ensemble, small_network):
    network = small_network().eval()
    frames = training_frames(methanol, methanol_ensemble.positions)
    _, _, volume = methanol.coordinates(methanol.placement.relabelled(torch.tensor(methanol_ensemble.positions), hands=True).numpy())
    log_q = methanol.log_density(network, methanol.placement.relabelled(torch.tensor(methanol_ensemble.positions), hands=True).numpy())
    assert mean_log_q(methanol, network, frames) == pytest.approx(float((log_q + volume.numpy()).mean()), abs=0.02)


def test_distance_on_the_torus(methanol, methanol_ensemble):
    """Turned by an angle, a torsion is that far away, the short way round; from itself it is zero."""
    frames = training_frames(methanol, methanol_ensemble.positions)
    column = int(methanol.batch.torsion.nonzero()[0])
    spread = frames.coordinates.clone()
    spread[:, column, 2] = 0.1 * torch.randn(len(frames), generator=torch.Generator().manual_seed(0))
    frames = type(frames)(spread, frames.placed, frames.log_target)
    even = torch.zeros(len(frames), dtype=torch.float64)
    for turned, expected in ((0.0, 0.0), (0.5, 0.5), (2 * math.pi - 0.5, 0.5)):
        moved = spread.clone()
        moved[:, column, 2] += turned
        samples = Samples(type(frames)(moved, frames.placed, frames.log_target), even, even)
        assert torus_distance(methanol, samples, frames) == pytest.approx(expected, abs=0.02)
    assert math.isnan(torus_distance(methanol, Samples(frames, even - torch.inf, even), frames))
