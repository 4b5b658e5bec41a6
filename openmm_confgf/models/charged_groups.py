"""Charged groups that may meet: where those that are not placed yet can come, of which one turns with a torsion."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .carried_atoms import Carried
from .local_frames import axes_of, direction_of

if TYPE_CHECKING:
    from .placement_batch import PlacementBatch

_MOST = 1000
"""Places of a group that are looked at; where it is behind so many torsions that there are more, nothing is known of it."""

_CARBON, _FLAT = 6, 3
"""Atomic number; hybridisation of an atom whose bonds are in a plane, as in `ATOM_VOCABULARY`."""

_NEUTRAL = 3
"""Column of the formal charge of an atom that has none."""


@dataclasses.dataclass(frozen=True)
class Meeting:
    """Two charged groups, of which one turns with a torsion.

    Attributes
    ----------
    turning : Tensor of float64, (M, 3)
        nm, in the frame of the step: where the one may be while the torsion is 0.
    other : int
        The step that places the centre of the other one.
    frame : tuple of int
        The steps that placed p, a and t of the frame of `resting`; thrice the other's own where it is placed before.
    resting : Tensor of float64, (L, 3)
        nm: where the other may be, whatever the torsion.
    charge : int
        Product of their charges, in squares of the elementary one.
    """

    turning: Tensor
    other: int
    frame: tuple[int, int, int]
    resting: Tensor
    charge: int

    @property
    def pairs(self) -> int:
        """How many of places."""
        return len(self.turning) * len(self.resting)


def group_charges(batch: PlacementBatch) -> dict[int, int]:
    """Charged groups: formal charges, and the neighbours that share them.

    Parameters
    ----------
    batch : PlacementBatch
        On the CPU.

    Returns
    -------
    dict
        By the step of a group's centre: the carbon of a carboxylate or a guanidinium, the nitrogen of an ammonium.
    """
    found: dict[int, int] = {}
    for k, charge in enumerate((batch.atoms[:, 1] - _NEUTRAL).tolist()):
        if charge:
            bonded = (batch.pairs[k, :, 0] == 1).nonzero()[:, 0].tolist()
            shared = [i for i in bonded if batch.pairs[k, i, 3] and batch.atoms[i, 0] == _CARBON]
            centre = bonded[0] if len(bonded) == 1 else [*shared, k][0]
            found[centre] = found.get(centre, 0) + charge
    return {k: charge for k, charge in found.items() if charge}


def meetings(batch: PlacementBatch) -> dict[int, list[Meeting]]:
    """Of each step with a torsion, the groups that turn with it, each with each that does not.

    Parameters
    ----------
    batch : PlacementBatch
        On the CPU.

    Returns
    -------
    dict
        By step.
    """
    groups = group_charges(batch)
    found: dict[int, list[Meeting]] = {k: [] for k in batch.torsion_rows}
    for k in found:
        turning, resting = {}, {}
        for group in groups:
            frame, places = _places_of(batch, group, k)
            if frame is None:
                turning[group] = places
            elif group not in batch.frames[k, :2]:  # those on the axis are as far away whatever the torsion
                resting[group] = frame, places
        found[k] = [
            Meeting(places, other, *there, groups[group] * groups[other])
            for group, places in turning.items()
            for other, there in resting.items()
            if len(places) and len(there[1])
        ]
    return found


def _places_of(batch: PlacementBatch, group: int, k: int) -> tuple[tuple[int, int, int] | None, Tensor]:
    """A frame, and where a group may be in it, before step k; that of the step where it is None. No places where they are not known."""
    path = [group]
    while path[0] >= k:
        path.insert(0, int(batch.frames[path[0], 0]))
    nowhere = torch.zeros(0, 3, dtype=torch.float64)
    if len(path) == 1:
        return (group, group, group), nowhere.new_zeros(1, 3)
    start = _turning_at(batch, path[1])
    if start is None or batch.closes[path[1:]].any():
        return (group, group, group), nowhere
    p, a, t = batch.frames[start.step].tolist()
    if start.step == k:
        return None, _places(batch, path, start, (0.0,))
    if start.step < k:
        # it is placed, and tells how far the torsion is
        return (p, a, start.step), _places(batch, path, start, (0.0,))
    return (p, a, t), _places(batch, path, start, _dihedrals(batch, a, p)) if t < k else nowhere


def _turning_at(batch: PlacementBatch, step: int) -> Carried | None:
    """An atom in the frame of the torsion about the bond before it, which its own step or that of a sibling has."""
    if batch.torsion[step]:
        return Carried(step, float(batch.length[step, 0]), float(batch.second[step, 0]), 0.0)
    for k, atoms in batch.carried.items():
        for atom in atoms:
            if atom.step == step and batch.frames[k, 0] == batch.frames[step, 0]:
                return dataclasses.replace(atom, step=k)
    return None


def _places(batch: PlacementBatch, path: list[int], start: Carried, turns: tuple[float, ...]) -> Tensor:
    """Of the last atom of a path, in the frame where the second one starts; at all combinations of the dihedrals on the way."""
    on_the_way = [_dihedrals(batch, a, p) for a, p in itertools.pairwise(path[:-1])]
    if math.prod(map(len, (turns, *on_the_way))) > _MOST:
        return torch.zeros(0, 3, dtype=torch.float64)
    dihedrals = torch.tensor(turns, dtype=torch.float64) + start.turn
    p = start.length * direction_of(torch.tensor(start.angle, dtype=torch.float64).cos(), dihedrals)
    a = torch.zeros_like(p)
    t = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(p)
    for step, around in zip(path[2:], on_the_way, strict=True):
        length, angle = batch.length[step, 0].double(), batch.second[step, 0].double()
        axes, local = (
            axes_of(normalize(a - p, dim=-1), t - a),
            length * direction_of(angle.cos(), torch.tensor(around, dtype=torch.float64)),
        )
        reached = p[:, None] + local @ axes.transpose(-1, -2)
        t, a, p = (x.expand_as(reached).flatten(0, 1) for x in (a[:, None], p[:, None], reached))
    return p


def _dihedrals(batch: PlacementBatch, a: int, p: int) -> tuple[float, ...]:
    """About the bond of two atoms: trans where it is conjugated, staggered between tetrahedral ones, every sixth of a turn else."""
    if batch.pairs[a, p, 3]:
        return (math.pi,)
    few = 6 if (batch.atoms[[a, p], 3] == _FLAT).any() else 3
    return tuple(math.pi * (2 * i + 1) / few for i in range(few))
