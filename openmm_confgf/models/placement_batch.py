"""PlacementBatch: a molecule whose atoms are placed one after the other, as a network knows it; local frames, and what is where in them."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .features import TensorRecord

TURN = 2 * math.pi

NUMBERS = 24
"""Numbers that describe a step beside its atoms; see `generators.boltzmann.inputs`."""

GEOMETRY = 13
"""Numbers that describe a placed atom, seen from the frame of the next one."""

_FARTHEST = 8.0
"""Thermal widths by which a coordinate may be away from its equilibrium before the network sees no difference any more."""

_FLAT = 2.9
"""Radians: an atom at a larger dihedral to its sibling is in one plane with it, on neither side."""

Steps = slice | Tensor
"""Which steps: a slice, or their indices."""


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


@dataclasses.dataclass(frozen=True)
class PlacementBatch(TensorRecord):
    """What the network knows of a molecule of N atoms, in the order in which they are placed.

    Attributes
    ----------
    atoms : Tensor of int64, (N, 6)
        Columns as in `ATOM_VOCABULARY`.
    pairs : Tensor of int64, (N, N, 5)
        Columns as in `PAIR_VOCABULARY`; 0 on the diagonal.
    numbers : Tensor, (N, NUMBERS)
    frames : Tensor of int64, (N, 3)
        The steps that placed p, a and t; 0 where there is none.
    closes, beside, torsion : Tensor of bool, (N,)
        As in `Step`; a torsion is neither of the others, nor in a ring.
    start, width : Tensor, (N,)
        As in `Step`.
    leaders : Tensor of int64, (N,)
        As in `Step`.
    orders : Tensor of int64, (N,)
        How many alike branches are folded into one, of the steps that place the first of them; else 1.
    length, second : Tensor, (N, 2)
        Equilibrium and thermal width of r, and of theta or r', in nm and radians.
    between : Tensor, (N, 2)
        Of the angle i-p-t where i is beside t: equilibrium and thermal width in radians.
    """

    atoms: Tensor
    pairs: Tensor
    numbers: Tensor
    frames: Tensor
    closes: Tensor
    beside: Tensor
    torsion: Tensor
    start: Tensor
    width: Tensor
    leaders: Tensor
    orders: Tensor
    length: Tensor
    second: Tensor
    between: Tensor

    @functools.cached_property
    def turns(self) -> Tensor:
        """Steps with a dihedral that is no torsion, (n,)."""
        return self._with_dihedral(~self.torsion)

    @functools.cached_property
    def torsions(self) -> Tensor:
        """Steps with a torsion, (n,)."""
        return self._with_dihedral(self.torsion)

    @functools.cached_property
    def torsion_rows(self) -> list[int]:
        """`torsions` as numbers."""
        return self.torsions.tolist()

    @functools.cached_property
    def fold_orders(self) -> list[int]:
        """`orders` as numbers."""
        return self.orders.tolist()

    @functools.cached_property
    def carried(self) -> dict[int, list[Carried]]:
        """Of each step with a torsion, what turns with its atom beside the alike branches that are folded, in the order of the steps."""
        here = self.to("cpu")
        return {k: _carried_by(here, k) for k in here.torsion_rows}

    def _with_dihedral(self, chosen: Tensor) -> Tensor:
        # kept, since looking for what is true makes a GPU wait
        return chosen[3:].nonzero()[:, 0] + 3


def scaled(value: Tensor, equilibrium: Tensor, width: Tensor) -> Tensor:
    """How far a coordinate is from its equilibrium, in two thermal widths, as the network sees it.

    Parameters
    ----------
    value, equilibrium, width : Tensor, (..., n)
        nm or radians.

    Returns
    -------
    Tensor, (..., n)
    """
    return ((value - equilibrium) / width).clamp(-_FARTHEST, _FARTHEST) / 2


def seen_from(frame: tuple[Tensor, Tensor], placed: Tensor, whitened: Tensor) -> Tensor:
    """Placed atoms as the steps see them.

    Parameters
    ----------
    frame : tuple of Tensor, (B, n, 3) and (B, n, 3, 3)
        As `local_frames` gives it, of n steps.
    placed : Tensor, (B, m, 3)
        Positions in nm of the first m atoms.
    whitened : Tensor, (B, m, 5)
        Their own coordinates, as `whitened_coordinates` gives them.

    Returns
    -------
    Tensor, (B, n, m, GEOMETRY)
        Of atoms that are not placed before the step too: their weights are zero.
    """
    origin, axes = frame
    away = placed[:, None] - origin[:, :, None]
    local = 10 * away @ axes  # Angstrom
    distance = torch.linalg.vector_norm(local, dim=-1, keepdim=True)
    near = torch.where(distance > 0.3, 1.5 / distance.clamp_min(0.3), 0.0)
    decay = torch.exp(-distance / 3)
    shape = (*local.shape[:-1], whitened.shape[-1])
    return torch.cat([local / 3, local * near * decay, near, decay, whitened[:, None].expand(shape)], -1)


def local_frames(batch: PlacementBatch, placed: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Frames of the steps.

    Parameters
    ----------
    batch : PlacementBatch
    placed : Tensor, (B, m, 3)
        nm, those of p, a and t among them.
    steps : slice or Tensor
        n steps.

    Returns
    -------
    origins : Tensor, (B, n, 3)
        The positions of p.
    axes : Tensor, (B, n, 3, 3)
        In columns: z from p to a, x to the side of t.
    """
    p, a, t = (placed[:, batch.frames[steps, k]] for k in range(3))
    z = normalize(a - p, dim=-1)
    aside = t - a
    # the first atoms have no third one: any direction will do
    first = (torch.arange(len(batch.frames), device=placed.device)[steps] < 3)[:, None]
    aside = torch.where(first, torch.where(z.abs() < 0.6, 1.0, 0.0), aside)
    x = normalize(aside - (aside * z).sum(-1, keepdim=True) * z, dim=-1)
    return p, torch.stack([x, torch.linalg.cross(x, z), z], dim=-1)


