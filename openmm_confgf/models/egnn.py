"""EGNN: the velocity field of transferable Boltzmann generators, on all pairs of atoms.

The network is that of Klein & Noe (NeurIPS 2024, doi:10.48550/arXiv.2406.14426) after Satorras, Hoogeboom & Welling (ICML 2021,
doi:10.48550/arXiv.2102.09844). Atoms have states ``h_i`` of `width` numbers. With ``d0_ij`` the distance at input, each layer is::

    d_ij = sqrt(|x_i - x_j|^2 + 1e-8)
    p_ij = silu W2 silu W1 [h_i, h_j, |x_i - x_j|^2, d0_ij^2]
    m_ij = sigmoid(w_g p_ij) p_ij
    x_i += sum_j (x_i - x_j) / (d_ij + 1) * 15 / layers * tanh(w_x silu W_x m_ij)
    h_i += MLP [h_i, sum_j m_ij]

It begins with ``h_i = linear [features_i, t]``, and the velocity is ``x_i`` at the end less that at the start, without its mean. The last
layer's states are read by nobody, so that they are left out here.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RANGE = 15.0
"""How far all layers together can move an atom for each other atom, in the units of the positions."""

_SOFT = 1e-8
"""Added to squared distances under the root, whose derivative it keeps finite."""


@dataclasses.dataclass(frozen=True)
class EGNNConfig:
    """Sizes of an `EGNN`; the defaults are those published for alanine dipeptide.

    Attributes
    ----------
    atom_features : int
        Numbers that tell one atom from another at input (one-hot).
    width : int
        Of the states of atoms and of edges.
    layers : int
    """

    atom_features: int = 9
    width: int = 64
    layers: int = 5


@dataclasses.dataclass(frozen=True)
class Edges:
    """What a layer makes of each ordered pair of atoms.

    Attributes
    ----------
    first, second : Tensor, (B, N, N, width)
        Before the two activations of the message.
    opened : Tensor, (B, N, N, 1)
        The gate, 0 where there is no edge.
    ungated, message : Tensor, (B, N, N, width)
        ``p_ij`` and ``m_ij`` above.
    third : Tensor, (B, N, N, width)
        Before the activation of the coordinates' network.
    bounded : Tensor, (B, N, N, 1)
        The tanh, 0 where there is no edge.
    """

    first: Tensor
    second: Tensor
    opened: Tensor
    ungated: Tensor
    message: Tensor
    third: Tensor
    bounded: Tensor


class EGNNLayer(nn.Module):
    """One layer.

    Parameters
    ----------
    width : int
    updates : bool
        Whether the states of the atoms are brought up to date too.
    """

    def __init__(self, width: int, updates: bool) -> None:
        super().__init__()
        self.width, self.updates = width, updates
        self.edge_in, self.edge_out, self.gate = nn.Linear(2 * width + 2, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.shift_in, self.shift_out = nn.Linear(width, width), nn.Linear(width, 1, bias=False)
        nn.init.xavier_uniform_(self.shift_out.weight, gain=0.001)
        if updates:
            self.node_in, self.node_out = nn.Linear(2 * width, width), nn.Linear(width, width)

    def edges(self, h: Tensor, squared: Tensor, present: Tensor) -> Edges:
        """The messages and what moves the atoms.

        Parameters
        ----------
        h : Tensor, (B, N, width)
        squared : Tensor, (B, N, N, 2)
            Squared distances now and at input.
        present : Tensor, (B or 1, N, N, 1)
            1 for an edge, else 0.

        Returns
        -------
        Edges
        """
        # the first linear map in parts, so that those of the atoms are worked out once an atom and not once a pair
        own, other, lengths = self.edge_in.weight.split([self.width, self.width, 2], 1)
        first = F.linear(squared, lengths) + (F.linear(h, own, self.edge_in.bias).unsqueeze(-2) + F.linear(h, other).unsqueeze(-3))
        second = self.edge_out(F.silu(first))
        ungated = F.silu(second)
        opened = torch.sigmoid(self.gate(ungated)) * present
        message = opened * ungated
        third = self.shift_in(message)
        return Edges(first, second, opened, ungated, message, third, torch.tanh(self.shift_out(F.silu(third))) * present)

    def node_argument(self, h: Tensor, received: Tensor) -> Tensor:
        """What the activation of the atoms' network sees.

        Parameters
        ----------
        h, received : Tensor, (B, N, width)
            States, and the sums of messages.

        Returns
        -------
        Tensor, (B, N, width)
        """
        return self.node_in(torch.cat([h, received], -1))


class EGNN(nn.Module):
    """A velocity field that turns, reflects and permutes with the positions, and that no translation changes.

    Parameters
    ----------
    config : EGNNConfig
    """

    def __init__(self, config: EGNNConfig = EGNNConfig()) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.atom_features + 1, config.width)
        self.layers = nn.ModuleList(EGNNLayer(config.width, updates=k < config.layers - 1) for k in range(config.layers))

    @property
    def reach(self) -> float:
        """What each layer multiplies the tanh by."""
        return RANGE / self.config.layers

    def embed(self, t: Tensor, positions: Tensor, features: Tensor) -> Tensor:
        """States of the atoms at input, which depend on no position.

        Parameters
        ----------
        t : Tensor, () or (B,)
        positions : Tensor, (B, N, 3)
        features : Tensor, (B, N, atom_features) or (N, atom_features)

        Returns
        -------
        Tensor, (B, N, width)
        """
        shape = positions.shape[:2]
        time = t.to(positions.dtype).expand(shape[0])[:, None, None].expand(*shape, 1)
        return self.embedding(torch.cat([features.to(positions.dtype).expand(*shape, -1), time], -1))

    def forward(self, t: Tensor, positions: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """The velocity at a time.

        Parameters
        ----------
        t : Tensor, () or (B,)
            Between 0, where the noise is, and 1, where the molecules are.
        positions : Tensor, (B, N, 3)
            In the network's own unit of length; padding is ignored.
        features : Tensor, (B, N, atom_features) or (N, atom_features)
        mask : Tensor of bool, (B, N), optional
            True for an atom, False for padding.

        Returns
        -------
        Tensor, (B, N, 3)
            Its mean over the atoms is 0; padding does not move.
        """
        start, present = masked_positions(positions, mask), edge_mask(positions, mask)
        x, h = start, self.embed(t, positions, features)
        at_input = None
        for layer in cast("list[EGNNLayer]", self.layers):
            difference, squared, distance = pair_geometry(x)
            at_input = squared if at_input is None else at_input
            found = layer.edges(h, torch.cat([squared, at_input], -1), present)
            x = x + self.reach * (difference / (distance + 1) * found.bounded).sum(-2)
            if layer.updates:
                h = h + layer.node_out(F.silu(layer.node_argument(h, found.message.sum(-2))))
        return without_mean(x - start, mask)


def pair_geometry(positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences ``x_i - x_j`` of all atoms, their squared lengths and their softened lengths.

    Parameters
    ----------
    positions : Tensor, (B, N, 3)

    Returns
    -------
    Tensor, (B, N, N, 3)
    squared, distance : Tensor, (B, N, N, 1)
    """
    difference = positions.unsqueeze(-2) - positions.unsqueeze(-3)
    squared = difference.square().sum(-1, keepdim=True)
    return difference, squared, torch.sqrt(squared + _SOFT)


