"""Local frames: where atoms are for those that are placed after them, and where a bond length, an angle and a dihedral put an atom."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .placement_arrays import PlacementArrays

TURN = 2 * math.pi

GEOMETRY = 13
"""Numbers that describe a placed atom, seen from the frame of the next one."""

_FARTHEST = 8.0
"""Thermal widths by which a coordinate may be away from its equilibrium before the network sees no difference any more."""

Steps = slice | Tensor
"""Which steps: a slice, or their indices."""


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


def local_frames(batch: PlacementArrays, placed: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Frames of the steps.

    Parameters
    ----------
    batch : PlacementArrays
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
    return p, axes_of(z, aside)


def axes_of(z: Tensor, aside: Tensor) -> Tensor:
    """Axes of a frame.

    Parameters
    ----------
    z : Tensor, (..., 3)
        Of length 1.
    aside : Tensor, (..., 3)
        To the side of x, of any length.

    Returns
    -------
    Tensor, (..., 3, 3)
        In columns.
    """
    x = normalize(aside - (aside * z).sum(-1, keepdim=True) * z, dim=-1)
    return torch.stack([x, torch.linalg.cross(x, z), z], dim=-1)


def direction_of(cosine: Tensor, turn: Tensor) -> Tensor:
    """Where an atom is in its frame, one away from p.

    Parameters
    ----------
    cosine, turn : Tensor, (...)
        Of its angle; its dihedral in radians.

    Returns
    -------
    Tensor, (..., 3)
    """
    sine = (1 - cosine.square()).sqrt()
    return torch.stack([sine * turn.cos(), sine * turn.sin(), cosine.expand_as(turn)], -1)


def beside_sibling(batch: PlacementArrays, placed: Tensor, second: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """What the force field says of the dihedral to a sibling, given the angles: the spherical law of cosines.

    Parameters
    ----------
    batch : PlacementArrays
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


def whitened_coordinates(batch: PlacementArrays, coordinates: Tensor, sibling: tuple[Tensor, Tensor], steps: Steps) -> Tensor:
    """Coordinates of placed atoms in units of their thermal widths.

    Parameters
    ----------
    batch : PlacementArrays
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
    batch: PlacementArrays, frame: tuple[Tensor, Tensor], placed: Tensor, length: Tensor, second: Tensor, turn: Tensor, steps: Steps
) -> Tensor:
    """Where atoms go by their coordinates.

    Parameters
    ----------
    batch : PlacementArrays
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
    return origin + length[..., None] * (axes @ direction_of(cosine, turn)[..., None])[..., 0]


def coordinates_in(batch: PlacementArrays, frame: tuple[Tensor, Tensor], placed: Tensor, positions: Tensor, steps: Steps) -> Tensor:
    """The coordinates by which atoms are where they are: what `place` undoes.

    Parameters
    ----------
    batch : PlacementArrays
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
