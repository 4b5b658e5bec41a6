"""PlacementArrays: what a network is told of a molecule whose atoms are placed one after the other."""

from __future__ import annotations

import dataclasses
import functools

from torch import Tensor

from .features import TensorRecord

NUMBERS = 24
"""Numbers that describe a step beside its atoms; see `generators.boltzmann.inputs`."""


@dataclasses.dataclass(frozen=True)
class PlacementArrays(TensorRecord):
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

    def _with_dihedral(self, chosen: Tensor) -> Tensor:
        # kept, since looking for what is true makes a GPU wait
        return chosen[3:].nonzero()[:, 0] + 3
