"""Velocity fields, and their exact divergences in three ways that agree.

A field is called with times and positions. `backward` and `forward` know nothing else of it; `structured` reads the layers of an
`EGNN`, and is the fastest (devtools/benchmarks/exact_trace.py measures all). Estimates from random vectors (Hutchinson) are not here:
their noise would be in every weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, Self

import torch
from torch import Tensor

from ..errors import WrongTypeError, type_text
from .egnn import EGNN
from .egnn_trace import egnn_divergence

Divergence = Callable[["VelocityField", Tensor, Tensor], tuple[Tensor, Tensor]]
"""Velocity (B, N, 3) and its divergence (B,), from a field, times () or (B,) and positions (B, N, 3)."""

TANGENTS = 2**14
"""Coordinates of tangents that `forward` carries at once; a layer of an EGNN makes some thousand numbers of each."""


class VelocityField(Protocol):
    """What a flow is made of: velocities of B conformations at their times."""

    @property
    def mask(self) -> Tensor | None:
        """True for an atom, False for padding, whose velocity is 0, (B, N) of bool; None where all are atoms."""

    def __call__(self, t: Tensor, positions: Tensor) -> Tensor:
        """Velocities (B, N, 3) at times () or (B,) and positions (B, N, 3), without a mean; in the type of its parameters."""

    def rows(self, chosen: Tensor) -> Self:
        """The field of some of the B conformations, by a Tensor of int64 (b,)."""


@dataclasses.dataclass(frozen=True)
class MolecularField:
    """An `EGNN` that has been told of its atoms.

    Attributes
    ----------
    network : EGNN
    features : Tensor, (N, atom_features) or (B, N, atom_features)
        The former for conformations of one molecule.
    mask : Tensor of bool, (B, N), optional
        True for an atom, False for padding.
    """

    network: EGNN
    features: Tensor
    mask: Tensor | None = None

    def __call__(self, t: Tensor, positions: Tensor) -> Tensor:
        """`EGNN.forward`, in the type of the network's parameters.

        Parameters
        ----------
        t : Tensor, () or (B,)
        positions : Tensor, (B, N, 3)

        Returns
        -------
        Tensor, (B, N, 3)
        """
        return self.network(t, positions.to(self.features.dtype), self.features, self.mask)

    def rows(self, chosen: Tensor) -> Self:
        """The field of some of the conformations.

        Parameters
        ----------
        chosen : Tensor of int64, (b,)

        Returns
        -------
        MolecularField
        """
        features = self.features[chosen] if self.features.ndim == 3 else self.features
        return dataclasses.replace(self, features=features, mask=None if self.mask is None else self.mask[chosen])


def backward(field: VelocityField, t: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """One backward pass for each coordinate, as published; for comparison.

    Parameters
    ----------
    field : VelocityField
    t : Tensor, () or (B,)
    positions : Tensor, (B, N, 3)

    Returns
    -------
    velocity : Tensor, (B, N, 3)
    divergence : Tensor, (B,)
    """
    with torch.enable_grad():
        positions = positions.detach().requires_grad_()
        velocity = field(t, positions)
        # velocities of one conformation depend on no other, so that one pass serves all of the batch
        columns = velocity.flatten(1).sum(0)
        found = velocity.new_zeros(len(positions))
        for k, column in enumerate(columns):
            (gradient,) = torch.autograd.grad(column, positions, retain_graph=k < len(columns) - 1)
            found = found + gradient.flatten(1)[:, k]
    return velocity.detach(), found


def forward(field: VelocityField, t: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Directional derivatives along all coordinates, many at once (`torch.func.jvp` under `torch.func.vmap`), in bounded memory.

    Parameters
    ----------
    field : VelocityField
    t : Tensor, () or (B,)
    positions : Tensor, (B, N, 3)

    Returns
    -------
    velocity : Tensor, (B, N, 3)
    divergence : Tensor, (B,)
    """
    size = positions[0].numel()
    basis = torch.eye(size, dtype=positions.dtype, device=positions.device).view(size, 1, *positions.shape[1:])

    def along(direction: Tensor) -> Tensor:
        moved: Tensor = torch.func.jvp(lambda x: field(t, x), (positions,), (direction.expand_as(positions),))[1]
        return (moved * direction).sum((-2, -1))

    chunk = max(1, TANGENTS // positions.numel())
    return field(t, positions), torch.func.vmap(along, chunk_size=chunk)(basis).sum(0)


def structured(field: VelocityField, t: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of an EGNN's layers in closed form (models/egnn_trace.py).

    Parameters
    ----------
    field : MolecularField
    t : Tensor, () or (B,)
    positions : Tensor, (B, N, 3)

    Returns
    -------
    velocity : Tensor, (B, N, 3)
    divergence : Tensor, (B,)

    Raises
    ------
    WrongTypeError
        If the field is another one.
    """
    if not isinstance(field, MolecularField):
        raise WrongTypeError(f"The divergence in closed form is that of a MolecularField, and this is {type_text(field)}; use forward.")
    return egnn_divergence(field.network, t, positions.to(field.features.dtype), field.features, field.mask)


def exact_divergence(field: VelocityField, t: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """What flows use: `structured` of an EGNN, `forward` of others, which keeps no graph of the batch.

    Parameters
    ----------
    field : VelocityField
    t : Tensor, () or (B,)
    positions : Tensor, (B, N, 3)

    Returns
    -------
    velocity : Tensor, (B, N, 3)
    divergence : Tensor, (B,)
    """
    return (structured if isinstance(field, MolecularField) else forward)(field, t, positions)
