"""Torsion profiles: how the atom that is placed next, and what turns with it, interacts with those before it, all around its torsion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from .carried_atoms import Carried
from .charged_groups import Meeting
from .local_frames import TURN, axes_of
from .placement_batch import PlacementBatch

INTERACTIONS = 5
"""Functions of the distance of two atoms that a profile is a sum of."""

_THERMAL = 2.494339
"""kJ/mol: kT at 300 K."""

_COULOMB = 1389.35
"""kJ/mol Angstrom, of two elementary charges."""

_BORN = 2.0
"""Angstrom: a radius of atoms in a solvent (Still et al. 1990, doi:10.1021/ja00172a038)."""

_HIGHEST = 8.0
"""kT that repulsion nears: walls differ in what they forbid, and not in how much."""

_NEAREST = 0.5
"""Square Angstrom, below which distances make no difference."""

_RANGES = (3.0, 1.58)
"""Angstrom: widths of the Gaussians."""

_SHELLS = ((3.6, 0.6), (5.0, 1.0), (7.5, 2.0))
"""Angstrom: distances of the centres of two charged groups, and how wide a Gaussian is about each; they touch at the first one."""

_TOUCHING = 2.0
"""Angstrom: width of the Gaussian about 0 that keeps the centres of charged groups apart; nearer ones count as at that distance."""


def torsion_profile(
    batch: PlacementBatch,
    k: int,
    strengths: Tensor,
    local: Tensor,
    length: Tensor,
    angle: Tensor,
    nodes: int,
    carried: Sequence[tuple[Carried, Tensor]] = (),
) -> Tensor:
    """Minus the interaction at equidistant nodes of a step's range.

    Configurational-bias Monte Carlo looks ahead like this (Siepmann & Frenkel 1992, doi:10.1080/00268979200100061); here a network says how
    much each function counts: the Lennard-Jones energy, that of the charges, screened as in a solvent, the same of unit charges, and two
    Gaussians. Where alike branches are folded, those at the other angles count too. So do the atoms that the torsion carries, at their
    equilibrium, though they are placed later.

    Parameters
    ----------
    batch : PlacementBatch
    k : int
        The step, which has a torsion.
    strengths : Tensor, (k, INTERACTIONS)
        Of each atom before it.
    local : Tensor, (B, k, 3)
        Their positions in Angstrom in the frame of the step.
    length, angle : Tensor, (B,)
        Of the step, in Angstrom and radians.
    nodes : int
        Their number.
    carried : sequence of (Carried, Tensor), optional
        Atoms that turn with that of the step, each with strengths (k, INTERACTIONS) of its own.

    Returns
    -------
    Tensor, (B, nodes)
    """
    fold, turns = batch.fold_orders[k], _turns(batch, k, nodes).to(local)
    total = _interactions(batch, k, strengths, local, length, angle, turns)
    for atom, of_atom in carried:
        at, under = torch.full_like(length, 10 * atom.length), torch.full_like(angle, atom.angle)
        # a mean over the images of the fold, each of which carries all of them
        total = total + _interactions(batch, atom.step, of_atom / fold, local, at, under, turns + atom.turn)
    return -total.view(len(local), fold, nodes).sum(1)


def meeting_profile(
    batch: PlacementBatch, k: int, seen: Sequence[Meeting], strengths: Tensor, placed: Tensor, frame: tuple[Tensor, Tensor], nodes: int
) -> Tensor:
    """What charged groups that may meet add to a profile: the logarithm of the mean of their Boltzmann factors over all their places.

    As in recoil growth, which looks ahead by more than one step (Consta et al. 1998, doi:10.48550/arXiv.cond-mat/9811071);
    here for charged groups alone, at few places. A network says how much each function of their distance counts: the energy of the charges,
    screened as in a solvent, Gaussians about three distances, and one that keeps them apart.

    Parameters
    ----------
    batch : PlacementBatch
    k : int
        The step, which has a torsion.
    seen : sequence of Meeting
        Of this step.
    strengths : Tensor, (N, N, INTERACTIONS)
        Of each step and each before it; that of the torsion's step and the step that places the resting group is taken.
    placed : Tensor, (B, m, 3)
        nm, of the first m atoms, those before the step among them.
    frame : tuple of Tensor, (B, 3) and (B, 3, 3)
        Of the step, as `local_frames` gives it.
    nodes : int
        Their number.

    Returns
    -------
    Tensor, (B, nodes)
    """
    fold, turns = batch.fold_orders[k], _turns(batch, k, nodes).to(placed)
    cosine, sine = turns.cos(), turns.sin()
    about_z = torch.stack([cosine, sine, -sine, cosine], -1).view(-1, 2, 2)
    unit = _COULOMB / (_THERMAL * batch.numbers[k, 3].exp())
    total = placed.new_zeros(len(placed), len(turns))
    for meeting in seen:
        turning, resting = (10 * places.to(placed) for places in (meeting.turning, meeting.resting))
        turned = torch.cat([turning[:, :2] @ about_z, turning[:, 2:].expand(len(turns), -1, -1)], -1)
        p, a, t = (placed[:, i] for i in meeting.frame)
        there = 10 * (p - frame[0])[:, None] + resting @ axes_of(normalize(a - p, dim=-1), t - a).transpose(-1, -2)
        # (B, nodes M, L)
        distance = torch.cdist(turned.flatten(0, 1), there @ frame[1], compute_mode="donot_use_mm_for_euclid_dist").clamp_min(_TOUCHING)
        squares = distance.square()
        screening, *shells, apart = strengths[max(k, meeting.other), min(k, meeting.other)]
        energy = unit * meeting.charge * screening * _screened(squares) + 3 * apart * torch.exp(-0.5 * squares / _TOUCHING**2)
        for strength, (centre, width) in zip(shells, _SHELLS, strict=True):
            energy = energy + 3 * meeting.charge * strength * torch.exp(-0.5 * ((distance - centre) / width).square())
        places = energy.view(len(placed), len(turns), -1)
        total = total + places.neg().logsumexp(-1) - math.log(places.shape[-1])
    return total.view(len(placed), fold, nodes).sum(1)


def _turns(batch: PlacementBatch, k: int, nodes: int) -> Tensor:
    """Dihedrals at the nodes of a step's range, and at those of its other images: (fold * nodes,)."""
    turn = torch.linspace(0, 1, nodes, device=batch.width.device, dtype=torch.float64) * batch.width[k] + batch.start[k]
    fold = batch.fold_orders[k]
    return (turn + TURN / fold * torch.arange(fold, device=turn.device)[:, None]).flatten()


