"""Frames that are nearly the target's, from samples of a density: drawn by their weights, then moved on the target alone."""

from __future__ import annotations

import torch

from ...dynamics.hamiltonian_monte_carlo import move_conformations
from ...energies import BatchedEnergy
from ...generators.boltzmann.prepared import PreparedMolecule
from ...thermodynamics.resampling import resample
from ...thermodynamics.truncation import truncated
from ..objectives.energies import TRUNCATED
from .frames import Frames, inside
from .monitor import Samples

MOVES, STEPS = 4, 15
"""Trials of each, and the most steps of one: enough to take copies apart."""


def moved_frames(prepared: PreparedMolecule, samples: Samples, count: int, seed: int) -> Frames:
    """Where the target has its weight, and the density may not know it: there are more of what is drawn too seldom than in the samples.

    They are no equilibrium, since weights are truncated (`TRUNCATED`) and moves are few, and need not be: the variance of log-weights is
    least at the target whatever distribution it is taken over.

    Parameters
    ----------
    prepared : PreparedMolecule
    samples : Samples
    count : int
    seed : int

    Returns
    -------
    Frames
        As many, less those that left the domain of the coordinates. None where no sample has a weight, or the target's energies are not
        batched and have no forces to move by.
    """
    logs = samples.log_weights.numpy()
    if not (isinstance(prepared.energy, BatchedEnergy) and (logs > -float("inf")).sum() > TRUNCATED * len(logs)):
        return samples.frames[torch.arange(0)]
    chosen = samples.frames[torch.from_numpy(resample(truncated(logs, TRUNCATED)[0], count, seed))]
    positions, _ = prepared.unplaced(chosen.coordinates.double(), chosen.placed.double())
    moved, _, _ = move_conformations(prepared.energy, positions.numpy(), prepared.temperature, moves=MOVES, steps=STEPS, seed=seed)
    frames = Frames.of(prepared, moved, hands=True)
    return frames[inside(prepared, frames) & frames.log_target.isfinite()]
