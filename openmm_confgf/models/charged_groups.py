"""Charged groups that may meet: where those that are not placed yet can come, of which one turns with a torsion."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .carried_atoms import Carried
from .features import TensorRecord
from .local_frames import axes_of, direction_of
from .placement_arrays import PlacementArrays

_MOST = 1000
"""Places of a group that are looked at; where it is behind so many torsions that there are more, nothing is known of it."""

_NEUTRAL, _SP2 = 3, 3
"""In the columns of `ATOM_VOCABULARY`: no formal charge, and the hybridisation of an atom whose bonds are in a plane."""

_CARBON, _SHARING = 6, (7, 8, 16)
"""Atomic numbers: an atom that shares a charge with several of others."""

_DOUBLE, _CIS = 2, 1
"""In the columns of `PAIR_VOCABULARY`."""


@dataclasses.dataclass(frozen=True)
class Meeting(TensorRecord):
    """Two charged groups, of which one turns with a torsion.

    Attributes
    ----------
    group, other : int
        The steps that place their centres: of the one that turns, and of the other.
    turning : Tensor of float64, (M, 3)
        nm, in the frame of the step: where the one may be while the torsion is 0.
    frame : tuple of int
        The steps that placed p, a and t of the frame of `resting`; thrice the other's own where it is placed before.
    resting : Tensor of float64, (L, 3)
        nm: where the other may be, whatever the torsion.
    charge : int
        Product of their charges, in squares of the elementary one.
    """

    group: int
    other: int
    turning: Tensor
    frame: tuple[int, int, int]
    resting: Tensor
    charge: int

    @property
    def pairs(self) -> int:
        """How many of places."""
        return len(self.turning) * len(self.resting)


def group_charges(batch: PlacementArrays) -> dict[int, int]:
    """Charged groups: formal charges, each at the atom that holds those together that share it.

    Parameters
    ----------
    batch : PlacementArrays
        On the CPU.

    Returns
    -------
    dict
        Elementary charges by the step that places a group's centre: the carbon of a carboxylate, a guanidinium or an imidazolium, the
        nitrogen of an ammonium. None of groups whose charges cancel, such as nitro.
    """
    found: dict[int, int] = {}
    numbers, bonded = batch.atoms[:, 0].tolist(), batch.pairs[..., 0] == 1
    neighbours = [row.nonzero()[:, 0].tolist() for row in bonded]

    def shares(k: int, i: int) -> bool:
        return numbers[i] == _CARBON and bool(batch.pairs[k, i, 3]) and sum(numbers[j] in _SHARING for j in neighbours[i]) > 1

    for k, charge in enumerate((batch.atoms[:, 1] - _NEUTRAL).tolist()):
        if charge:
            at_the_end = len(neighbours[k]) == 1
            centre = next((i for i in neighbours[k] if at_the_end or shares(k, i)), k)
            found[centre] = found.get(centre, 0) + charge
    return {k: charge for k, charge in found.items() if charge}


def meetings(batch: PlacementArrays, carried: Mapping[int, Sequence[Carried]]) -> dict[int, list[Meeting]]:
    """Of each step with a torsion, the groups that turn with it, each with each that does not.

    Parameters
    ----------
    batch : PlacementArrays
        On the CPU.
    carried : mapping of int to sequence of Carried
        What turns with the atom of each step that has a torsion.

    Returns
    -------
    dict of lists of Meeting
        By step.
    """
    groups = group_charges(batch)
    found: dict[int, list[Meeting]] = {k: [] for k in batch.torsion_rows}
    for k in found:
        turning, resting = {}, {}
        for group in groups:
            frame, places = _places_of(batch, carried, group, k)
            if frame is None:
                turning[group] = places
            elif group not in batch.frames[k, :2]:  # those on the axis are as far away whatever the torsion
                resting[group] = frame, places
        found[k] = [
            Meeting(group, other, places, *there, groups[group] * groups[other])
            for group, places in turning.items()
            for other, there in resting.items()
            if len(places) and len(there[1])
        ]
    return found


def _places_of(
    batch: PlacementArrays, carried: Mapping[int, Sequence[Carried]], group: int, k: int
) -> tuple[tuple[int, int, int] | None, Tensor]:
    """A frame, and where a group may be in it, before step k; that of the step where it is None. No places where they are not known."""
    path = [group]
    while path[0] >= k:
        path.insert(0, int(batch.frames[path[0], 0]))
    nowhere = torch.zeros(0, 3, dtype=torch.float64)
    if len(path) == 1:
        return (group, group, group), nowhere.new_zeros(1, 3)
    start = _turning_at(batch, carried, path[1])
    if start is None or batch.closes[path[1:]].any():
        return (group, group, group), nowhere
    p, a, t = batch.frames[start.step].tolist()
    if start.step == k:
        return None, _places(batch, path, start, (start.turn,))
    if start.step < k:
        # it is placed, and tells how far the torsion is
        return (p, a, start.step), _places(batch, path, start, (start.turn,))
    return (p, a, t), _places(batch, path, start, _dihedrals(batch, t, a, p, path[1])) if t < k else nowhere


def _turning_at(batch: PlacementArrays, carried: Mapping[int, Sequence[Carried]], step: int) -> Carried | None:
    """An atom in the frame of the torsion about the bond before it, which its own step or that of a sibling has."""
    if batch.torsion[step]:
        return Carried(step, float(batch.length[step, 0]), float(batch.second[step, 0]), 0.0)
    for k, atoms in carried.items():
        for atom in atoms:
            if atom.step == step and batch.frames[k, 0] == batch.frames[step, 0]:
                return dataclasses.replace(atom, step=k)
    return None


def _places(batch: PlacementArrays, path: list[int], start: Carried, turns: tuple[float, ...]) -> Tensor:
    """Of the last atom of a path, in the frame where the second one starts at some dihedrals; at all combinations of those on the way."""
    before = (int(batch.frames[start.step, 1]), *path)
    on_the_way = [turns, *(_dihedrals(batch, *before[i : i + 4]) for i in range(len(before) - 3))]
    if math.prod(map(len, on_the_way)) > _MOST:
        return torch.zeros(0, 3, dtype=torch.float64)
    each = [torch.tensor(dihedrals, dtype=torch.float64) for dihedrals in on_the_way]
    p = start.length * direction_of(torch.tensor(start.angle, dtype=torch.float64).cos(), each[0])
    a = torch.zeros_like(p)
    t = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(p)
    for step, dihedrals in zip(path[2:], each[1:], strict=True):
        length, angle = batch.length[step, 0].double(), batch.second[step, 0].double()
        reached = p[:, None] + length * direction_of(angle.cos(), dihedrals) @ axes_of(normalize(a - p, dim=-1), t - a).mT
        t, a, p = (x.expand_as(reached).flatten(0, 1) for x in (a[:, None], p[:, None], reached))
    return p


def _dihedrals(batch: PlacementArrays, t: int, a: int, p: int, i: int) -> tuple[float, ...]:
    """Of four atoms in a row: what stereo or a flat ring leaves, trans of amides, both sides of other conjugated bonds, else a few."""
    pairs, ring = batch.pairs, bool(batch.pairs[a, p, 2])
    if pairs[t, i, 4]:
        return (0.0,) if pairs[t, i, 4] == _CIS else (math.pi,)
    if ring and batch.atoms[[a, p], 4].all():
        within = bool(pairs[t, p, 2]), bool(pairs[a, i, 2])
        same_side = bool(pairs[t, i, 2]) if all(within) else not any(within)
        return (0.0,) if same_side else (math.pi,)
    if pairs[a, p, 1] == _DOUBLE or (pairs[a, p, 3] and (ring or (batch.atoms[[a, p], 0] == _CARBON).all())):
        return 0.0, math.pi
    if pairs[a, p, 3]:
        # an amide or an ester, whose oxygen is beside what is trans
        return (0.0,) if (pairs[t, :, 0] == 1).sum() == 1 else (math.pi,)
    few = 6 if (batch.atoms[[a, p], 3] == _SP2).any() else 3
    return tuple(math.pi * (2 * k + 1) / few for k in range(few))
