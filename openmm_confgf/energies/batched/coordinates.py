"""Frames: a batch of positions with the batch last, and the internal coordinates that forces are functions of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...molecules.geometry import dihedral_angle

RESOLUTION = 1e-5
"""Length (nm) that decides whether three atoms have an angle and span a plane; where they do not, what depends on it is NaN.

Three atoms a, b, c have an angle if both bonds are longer, and span a plane if ``|ab x bc| / max(|ab|, |bc|)`` is: the lesser of the two
bonds times the sine of the angle between them. Bonds of 0.1 nm do not span one within 1e-4 radians (0.006 degrees) of a line.

A dihedral is wrong by up to ``2 d / RESOLUTION`` radians where positions are wrong by d. In float32 they are, from rounding, by 1e-7 nm in
a molecule of 2 nm: 0.02 radians or, in a torsion with a barrier of 10 kJ/mol, 0.1 kT; in float64 by 1e-10 kT. It is single precision that
sets the length, for both, since a conformation's status must depend neither on the precision nor on the platform. Dynamics comes that near
a line once in a million frames of an angle that is straight on average and bends by 0.1 radians.
"""


class Frames:
    """Positions of a batch. The batch is the last axis, so that each operation runs along contiguous memory.

    Parameters
    ----------
    positions : Tensor, (3, N, B)
        nm.
    """

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions
        self.known: dict[nn.Module, Tensor] = {}

    def atoms(self, index: Tensor) -> Tensor:
        """Positions of some atoms, in this order.

        Parameters
        ----------
        index : Tensor of int64, (T,)

        Returns
        -------
        Tensor, (3, T, B)
            nm.
        """
        return self.positions.index_select(1, index)


class InternalCoordinate(nn.Module):
    """Distances of pairs, angles of triples or dihedrals of quadruples of atoms.

    Calling it with `Frames` gives them, (T, B) in nm or radians; forces that share it share the work.

    Parameters
    ----------
    atoms : Tensor of int64, (T, 2), (T, 3) or (T, 4)
    """

    def __init__(self, atoms: Tensor) -> None:
        super().__init__()
        self.width = atoms.shape[1]
        for k in range(self.width):
            self.register_buffer(f"atoms_{k}", atoms[:, k].contiguous())

    def __len__(self) -> int:
        return len(self.column(0))

    def column(self, k: int) -> Tensor:
        """The k-th atom of each row.

        Parameters
        ----------
        k : int
            From 0 to 1, 2 or 3.

        Returns
        -------
        Tensor of int64, (T,)
        """
        return self.get_buffer(f"atoms_{k}")

    def forward(self, frames: Frames) -> Tensor:
        """The coordinates of a batch, which are kept in `frames` for the next force that asks for them.

        Distances are ``|r_a - r_b|``; angles are ``atan2(|u x v|, u . v)`` with u and v from the middle atom to the others, exact near
        0 and pi as well; dihedrals have the IUPAC sign (`molecules.geometry.dihedral_angle`).

        Parameters
        ----------
        frames : Frames

        Returns
        -------
        Tensor, (T, B)
            nm or radians; NaN where `RESOLUTION` says that there is no angle.
        """
        if self not in frames.known:
            frames.known[self] = _FORMULAS[self.width](*(frames.atoms(self.column(k)) for k in range(self.width)))
        return frames.known[self]


def _length(a: Tensor, b: Tensor) -> Tensor:
    vector = a - b
    return _root((vector * vector).sum(0))


def _root(square: Tensor) -> Tensor:
    """Square root whose derivative is taken as 0 at 0, where there is none: a spring between atoms in one place pulls nowhere."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)


def _angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    to_a, to_c = a - b, c - b
    normal = torch.linalg.cross(to_a, to_c, dim=0)
    sine, cosine = _root((normal * normal).sum(0)), (to_a * to_c).sum(0)
    shorter = torch.minimum((to_a.detach() ** 2).sum(0), (to_c.detach() ** 2).sum(0))
    return torch.where(shorter > RESOLUTION**2, torch.atan2(sine, cosine), torch.nan)


def _dihedral(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return dihedral_angle(b - a, c - b, d - c, dim=0, resolution=RESOLUTION)


_FORMULAS: dict[int, Callable[..., Tensor]] = {2: _length, 3: _angle, 4: _dihedral}
