"""Atoms that turn with the one that a torsion places, though they are placed later."""

from __future__ import annotations

import dataclasses
import math

import torch

from .local_frames import TURN, beside_sibling, coordinates_in, local_frames, place
from .placement_arrays import PlacementArrays

_FLAT = 2.9
"""Radians: an atom at a larger dihedral to its sibling is in one plane with it, on neither side."""


@dataclasses.dataclass(frozen=True)
class Carried:
    """An atom that turns with the one that a torsion places: its coordinates in the frame of that step where the torsion is 0.

    Attributes
    ----------
    step : int
        A later one, which places it.
    length, angle, turn : float
        nm and radians, at equilibrium.
    """

    step: int
    length: float
    angle: float
    turn: float


def carried_by(batch: PlacementArrays, k: int) -> list[Carried]:
    """Atoms that are beside the one of a step, or in its flat ring: those whose places follow from where it is.

    Parameters
    ----------
    batch : PlacementArrays
        On the CPU.
    k : int
        The step, which has a torsion.

    Returns
    -------
    list of Carried
        In the order of the steps; without the alike branches that are folded.
    """
    p, a, t = batch.frames[k].tolist()
    middles = batch.start + 0.5 * batch.width
    lengths, seconds, middles = (x.double().view(-1, 1, 1) for x in (batch.length[:, 0], batch.second[:, 0], middles))
    placed = torch.zeros(1, len(lengths), 3, dtype=torch.float64)
    placed[0, a, 2], placed[0, t, 0] = lengths[max(p, a), 0, 0], 0.1
    own = slice(k, k + 1)
    frame = local_frames(batch, placed, own)
    placed[:, own] = place(batch, frame, placed, lengths[k], seconds[k], torch.zeros_like(lengths[k]), own)
    known, found = {p, a, k}, []
    for later in range(k + 1, len(lengths)):
        around, step, second = batch.frames[later], slice(later, later + 1), seconds[later]
        if batch.torsion[later] or not set(around.tolist()) <= known:
            continue
        if batch.beside[later]:
            turn = beside_sibling(batch, placed, second, step)[0]
            if batch.width[later] > 6 and turn < _FLAT:
                continue
        elif batch.atoms[around, 4].all() and batch.pairs[around[0], around[2], 2] and (batch.atoms[later, 4] or not batch.closes[later]):
            # a ring of p, a and t is flat, its torsions in the middle of their ranges; force fields may leave its angles to its bonds
            turn = middles[later]
            sides = int(batch.pairs[later, around[1], 2])
            if sides and not batch.closes[later]:
                second = torch.full_like(second, math.pi - TURN / sides)
        else:
            continue
        placed[:, step] = place(batch, local_frames(batch, placed, step), placed, lengths[later], second, turn, step)
        known.add(later)
        if batch.leaders[later] != k:
            found.append(Carried(later, *coordinates_in(batch, frame, placed, placed[:, step], own)[0, 0].tolist()))
    return found
