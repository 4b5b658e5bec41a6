"""PairField: a denoiser made of pairwise pseudo-forces, with learned reference distances and a term that tells left from right.

The published ConfGF field (models/confgf.py) sees pairs up to three bonds apart and independently noised distances. This one
sees all pairs, noise on positions, and is unrolled: each block moves the atoms by the chain rule of its pair scores and looks
at the new distances.

**The graph, once.** `GraphEncoder` (graph_encoder.py) gives states ``a_i`` of atoms and ``p_ij = p_ji`` of pairs, R reference distances
``r_ijk`` and widths ``s_ijk`` of each pair in Angstrom. ``LN``, ``MLP`` and ``meet`` are as there.

**A conformation, in blocks.** A block sees positions x, the noise sigma, and the wanted hands ``h_q`` of tetrahedra q (+1, -1 or 0)::

    d_ij  = sqrt(|x_i - x_j|^2 + 1e-6),    n_ij = (x_i - x_j) / d_ij
    z_ijk = (d_ij - r_ijk) / sqrt(2 sigma^2 + s_ijk^2)
    V_q   = (x_1 - x_0) . [(x_2 - x_0) x (x_3 - x_0)],    G_qi = dV_q/dx_i / sqrt(sum_j |dV_q/dx_j|^2 + 0.01)
    y_q   = [tanh(h_q V_q / 4), tanh(h_q V_q), |h_q|]

(``2 sigma^2`` is the variance that noise on both atoms gives their distance.) It brings the states up to date, with V vectors ``v_i`` on
each atom, which the first block starts at zero and does not look at::

    a_i  += sum_(q with i) |h_q| (linear y_q)
    f_ij  = [tanh z_ij, exp(-z_ij^2 / 2), radial(d_ij), n_ij.v_i - n_ij.v_j, (n_ij.v_i) (n_ij.v_j), v_i.v_j]
    p_ij += MLP(LN p_ij + linear f_ij + linear level(sigma) + meet(LN a_i, LN a_j))
    v_i  += 1/4 sum_j (linear silu(p_ij)) n_ij
    a_i  += MLP[LN a_i, 1/4 sum_j silu(p_ij)]

where ``radial`` are `N_RADIAL` Gaussians of log d and ``level`` smooth functions of log sigma; and moves the atoms::

    t_ij  = linear silu(p_ij) + sum_k (linear silu(p_ij))_k tanh z_ijk           score of a distance, in units of sigma
    t_q   = h_q MLP[1/4 sum_(i of q) a_i, y_q, level(sigma)]                     strength of a hand
    F_i   = sum_j t_ij n_ij + sum_(q with i) t_q G_qi
    x_i  += sigma F_i

``D(x, sigma)`` is x after the last block. It is trained to be the mean of the clean positions, given the noisy ones
(training/objectives/denoising.py), so that ``(D(x, sigma) - x) / sigma^2`` is the score of the noised density.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .graph_encoder import EncodedGraph, GraphEncoder, meet, mlp, to_atoms

N_RADIAL = 8
RADIAL_RANGE = (0.9, 7.0)


@dataclasses.dataclass(frozen=True)
class FieldConfig:
    """Sizes of a `PairField`.

    Attributes
    ----------
    pair_width, atom_width : int
        C and H, numbers of a pair's and of an atom's state.
    vectors : int
        V, vectors on each atom.
    references : int
        R, reference distances of each pair.
    graph_layers, blocks : int
    """

    pair_width: int = 64
    atom_width: int = 96
    vectors: int = 16
    references: int = 4
    graph_layers: int = 3
    blocks: int = 4


class PairField(GraphEncoder):
    """Denoiser of positions in Angstrom: ``D(x, sigma) = x + sigma F(x, sigma)``, equivariant under rotations and translations.

    ``F`` is a sum over pairs of scalars times unit vectors (the chain rule of a field over distances, geometry.pseudo_forces) and
    over tetrahedra of scalars times hand times the gradient of their signed volume. The first is even and the second, given the
    hand, odd under reflection: a reflected input with all hands reversed gives the reflected output, and with its hands kept it does not.

    Parameters
    ----------
    config : FieldConfig
    """

    config: FieldConfig

    def __init__(self, config: FieldConfig = FieldConfig()) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config, first=k == 0) for k in range(config.blocks))

    def compile_blocks(self) -> None:
        """Have each block fused by `torch.compile` when it is first called, for batches of any shape. Parameters keep their names."""
        for block in self.blocks:
            block.compile(dynamic=True)

    def forward(self, graph: EncodedGraph, positions: Tensor, sigma: Tensor, hands: Tensor) -> Tensor:
        """Denoised positions.

        Parameters
        ----------
        graph : EncodedGraph of M molecules
        positions : Tensor, (M, K, N, 3)
            K noisy conformations of each molecule, Angstrom; padding is ignored.
        sigma : Tensor, (M, K)
            Standard deviation of the noise in Angstrom.
        hands : Tensor, (M, K, Q)
            Wanted sign of each tetrahedron's volume, 0 for any.

        Returns
        -------
        Tensor, (M, K, N, 3)
            Angstrom.
        """
        noise = sigma[..., None, None]
        level = noise_features(sigma)
        atoms, pairs, vectors = graph.atoms[:, None], graph.pairs[:, None], None
        x = positions
        for block in self.blocks:
            atoms, pairs, vectors, step = block(graph, atoms, pairs, vectors, x, noise, level, hands)
            x = x + noise * step
        return x


class _Block(nn.Module):
    """One look at the distances: pair states, atom states, vectors on atoms, and a step of the positions in units of sigma."""

    def __init__(self, config: FieldConfig, first: bool) -> None:
        super().__init__()
        c, h, v = config.pair_width, config.atom_width, config.vectors
        self.vectors = v
        geometric = 2 * config.references + N_RADIAL + (0 if first else 3 * v)
        self.from_geometry = nn.Linear(geometric, c)
        self.from_atoms = nn.Linear(h, 2 * c, bias=False)
        self.from_noise = nn.Linear(6, c)
        self.pair = mlp(c, c, c)
        self.pair_norm, self.atom_norm = nn.LayerNorm(c), nn.LayerNorm(h)
        self.heads = nn.Linear(c, 1 + v)
        self.atom = mlp(h + c, h, h)
        self.linear_response = nn.Linear(c, config.references)
        self.hand = mlp(h + 9, c, 1)
        self.hand_to_atom = nn.Linear(3, h)
        nn.init.normal_(self.heads.weight, std=0.1 * c**-0.5)
        nn.init.normal_(self.linear_response.weight, std=0.1 * c**-0.5)

    def forward(
        self,
        graph: EncodedGraph,
        atoms: Tensor,
        pairs: Tensor,
        vectors: Tensor | None,
        x: Tensor,
        noise: Tensor,
        level: Tensor,
        hands: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index, n_atoms, present = graph.batch.pair_index, x.shape[-2], graph.present[:, None]
        i, j = index.T
        difference = x.index_select(-2, i) - x.index_select(-2, j)
        distance = torch.sqrt((difference**2).sum(-1, keepdim=True) + 1e-6)
        unit = difference / distance
        residual = (distance - graph.reference[:, None]) / torch.sqrt(2 * noise**2 + graph.spread[:, None] ** 2)
        bounded = torch.tanh(residual)
        geometric = [bounded, torch.exp(-(residual**2) / 2), radial(distance)]
        if vectors is not None:
            at_i, at_j = vectors.index_select(-3, i), vectors.index_select(-3, j)
            along_i, along_j = (at_i * unit.unsqueeze(-1)).sum(-2), (at_j * unit.unsqueeze(-1)).sum(-2)
            geometric += [along_i - along_j, along_i * along_j, (at_i * at_j).sum(-2)]
        tetrahedra = graph.batch.tetrahedra
        volume, gradient = _volumes(_corners(x, tetrahedra))
        handed = torch.stack([torch.tanh(hands * volume / 4), torch.tanh(hands * volume), hands.abs()], -1)
        wanted = self.hand_to_atom(handed) * hands.abs().unsqueeze(-1)
        atoms = atoms + graph.corners[:, None] @ wanted
        normed = self.atom_norm(atoms)
        met = meet(self.from_atoms(normed), i, j)
        state = self.pair_norm(pairs) + self.from_geometry(torch.cat(geometric, -1)) + self.from_noise(level).unsqueeze(-2)
        pairs = pairs + self.pair(state + met)
        active = F.silu(pairs) * present
        score, weight = self.heads(active).split([1, self.vectors], dim=-1)
        score = score + (self.linear_response(active) * bounded).sum(-1, keepdim=True)
        along = unit * present
        pair_forces = torch.cat([score * along, (along.unsqueeze(-1) * weight.unsqueeze(-2)).flatten(-2)], -1)
        summed = to_atoms(pair_forces, index, n_atoms, sign=-1)
        new_vectors = summed[..., 3:].unflatten(-1, (3, self.vectors)) / 4
        vectors = new_vectors if vectors is None else vectors + new_vectors
        atoms = atoms + self.atom(torch.cat([normed, to_atoms(active, index, n_atoms) / 4], -1))
        around = graph.corners[:, None].transpose(-2, -1) @ atoms / 4
        strength = self.hand(torch.cat([around, handed, level.unsqueeze(-2).expand(*handed.shape[:-1], -1)], -1)) * hands.unsqueeze(-1)
        step = summed[..., :3] + _to_corners(strength.unsqueeze(-2) * gradient, tetrahedra, n_atoms)
        return atoms, pairs, vectors, step


def _corners(values: Tensor, tetrahedra: Tensor) -> Tensor:
    """Values of the atoms (M, K, N, W) at the four atoms of each tetrahedron, (M, K, Q, 4, W)."""
    index = tetrahedra.flatten(1)[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[-1])
    return torch.gather(values, 2, index).unflatten(2, tetrahedra.shape[1:])


def _to_corners(values: Tensor, tetrahedra: Tensor, n_atoms: int) -> Tensor:
    """Sums over tetrahedra of the values (M, K, Q, 4, W) on their atoms, (M, K, N, W)."""
    index = tetrahedra.flatten(1)[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[-1])
    return values.new_zeros(*values.shape[:2], n_atoms, values.shape[-1]).scatter_add(2, index, values.flatten(2, 3))


def _volumes(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Signed volumes (M, K, Q) of corners (M, K, Q, 4, 3), apex first, and their normalised gradients (M, K, Q, 4, 3)."""
    a, b, c = (corners[..., 1:, :] - corners[..., :1, :]).unbind(-2)
    on_a, on_b, on_c = torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)
    gradient = torch.stack([-(on_a + on_b + on_c), on_a, on_b, on_c], -2)
    scale = torch.sqrt((gradient**2).sum((-2, -1), keepdim=True) + 1e-2)
    return (a * on_a).sum(-1), gradient / scale


def radial(distance: Tensor) -> Tensor:
    """Gaussians of the distance (..., 1) -> (..., N_RADIAL), evenly spaced in its logarithm."""
    low, high = (torch.log(torch.tensor(r, device=distance.device, dtype=distance.dtype)) for r in RADIAL_RANGE)
    centres = torch.linspace(0, 1, N_RADIAL, device=distance.device, dtype=distance.dtype)
    return torch.exp(-((((torch.log(distance) - low) / (high - low) - centres) * N_RADIAL) ** 2) / 2)


def noise_features(sigma: Tensor) -> Tensor:
    """Smooth features of the noise level, (...) -> (..., 6)."""
    level = torch.log(sigma.clamp_min(1e-3)).unsqueeze(-1) / 2
    return torch.cat([level, level**2 / 4] + [torch.sin(level * f + p) for f, p in ((1.0, 0.0), (1.0, 1.57), (2.0, 0.0), (2.0, 1.57))], -1)
