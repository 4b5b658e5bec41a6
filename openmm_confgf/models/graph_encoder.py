"""What a network that sees all pairs of atoms knows of a molecule before it sees a conformation.

States ``a_i`` of atoms and ``p_ij = p_ji`` of pairs are sums of embeddings of the columns of `GraphFeatures`
(``p_ij`` also of the distance bounds ``l_ij``, ``u_ij``). ``LN`` is a layer norm, ``MLP`` two linear layers with SiLU between them
(each its own), and ``meet(a_i, a_j) = A a_i + A a_j + (B a_i) (B a_j)``, elementwise. Each graph layer::

    p_ij += MLP(LN p_ij + meet(LN a_i, LN a_j))
    a_i  += MLP[LN a_i, 1/4 sum_j silu(p_ij)]

Then each pair has R reference distances and their widths, where ``w_ij = (u_ij - l_ij) / 2``, ``(b_k, c_k) = MLP(p_ij)`` and ``g_k``
are evenly spaced from -3/4 to 3/4 (the bounds are cut off at 20 Angstrom, w at 5, and c at -6 and 3)::

    r_ijk = (u_ij + l_ij) / 2 + (w_ij + 0.05) (g_k + b_k)          in Angstrom
    s_ijk = (w_ij + 0.05) / 4 exp(c_k)
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import ATOM_VOCABULARY, PAIR_VOCABULARY, GraphBatch


class EncoderSizes(Protocol):
    """Sizes of a `GraphEncoder`: C and H, numbers of a pair's and of an atom's state; R, reference distances of each pair; its layers."""

    @property
    def pair_width(self) -> int: ...
    @property
    def atom_width(self) -> int: ...
    @property
    def references(self) -> int: ...
    @property
    def graph_layers(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class EncodedGraph:
    """What the network knows of molecules before it sees a conformation; computed once for all calls.

    Attributes
    ----------
    batch : GraphBatch
    atoms : Tensor, (M, N, H)
    pairs : Tensor, (M, P, C)
    reference : Tensor, (M, P, R)
        Learned reference distances in Angstrom.
    spread : Tensor, (M, P, R)
        Their learned widths in Angstrom.
    present : Tensor, (M, P, 1)
        1 for a pair, 0 for padding.
    corners : Tensor, (M, N, Q)
        1 where the atom is one of the tetrahedron's four.
    """

    batch: GraphBatch
    atoms: Tensor
    pairs: Tensor
    reference: Tensor
    spread: Tensor
    present: Tensor
    corners: Tensor


class GraphEncoder(nn.Module):
    """States of atoms and pairs, and the reference distances of pairs. What sees conformations is derived from it.

    Parameters
    ----------
    config : EncoderSizes
    """

    def __init__(self, config: EncoderSizes) -> None:
        super().__init__()
        c, h = config.pair_width, config.atom_width
        self.config = config
        self.atom_embeddings = nn.ModuleList(nn.Embedding(n, h) for n in ATOM_VOCABULARY)
        self.pair_embeddings = nn.ModuleList(nn.Embedding(n, c) for n in PAIR_VOCABULARY)
        self.bounds = nn.Linear(3, c)
        self.graph_layers = nn.ModuleList(_GraphLayer(c, h) for _ in range(config.graph_layers))
        self.references = mlp(c, c, 2 * config.references)

    def encode(self, batch: GraphBatch) -> EncodedGraph:
        """Embed molecules and their pairs, and learn each pair's reference distances from the graph alone.

        Parameters
        ----------
        batch : GraphBatch
            M molecules of up to N atoms.

        Returns
        -------
        EncodedGraph
        """
        atoms = sum(e(batch.atoms[..., k]) for k, e in enumerate(self.atom_embeddings))
        pairs = sum(e(batch.pairs[..., k]) for k, e in enumerate(self.pair_embeddings))
        lower, upper = batch.bounds.unbind(-1)
        pairs = pairs + self.bounds(torch.stack([lower, upper.clamp(max=20), (upper - lower).clamp(max=20)], -1) / 5)
        present = batch.pair_mask.unsqueeze(-1).to(pairs.dtype)
        for layer in self.graph_layers:
            atoms, pairs = layer(atoms, pairs, batch.pair_index, present)
        shift, width = self.references(pairs).chunk(2, dim=-1)
        ladder = torch.linspace(-0.75, 0.75, self.config.references, device=shift.device, dtype=shift.dtype)
        half = (upper - lower).clamp(max=10).unsqueeze(-1) / 2
        reference = (upper.clamp(max=20) + lower).unsqueeze(-1) / 2 + (half + 0.05) * (ladder + shift)
        spread = (half + 0.05) / 4 * torch.exp(width.clamp(-6, 3))
        corners = F.one_hot(batch.tetrahedra, atoms.shape[1]).sum(-2).transpose(-2, -1).to(pairs.dtype)
        return EncodedGraph(batch, atoms, pairs, reference, spread, present, corners)


class _GraphLayer(nn.Module):
    """Messages along all pairs of the graph, gated by the pair's topology."""

    def __init__(self, c: int, h: int) -> None:
        super().__init__()
        self.from_atoms = nn.Linear(h, 2 * c, bias=False)
        self.pair = mlp(c, c, c)
        self.atom = mlp(h + c, h, h)
        self.pair_norm, self.atom_norm = nn.LayerNorm(c), nn.LayerNorm(h)

    def forward(self, atoms: Tensor, pairs: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        met = meet(self.from_atoms(self.atom_norm(atoms)), *index.T)
        pairs = pairs + self.pair(self.pair_norm(pairs) + met)
        atoms = atoms + self.atom(torch.cat([self.atom_norm(atoms), to_atoms(F.silu(pairs) * present, index, atoms.shape[-2]) / 4], -1))
        return atoms, pairs


def meet(atoms: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """A symmetric function of the states (..., N, 2C) of a pair's atoms: the sum of one half and the product of the other, (..., P, C)."""
    (plus_i, times_i), (plus_j, times_j) = (atoms.index_select(-2, k).chunk(2, dim=-1) for k in (i, j))
    return plus_i + plus_j + times_i * times_j


def to_atoms(values: Tensor, index: Tensor, n_atoms: int, sign: int = 1) -> Tensor:
    """Sums over pairs of the values (..., P, W) on their first atoms, and `sign` times on their second, (..., N, W)."""
    zero = values.new_zeros(*values.shape[:-2], n_atoms, values.shape[-1])
    return zero.index_add(-2, index[:, 0], values).index_add(-2, index[:, 1], values, alpha=sign)


def mlp(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))
