"""EnergyField: a scalar energy of a molecule's conformations, ``-log`` of the density of its conformers under noise, in kT.

States of atoms and pairs, reference distances ``r_ijk`` and widths ``s_ijk`` come from the graph (graph_encoder.py, whose ``LN``, ``MLP``
and ``meet`` are used here). A conformation x enters by its distances, at one noise sigma that the weights were made for::

    d_ij  = sqrt(|x_i - x_j|^2 + 1e-6)
    w_ijk = sqrt(2 sigma^2 + s_ijk^2),    z_ijk = (d_ij - r_ijk) / w_ijk
    q_ij  = p_ij + MLP(LN p_ij + linear [tanh z_ij, exp(-z_ij^2 / 2), radial(d_ij)] + meet(LN a_i, LN a_j))

which is the first look of a `PairField`. The representation is TorchMD-NET's equivariant transformer (Tholke and De Fabritiis, ICLR 2022,
doi:10.48550/arXiv.2202.02541, section 3.2) on the atoms ``linear LN a_i``, with ``silu(q_ij)`` in the place of its radial basis: scalars
``h_i`` and vectors on each atom that each of its layers brings up to date. The energy is a sum over pairs and atoms::

    F(x) = sum_ij [linear silu(q_ij) + sum_k (linear silu(p_ij))_k w_ijk log cosh z_ijk] + sum_i MLP(LN h_i)
    u(x) = F(x) / sigma

It does not change with rotations, translations and reflections, so that mirror images have equal energies. It is trained such that
``-grad u`` is the score of the noised density (training/objectives/energy_denoising.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import MissingPackageError
from .field import N_RADIAL, radial
from .graph_encoder import EncodedGraph, GraphEncoder, meet, mlp

CUTOFF = 12.0
"""Angstrom, where TorchMD-NET's messages have faded to nothing; pairs beyond it keep their own terms of the energy."""


@dataclasses.dataclass(frozen=True)
class EnergyFieldConfig:
    """Sizes of an `EnergyField`.

    Attributes
    ----------
    pair_width, atom_width, references, graph_layers : int
        As in `FieldConfig`.
    width, layers, heads : int
        Numbers on each atom in the equivariant transformer, its layers, and the heads of their attention, whose number divides `width`.
    sigma_pm : int
        The noise sigma in pm.
    """

    pair_width: int = 64
    atom_width: int = 96
    references: int = 4
    graph_layers: int = 3
    width: int = 32
    layers: int = 2
    heads: int = 4
    sigma_pm: int = 10


