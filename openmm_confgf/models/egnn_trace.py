r"""The exact divergence of an `EGNN`, by the derivatives of its layers in closed form.

Tangents are carried forward, one column ``t = 1..3N`` for each coordinate at input: ``X`` of positions and ``H`` of states. What costs is
the messages. Their derivative by the argument ``a_ij`` of the first activation, with ``W`` the weights of the second linear map, is::

    dm_ij = diag(e_ij) W diag(f_ij) da_ij + p_ij (g_ij . da_ij)
    da_ij = A H_i + B H_j + c d(d_ij^2) + c0 d(d0_ij^2)

where ``f = silu'(a)``, ``e`` is the gate times the slope of the second activation, and ``g`` the gradient of the gate. In its sum over j

- *the part of H_i* is a matrix for each atom, and ``sum_j diag(e_ij) W diag(f_ij)`` is the elementwise product of W and
  ``sum_j e_ij f_ij^T``: nothing is done for each pair and column;
- *what is one number for a pair*, as the gate and the tanh that moves the atoms are, has a gradient that is worked out once for the
  pair, in reverse, and meets the tangents in a scalar product;
- *the part of H_j* is what is left for each pair, column and channel: one product of matrices with two scalings, in blocks that stay in
  the cache. The first layer has no such part, since its states depend on no position, nor the last one, of which only moves are read.

A backward pass has four such products for each pair and coordinate in every layer, and the slopes of all activations.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .egnn import EGNN, Edges, EGNNLayer, edge_mask, masked_positions, pair_geometry, without_mean

BLOCK = 2**17
"""Numbers for pairs, columns and channels that are there at once: so many stay in the cache of a processor."""

GPU_BLOCK = 2**28
"""The same on a GPU, which wants large products."""


def egnn_divergence(network: EGNN, t: Tensor, positions: Tensor, features: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Velocity and its exact divergence; arguments as those of `EGNN.forward`.

    Parameters
    ----------
    network : EGNN
    t : Tensor, () or (B,)
    positions : Tensor, (B, N, 3)
    features : Tensor, (B, N, atom_features) or (N, atom_features)
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    velocity : Tensor, (B, N, 3)
    divergence : Tensor, (B,)
        ``sum_i dv_i/dx_i`` over the atoms. The mean that is taken from the velocity has none, since no translation changes the velocity.
    """
    b, n, _ = positions.shape
    start, present = masked_positions(positions, mask), edge_mask(positions, mask)
    x, h = start, network.embed(t, positions, features)
    tangent = torch.eye(3 * n, dtype=x.dtype, device=x.device).view(3 * n, n, 3).transpose(0, 1).expand(b, n, 3 * n, 3)
    states: Tensor | None = None
    divergence = x.new_zeros(b)
    for k, layer in enumerate(cast("list[EGNNLayer]", network.layers)):
        difference, squared, distance = pair_geometry(x)
        stretch = _stretch(difference, tangent)
        if k == 0:
            squared_at_input, stretch_at_input = squared, stretch
        edges = layer.edges(h, torch.cat([squared, squared_at_input], -1), present)
        messages = _MessageDerivative(layer, edges, states, stretch, stretch_at_input)
        scale = network.reach / (distance + 1)
        moved = _moved(difference, distance, scale, edges.bounded, messages.bounded, stretch, tangent)
        divergence = divergence + moved.view(b, n, n, 3, 3).diagonal(dim1=1, dim2=2).diagonal(dim1=1, dim2=2).sum((1, 2))
        x = x + (difference * (scale * edges.bounded)).sum(-2)
        tangent = tangent + moved
        if layer.updates:
            argument = layer.node_argument(h, edges.message.sum(-2))
            own, sums = layer.node_in.weight.split(layer.width, 1)
            inner = F.linear(messages.received(), sums)
            if states is not None:
                inner += F.linear(states, own)
            inner *= _silu_slope(argument).unsqueeze(-2)
            outer = F.linear(inner, layer.node_out.weight)
            states = outer if states is None else outer.add_(states)
            h = h + layer.node_out(F.silu(argument))
    return without_mean(x - start, mask), divergence


def _silu_slope(x: Tensor) -> Tensor:
    """Derivative of ``x sigmoid(x)``."""
    sigmoid = torch.sigmoid(x)
    return sigmoid.addcmul(sigmoid * (1 - sigmoid), x)


