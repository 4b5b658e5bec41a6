"""The density of many conformations in pieces, side by side on the cores, forwards and backwards."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..threads import each_on_a_core
from .autoregressive import AutoregressiveDensity, Static
from .placement_batch import PlacementBatch

_ROWS = 160
"""Conformations of a piece at most, however many cores there are: fewer, and what is done once for each piece costs too much."""


def log_prob_in_pieces(network: AutoregressiveDensity, batch: PlacementBatch, coordinates: Tensor, placed: Tensor) -> Tensor:
    """As `AutoregressiveDensity.log_prob`; on a CPU in pieces.

    Parameters
    ----------
    network : AutoregressiveDensity
    batch : PlacementBatch
    coordinates, placed : Tensor, (B, N, 3)

    Returns
    -------
    Tensor, (B,)
        It can be differentiated with respect to the network's parameters, once.
    """
    count = -(-len(coordinates) // _ROWS)
    if count < 2 or coordinates.device.type != "cpu":
        return network.log_prob(batch, coordinates, placed)
    static = network.static(batch)
    known = {field.name: value for field in dataclasses.fields(static) if (value := getattr(static, field.name)) is not None}
    pieces = list(zip(coordinates.tensor_split(count), placed.tensor_split(count), strict=True))
    found: Tensor = _Pieces.apply(network, batch, pieces, torch.is_grad_enabled(), list(known), *known.values(), *network.parameters())
    return found


class _Pieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        network: AutoregressiveDensity,
        batch: PlacementBatch,
        pieces: list[tuple[Tensor, Tensor]],
        learning: bool,
        names: list[str],
        *of: Tensor,
    ) -> Tensor:
        known = [value.detach().requires_grad_(value.requires_grad) for value in of[: len(names)]]
        static, ctx.inputs = Static(**dict(zip(names, known, strict=True))), [*known, *of[len(names) :]]
        rounded, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

        def evaluate(piece: tuple[Tensor, Tensor]) -> Tensor:
            with torch.set_grad_enabled(learning), torch.autocast("cpu", dtype, enabled=rounded):
                return network.log_prob(batch, *piece, static)

        ctx.parts = each_on_a_core(evaluate, pieces, of[0].device)
        return torch.cat([part.detach() for part in ctx.parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sizes, wanted = [len(part) for part in ctx.parts], [each for each in ctx.inputs if each.requires_grad]

        def differentiate(part: tuple[Tensor, Tensor]) -> tuple[Tensor | None, ...]:
            # parts of the network that a molecule does not use are none of its gradient
            used = part[0].requires_grad
            return torch.autograd.grad(part[0], wanted, part[1], allow_unused=True) if used else (None,) * len(wanted)

        each = each_on_a_core(differentiate, list(zip(ctx.parts, gradients[0].split(sizes), strict=True)), gradients[0].device)
        sums = iter([sum(values) if values[0] is not None else None for values in zip(*each, strict=True)])
        return None, None, None, None, None, *(next(sums) if value.requires_grad else None for value in ctx.inputs)
