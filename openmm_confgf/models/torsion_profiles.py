"""Torsion profiles: how the atom that is placed next, and what turns with it, interacts with those before it, all around its torsion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .carried_atoms import Carried
from .local_frames import TURN
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
    fold = batch.fold_orders[k]
    turn = torch.linspace(0, 1, nodes, device=local.device, dtype=torch.float64) * batch.width[k] + batch.start[k]
    turns = (turn + TURN / fold * torch.arange(fold, device=local.device)[:, None]).flatten().to(local)
    total = _interactions(batch, k, strengths, local, length, angle, turns)
    for atom, of_atom in carried:
        at, under = torch.full_like(length, 10 * atom.length), torch.full_like(angle, atom.angle)
        # a mean over the images of the fold, each of which carries all of them
        total = total + _interactions(batch, atom.step, of_atom / fold, local, at, under, turns + atom.turn)
    return -total.view(len(local), fold, nodes).sum(1)


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
    screened = squares.rsqrt() - (squares + _BORN**2 * torch.exp(-squares / (2 * _BORN) ** 2)).rsqrt()
    charges = _COULOMB / thermal * charge[k] * charge[:m]
    total = lennard_jones @ strengths[:, 0] + screened @ (charges * strengths[:, 1] + 3 * strengths[:, 2])
    for column, width in enumerate(_RANGES, 3):
        total = total + torch.exp(-0.5 * squares / width**2) @ strengths[:, column]
    return total


def on_nodes(profiles: Tensor, nodes: int) -> Tensor:
    """Profiles (B, n, few) at more nodes, (B, n, nodes), linear in between."""
    return interpolate(profiles, nodes, mode="linear", align_corners=True)
