import numpy as np
import pytest
import torch

from openmm_confgf.energies import system_source
from openmm_confgf.energies.levels import level_of
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.training.boltzmann.frames import Frames, inside
from openmm_confgf.training.boltzmann.monitor import Samples, draw_samples
from openmm_confgf.training.boltzmann.moved import moved_frames
from openmm_confgf.units import kT


@pytest.fixture
def samples(methanol, small_network):
    """Of a network that has learnt nothing."""
    return draw_samples(methanol, small_network().eval(), 2000, seed=1, broad=False)


def energies(prepared, frames):
    """Reduced, of the frames' positions."""
    positions, _ = prepared.unplaced(frames.coordinates.double(), frames.placed.double())
    return prepared.energy.evaluate(positions.numpy()).energy / kT(prepared.temperature)


def test_they_are_nearer_to_the_target_than_samples(methanol, methanol_ensemble, samples):
    """By their mean energy, within six standard errors; samples are as far as their weights differ."""
    wanted = methanol.energy.evaluate(methanol_ensemble.positions).energy / kT(300.0)
    moved = moved_frames(methanol, samples, 1000, seed=2)
    assert len(moved) == 1000 and inside(methanol, moved).all()
    found, before = energies(methanol, moved), energies(methanol, samples.frames)
    error = 6 * np.hypot(found.std() / np.sqrt(100), wanted.std() / np.sqrt(len(wanted)))  # copies have one ancestor
    assert abs(found.mean() - wanted.mean()) < error < abs(before[np.isfinite(before)].mean() - wanted.mean())
    # what they are told to be the target is what it is
    frames = Frames.of(methanol, methanol.unplaced(moved.coordinates.double(), moved.placed.double())[0].numpy())
    torch.testing.assert_close(frames.log_target, moved.log_target, rtol=0, atol=0.05)


def test_copies_part(methanol, samples):
    moved = moved_frames(methanol, samples, 1000, seed=2)
    assert len(torch.unique(moved.coordinates, dim=0)) > 900
    assert torch.equal(moved.placed, moved_frames(methanol, samples, 1000, seed=2).placed)


def test_there_are_none_where_nothing_can_be_weighed_or_moved(methanol, samples):
    weightless = Samples(samples.frames, torch.full_like(samples.log_weights, -torch.inf), samples.log_q)
    assert len(moved_frames(methanol, weightless, 100, seed=0)) == 0
    few = Samples(samples.frames, torch.where(torch.arange(2000) < 10, samples.log_weights, -torch.inf), samples.log_q)
    assert len(moved_frames(methanol, few, 100, seed=0)) == 0
    at_a_level = PreparedMolecule.of(methanol.graph, system_source("openff-2.2.1"), 300.0, level=level_of("mmff94s"))
    assert len(moved_frames(at_a_level, samples, 100, seed=0)) == 0
