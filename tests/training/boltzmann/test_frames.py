import numpy as np
import pytest
import torch

from openmm_confgf.energies import system_source
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.boltzmann.frames import Frames, training_frames
from openmm_confgf.units import kT


def test_the_target_is_the_boltzmann_density_over_the_coordinates(methanol, methanol_ensemble):
    """It does not depend on labels and turns, and log q of a network is comparable with it."""
    positions = methanol_ensemble.positions[:200]
    frames = training_frames(methanol, positions)
    energy = methanol.energy.evaluate(positions).energy
    _, _, volume = methanol.coordinates(methanol.placement.relabelled(torch.tensor(positions), hands=True).numpy())
    np.testing.assert_allclose(frames.log_target.numpy(), -energy / kT(300) + volume.numpy(), rtol=0, atol=1e-9)
    swapped = training_frames(methanol, positions[:, methanol.placement.hands[0].permutations[1]])
    np.testing.assert_allclose(swapped.log_target.numpy(), frames.log_target.numpy(), rtol=0, atol=1e-6)
    torch.testing.assert_close(swapped.coordinates, frames.coordinates, rtol=0, atol=1e-5)


def test_rows_and_parts(methanol, methanol_ensemble):
    frames = training_frames(methanol, methanol_ensemble.positions)
    both = Frames.together([frames[torch.arange(3)], frames[torch.arange(3, 5)]])
    assert len(both) == 5 and torch.equal(both.placed, frames.placed[:5])


def test_few_or_broken_frames_are_refused(methanol, methanol_ensemble):
    positions = methanol_ensemble.positions.copy()
    with pytest.raises(ConfGFError, match="99 frames of 'CO' are too few to learn from; give at least 100"):
        training_frames(methanol, positions[:99])
    positions[7] = np.nan
    with pytest.raises(ConfGFError, match="1 of 600 frames of 'CO' are not finite; leave them out"):
        training_frames(methanol, positions)


def test_frames_of_the_mirror_image_are_refused(mirrored):
    graph = MolecularGraph.from_smiles("C[C@H](O)F")
    prepared = PreparedMolecule.of(graph, system_source("openff-2.2.1"), 300.0)
    positions = np.tile(embed_etkdg(graph, 10, 0).positions, (10, 1, 1))
    assert len(training_frames(prepared, positions)) == 100
    with pytest.raises(ConfGFError, match="100 of 100 frames are of another stereoisomer"):
        training_frames(prepared, mirrored(positions))