def _screened(squares: Tensor) -> Tensor:
    """Of distances in Angstrom, the energy of unit charges in a solvent of infinite permittivity."""
    return squares.rsqrt() - (squares + _BORN**2 * torch.exp(-squares / (2 * _BORN) ** 2)).rsqrt()


def _interactions(batch: PlacementBatch, k: int, strengths: Tensor, local: Tensor, length: Tensor, angle: Tensor, turns: Tensor) -> Tensor:
    """Of the atom of a step k with those in `local`, (B, n), where it is at n dihedrals."""
    m = local.shape[1]
    along, aside = length * angle.cos(), length * angle.sin()
    fixed = local.square().sum(-1) + (length.square()[:, None] - 2 * along[:, None] * local[..., 2])
    x, y = (2 * aside[:, None] * local[..., axis] for axis in (0, 1))
    squares = (fixed[:, None] - turns.cos()[:, None] * x[:, None] - turns.sin()[:, None] * y[:, None]).clamp_min(_NEAREST)
    charge, sigma, depth = (batch.numbers[:, column] for column in range(3))
    thermal = _THERMAL * batch.numbers[k, 3].exp()
    ratio = (1.5 * (sigma[k] + sigma[:m])).pow(6) / squares.pow(3)
    lennard_jones = 4 * depth[k] * depth[:m] / thermal * (ratio.square() - ratio)
    lennard_jones = torch.where(lennard_jones > 0, lennard_jones / (1 + lennard_jones / _HIGHEST), lennard_jones)
    screened = _screened(squares)
    charges = _COULOMB / thermal * charge[k] * charge[:m]
    total = lennard_jones @ strengths[:, 0] + screened @ (charges * strengths[:, 1] + 3 * strengths[:, 2])
    for column, width in enumerate(_RANGES, 3):
        total = total + torch.exp(-0.5 * squares / width**2) @ strengths[:, column]
    return total


def on_nodes(profiles: Tensor, nodes: int) -> Tensor:
    """Profiles (B, n, few) at more nodes, (B, n, nodes), linear in between."""
    return interpolate(profiles, nodes, mode="linear", align_corners=True)