def beside_sibling(batch: PlacementBatch, placed: Tensor, second: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """What the force field says of the dihedral to a sibling, given the angles: the spherical law of cosines.

    Parameters
    ----------
    batch : PlacementBatch
    placed : Tensor, (B, m, 3)
        nm.
    second : Tensor, (B, n)
        Angles i-p-a in radians.
    steps : slice or Tensor
        n steps.

    Returns
    -------
    equilibrium, width : Tensor, (B, n)
        Radians.
    """
    p, a, t = (placed[:, batch.frames[steps, k]] for k in range(3))
    first, other = normalize(a - p, dim=-1), normalize(t - p, dim=-1)
    cosine = (first * other).sum(-1).clamp(-0.9999, 0.9999)
    sine = (1 - cosine.square()).sqrt()
    between, spread = batch.between[steps, 0], batch.between[steps, 1]
    own = second.sin().abs().clamp_min(0.05)
    turn = ((between.cos() - second.cos() * cosine) / (own * sine)).clamp(-0.9999, 0.9999)
    width = spread * between.sin() / (own * sine) / (1 - turn.square()).sqrt().clamp_min(0.5)
    angle = torch.arccos(turn)
    return torch.where(batch.start[steps] > 1, TURN - angle, angle), width


def whitened_coordinates(batch: PlacementBatch, coordinates: Tensor, sibling: tuple[Tensor, Tensor], steps: Steps) -> Tensor:
    """Coordinates of placed atoms in units of their thermal widths.

    Parameters
    ----------
    batch : PlacementBatch
    coordinates : Tensor, (B, n, 3)
        Of the steps.
    sibling : tuple of Tensor, (B, n)
        As `beside_sibling` gives it.
    steps : slice or Tensor
        n steps.

    Returns
    -------
    Tensor, (B, n, 5)
        Of r, of the second coordinate, of dihedrals beside a sibling; cosine and sine of phi. 0 where the first atoms have none.
    """
    length, second, turn = coordinates.unbind(-1)
    deviations = (
        scaled(length, *batch.length[steps].unbind(-1)),
        scaled(second, *batch.second[steps].unbind(-1)),
        torch.where(batch.beside[steps], scaled(turn, *sibling), 0.0),
    )
    rows = torch.arange(len(batch.frames), device=turn.device)[steps]
    known = [torch.where(rows >= k, deviation, 0.0) for k, deviation in enumerate(deviations, 1)]
    has_turn = (rows >= 3).to(turn)
    return torch.stack([*known, turn.cos() * has_turn, turn.sin() * has_turn], -1)


def place(
    batch: PlacementBatch, frame: tuple[Tensor, Tensor], placed: Tensor, length: Tensor, second: Tensor, turn: Tensor, steps: Steps
) -> Tensor:
    """Where atoms go by their coordinates.

    Parameters
    ----------
    batch : PlacementBatch
    frame : tuple of Tensor, (B, n, 3) and (B, n, 3, 3)
        As `local_frames` gives it.
    placed : Tensor, (B, m, 3)
        nm.
    length, second, turn : Tensor, (B, n)
        nm and radians, of the steps.
    steps : slice or Tensor
        n steps, from the third atom on.

    Returns
    -------
    Tensor, (B, n, 3)
        nm.
    """
    origin, axes = frame
    apart = torch.linalg.vector_norm(placed[:, batch.frames[steps, 1]] - origin, dim=-1)
    by_lengths = (length.square() + apart.square() - second.square()) / (2 * length * apart)
    cosine = torch.where(batch.closes[steps], by_lengths, second.cos()).clamp(-1, 1)
    sine = (1 - cosine.square()).sqrt()
    local = torch.stack([sine * turn.cos(), sine * turn.sin(), cosine], -1)
    return origin + length[..., None] * (axes @ local[..., None])[..., 0]


def coordinates_in(batch: PlacementBatch, frame: tuple[Tensor, Tensor], placed: Tensor, positions: Tensor, steps: Steps) -> Tensor:
    """The coordinates by which atoms are where they are: what `place` undoes.

    Parameters
    ----------
    batch : PlacementBatch
    frame : tuple of Tensor, (B, n, 3) and (B, n, 3, 3)
        As `local_frames` gives it.
    placed : Tensor, (B, m, 3)
        nm.
    positions : Tensor, (B, n, 3)
        nm, of the steps.
    steps : slice or Tensor
        n steps.

    Returns
    -------
    Tensor, (B, n, 3)
        r, theta or r', and phi in ``[start, start + 2 pi)``; 0 where the first three atoms have none.
    """
    origin, axes = frame
    away = positions - origin
    length, local = torch.linalg.vector_norm(away, dim=-1), (axes.transpose(-1, -2) @ away[..., None])[..., 0]
    angle = torch.arccos((local[..., 2] / length).clamp(-1, 1))
    apart = torch.linalg.vector_norm(positions - placed[:, batch.frames[steps, 1]], dim=-1)
    start = batch.start[steps].to(local.dtype)
    turn = start + (torch.atan2(local[..., 1], local[..., 0]) - start).remainder(TURN)
    found = torch.stack([length, torch.where(batch.closes[steps], apart, angle), turn], -1)
    rows = torch.arange(len(batch.frames), device=placed.device)[steps]
    return torch.where(rows[:, None] > torch.arange(3, device=placed.device), found, 0.0)


def _carried_by(batch: PlacementBatch, k: int) -> list[Carried]:
    """Atoms that are beside the one of a step, or in its flat ring: those whose places follow from where it is."""
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
