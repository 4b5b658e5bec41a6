"""Attention over the atoms of a molecular graph, which sees no positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GraphAttention(nn.Module):
    """Self-attention of the atoms with a bias of each pair, and a feed-forward network (pre-normalised)."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, bias: Tensor) -> Tensor:
        """One layer.

        Parameters
        ----------
        h : Tensor, (N, width)
        bias : Tensor, (heads, N, N)

        Returns
        -------
        Tensor, (N, width)
        """
        n, width = h.shape
        q, k, v = self.qkv(self.norm(h)).view(n, 3, self.heads, width // self.heads).permute(1, 2, 0, 3)
        attention = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + bias, -1)
        h = h + self.out((attention @ v).transpose(0, 1).reshape(n, width))
        return h + self.feed(self.second_norm(h))