class EnergyField(GraphEncoder):
    """Energy of conformations in Angstrom, in kT.

    Parameters
    ----------
    config : EnergyFieldConfig

    Raises
    ------
    MissingPackageError
        If torchmd-net is not installed.
    """

    config: EnergyFieldConfig

    def __init__(self, config: EnergyFieldConfig = EnergyFieldConfig()) -> None:
        super().__init__(config)
        c, h, w = config.pair_width, config.atom_width, config.width
        layer = _attention_layer()
        self.from_geometry = nn.Linear(2 * config.references + N_RADIAL, c)
        self.from_atoms = nn.Linear(h, 2 * c, bias=False)
        self.pair = mlp(c, c, c)
        self.pair_norm, self.atom_norm = nn.LayerNorm(c), nn.LayerNorm(h)
        self.into_attention = nn.Linear(h, w)
        self.attention = nn.ModuleList(
            layer(w, c, "both", config.heads, nn.SiLU, "silu", 0.0, CUTOFF, vector_cutoff=True) for _ in range(config.layers)
        )
        self.out_norm, self.atom_energy = nn.LayerNorm(w), mlp(w, c, 1)
        self.pair_energy, self.response = nn.Linear(c, 1), nn.Linear(c, config.references)
        for linear in (self.pair_energy, self.response, self.atom_energy[2]):
            assert isinstance(linear, nn.Linear)
            nn.init.normal_(linear.weight, std=0.1 * linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)

    @property
    def sigma(self) -> float:
        """The noise in Angstrom."""
        return self.config.sigma_pm / 100

    def forward(self, graph: EncodedGraph, positions: Tensor) -> Tensor:
        """Energies of conformations.

        Parameters
        ----------
        graph : EncodedGraph of M molecules
        positions : Tensor, (M, K, N, 3)
            K conformations of each molecule, Angstrom; padding is ignored.

        Returns
        -------
        Tensor, (M, K)
            kT.
        """
        m, k, n = positions.shape[:3]
        molecule, pair = graph.batch.pair_mask.nonzero().T
        i, j = graph.batch.pair_index[pair].T
        # padded pairs are left out: E pairs of all molecules, (E, K, ...), and atoms of all conformations one after the other
        first = (molecule * k)[:, None] + torch.arange(k, device=molecule.device)
        at_i, at_j = (first * n + i[:, None]).flatten(), (first * n + j[:, None]).flatten()
        x = positions.reshape(-1, 3)
        difference = (x.index_select(0, at_i) - x.index_select(0, at_j)).view(-1, k, 3)
        distance = torch.sqrt((difference**2).sum(-1, keepdim=True) + 1e-6)

        known = graph.pairs[molecule, pair]
        width = torch.sqrt(2 * self.sigma**2 + graph.spread[molecule, pair] ** 2)[:, None]
        residual = (distance - graph.reference[molecule, pair][:, None]) / width
        geometric = torch.cat([torch.tanh(residual), torch.exp(-(residual**2) / 2), radial(distance)], -1)
        atoms = self.atom_norm(graph.atoms)
        met = meet(self.from_atoms(atoms).flatten(0, 1), molecule * n + i, molecule * n + j)
        state = known[:, None] + self.pair((self.pair_norm(known) + met)[:, None] + self.from_geometry(geometric))
        active = F.silu(state)
        pulled = (self.response(F.silu(known))[:, None] * width * _log_cosh(residual)).sum(-1)
        of_pairs = self.pair_energy(active).squeeze(-1) + pulled

        # so are padded atoms, whose numbers would be more than the largest that an edge has
        present = graph.batch.atom_mask[:, None].expand(-1, k, -1).flatten()
        place = present.cumsum(0) - 1
        edges = torch.stack([torch.cat([place[at_i], place[at_j]]), torch.cat([place[at_j], place[at_i]])])
        length, unit = distance.view(-1), (difference / distance).view(-1, 3)
        length, unit, active = length.repeat(2), torch.cat([unit, -unit]), active.flatten(0, 1).repeat(2, 1)
        h = self.into_attention(atoms)[:, None].expand(-1, k, -1, -1).reshape(-1, self.config.width)[present]
        vectors = h.new_zeros(len(h), 3, self.config.width)
        for layer in self.attention:
            scalars, turned = layer(h, vectors, edges, length, active, unit)
            h, vectors = h + scalars, vectors + turned
        of_atoms = self.atom_energy(self.out_norm(h)).squeeze(-1)
        conformation = torch.arange(m * k, device=present.device).repeat_interleave(n)[present]
        energies = of_pairs.new_zeros(m * k).index_add(0, conformation, of_atoms).view(m, k)
        return energies.index_add(0, molecule, of_pairs) / self.sigma

    def scores(self, graph: EncodedGraph, positions: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
        """Energies, and minus their gradients.

        Parameters
        ----------
        graph : EncodedGraph of M molecules
        positions : Tensor, (M, K, N, 3)
            Angstrom.
        training : bool
            Whether the scores have gradients themselves.

        Returns
        -------
        energies : Tensor, (M, K)
            kT.
        scores : Tensor, (M, K, N, 3)
            1/Angstrom.
        """
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            energies = self(graph, x)
            (gradient,) = torch.autograd.grad(energies.sum(), x, create_graph=training)
        return energies, -gradient


def _log_cosh(z: Tensor) -> Tensor:
    """``log cosh z``, without overflow."""
    size = z.abs()
    return size + F.softplus(-2 * size) - math.log(2)


def _attention_layer() -> type[nn.Module]:
    """TorchMD-NET's equivariant attention."""
    try:
        with _without_banners():
            from torchmdnet.models.torchmd_et import EquivariantMultiHeadAttention
    except ImportError as error:
        raise MissingPackageError("torchmd-net", str(error)) from error
    layer: type[nn.Module] = EquivariantMultiHeadAttention
    return layer


@contextlib.contextmanager
def _without_banners() -> Iterator[None]:
    """Warp, which torchmd-net imports, prints its devices, and its library complains of a missing GPU on stderr by itself."""
    with contextlib.suppress(ImportError):
        import warp

        warp.config.log_level = warp.LOG_WARNING
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