def edge_mask(positions: Tensor, mask: Tensor | None) -> Tensor:
    """1 for two different atoms, 0 for an atom with itself and for padding.

    Parameters
    ----------
    positions : Tensor, (B, N, 3)
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor, (B or 1, N, N, 1)
        Of the type of the positions.
    """
    different = ~torch.eye(positions.shape[-2], dtype=torch.bool, device=positions.device)[None]
    if mask is not None:
        different = different & mask[:, :, None] & mask[:, None]
    return different.unsqueeze(-1).to(positions.dtype)


def masked_positions(positions: Tensor, mask: Tensor | None) -> Tensor:
    """Positions with padding at 0, whatever it was.

    Parameters
    ----------
    positions : Tensor, (B, N, 3)
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor, (B, N, 3)
    """
    return positions if mask is None else positions.masked_fill(~mask.unsqueeze(-1), 0.0)


def without_mean(vectors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Vectors less their mean over the atoms; padding gets 0.

    Parameters
    ----------
    vectors : Tensor, (B, N, 3)
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor, (B, N, 3)
    """
    if mask is None:
        return vectors - vectors.mean(-2, keepdim=True)
    vectors, real = masked_positions(vectors, mask), mask.unsqueeze(-1).to(vectors.dtype)
    return (vectors - vectors.sum(-2, keepdim=True) / real.sum(-2, keepdim=True)) * real