def _stretch(difference: Tensor, tangent: Tensor) -> Tensor:
    """Tangents (B, i, T, j) of squared distances, ``2 (x_i - x_j) . (X_i - X_j)``."""
    own = tangent @ difference.transpose(-1, -2)
    return 2 * (own + own.transpose(1, 3))


def _moved(
    difference: Tensor, distance: Tensor, scale: Tensor, bounded: Tensor, bounded_tangent: Tensor, stretch: Tensor, tangent: Tensor
) -> Tensor:
    """Tangents (B, N, T, 3) of ``sum_j (x_i - x_j) scale_ij bounded_ij``, where ``scale = reach / (distance + 1)``."""
    b, n, columns, _ = tangent.shape
    shift = scale * bounded
    slope = shift / (2 * distance * (distance + 1))
    along = scale.transpose(-1, -2) * bounded_tangent - slope.transpose(-1, -2) * stretch
    flat = tangent.reshape(b, n, 3 * columns)
    straight = shift.sum(-2) * flat - shift.squeeze(-1) @ flat
    return along @ difference + straight.view(b, n, columns, 3)


class _MessageDerivative:
    """Tangents of what a layer makes of the pairs, from those of states (B, N, T, W) and squared distances (B, i, T, j)."""

    def __init__(self, layer: EGNNLayer, edges: Edges, states: Tensor | None, stretch: Tensor, stretch_at_input: Tensor) -> None:
        own, other, lengths = layer.edge_in.weight.split([layer.width, layer.width, 2], 1)
        self.weight, self.by_length, self.ungated = layer.edge_out.weight, lengths.T, edges.ungated
        self.states = None if states is None else (F.linear(states, own), F.linear(states, other))
        self.stretch, self.stretch_at_input = stretch, stretch_at_input
        slope = _silu_slope(edges.second)
        self.inner, self.outer = _silu_slope(edges.first), edges.opened * slope
        # gradients of what is one number for a pair, by the argument of the first activation
        gate = (edges.opened - edges.opened.square()) * self.inner * ((slope * layer.gate.weight) @ self.weight)
        self.gate = self._scalar(gate)
        by_message = (_silu_slope(edges.third) * layer.shift_out.weight) @ layer.shift_in.weight
        bounded = self.inner * ((self.outer * by_message) @ self.weight) + (by_message * self.ungated).sum(-1, keepdim=True) * gate
        self.bounded = self._scalar((1 - edges.bounded.square()) * bounded)

    def _scalar(self, gradient: Tensor) -> Tensor:
        """Tangents (B, i, T, j) of one number for each pair from its gradient (B, i, j, W)."""
        now, at_input = (gradient @ self.by_length.T).unsqueeze(-3).unbind(-1)
        found = now * self.stretch
        found.addcmul_(at_input, self.stretch_at_input)
        if self.states is not None:
            own, other = self.states
            found += own @ gradient.transpose(-1, -2)
            found += (other @ gradient.permute(0, 2, 3, 1)).transpose(1, 3)
        return found

    def received(self) -> Tensor:
        """Tangents (B, N, T, W) of the sums of messages."""
        by_length = [self.outer * ((self.inner * lengths) @ self.weight.T) for lengths in self.by_length]
        found = torch.cat([self.gate, self.stretch, self.stretch_at_input], -1) @ torch.cat([self.ungated, *by_length], -2)
        if self.states is not None:
            own, other = self.states
            found += own @ (self.weight * (self.outer.transpose(2, 3) @ self.inner)).transpose(2, 3)
            self._add_others(found, other)
        return found

    def _add_others(self, found: Tensor, other: Tensor) -> None:
        """Add ``sum_j diag(e_ij) W diag(f_ij) other_j``, a block after the other."""
        b, n, columns, width = found.shape
        block = BLOCK if found.device.type == "cpu" else GPU_BLOCK
        atoms = min(n, max(1, block // (n * columns * width)))
        samples = max(1, block // (atoms * n * columns * width))
        for first in range(0, b, samples):
            some = slice(first, first + samples)
            for begin in range(0, n, atoms):
                rows = slice(begin, begin + atoms)
                arrived = F.linear(self.inner[some, rows].unsqueeze(-2) * other[some].unsqueeze(1), self.weight)
                arrived *= self.outer[some, rows].unsqueeze(-2)
                found[some, rows] += arrived.sum(2)
