"""The published ConfGF network: scores of the distances of bonds and of two- and three-bond pairs.

The paper: C. Shi, S. Luo, M. Xu, J. Tang, Learning gradient fields for molecular conformation generation, ICML 2021,
doi:10.48550/arXiv.2105.03902.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from .features import GraphBatch, TensorRecord

WIDTH = 256
LAYERS = 4
MAX_EDGE_HOPS = 3


@dataclasses.dataclass(frozen=True)
class ConfGFConfig:
    """Sizes of a `ConfGF`: those of the paper, with none to choose."""


@dataclasses.dataclass(frozen=True)
class EdgeGraph(TensorRecord):
    """Molecules as one flat graph: A atoms, E unordered edges between atoms at most three bonds apart.

    Attributes
    ----------
    elements : Tensor of int64, (A,)
        Atomic numbers.
    edges : Tensor of int64, (E, 2)
        Indices into the flat atoms; each unordered pair once.
    kinds : Tensor of int64, (E,)
        1 to 4 for single, double, triple and aromatic bonds; 4 + the topological distance for the others.
    molecule : Tensor of int64, (E,)
        Which molecule the edge belongs to.
    atom_slots : Tensor of int64, (A,)
        Where the atom lies in the padded batch, m * N + i.
    """

    elements: Tensor
    edges: Tensor
    kinds: Tensor
    molecule: Tensor
    atom_slots: Tensor

    @classmethod
    def from_batch(cls, batch: GraphBatch) -> EdgeGraph:
        """Drop the padding and the pairs that are more than three bonds apart.

        Parameters
        ----------
        batch : GraphBatch
            M molecules of up to N atoms.

        Returns
        -------
        EdgeGraph
        """
        slots = batch.atom_mask.flatten().nonzero().squeeze(1)
        place = torch.zeros(batch.atom_mask.numel(), dtype=torch.int64, device=slots.device)
        place[slots] = torch.arange(len(slots), device=slots.device)
        topological_distances, order = batch.pairs[..., 0], batch.pairs[..., 1]
        molecule, pair = (batch.pair_mask & (topological_distances <= MAX_EDGE_HOPS)).nonzero(as_tuple=True)
        edges = place[molecule.unsqueeze(1) * batch.atom_mask.shape[1] + batch.pair_index[pair]]
        kinds = torch.where(topological_distances == 1, order, 4 + topological_distances)[molecule, pair]
        return cls(batch.atoms[..., 0].flatten()[slots], edges, kinds, molecule, slots)

    def flat(self, padded: Tensor) -> Tensor:
        """Positions of a padded batch as those of the flat atoms.

        Parameters
        ----------
        padded : Tensor, (M, K, N, 3)
            Of the batch that the graph was made from; in any unit.

        Returns
        -------
        Tensor, (K, A, 3)
            In the same unit.
        """
        return padded.transpose(0, 1).flatten(1, 2)[:, self.atom_slots]


class ConfGF(nn.Module):
    """Score of the distances, ``s_ij = d log p_sigma(d | G) / d d_ij`` (paper, eqs. 9 to 11).

    Node states start from the element, edge states from an MLP of the distance times an embedding of the kind of edge; four GINE layers;
    a head on ``[h_i * h_j, e_ij]``, divided by sigma, which is all that the network is told of the noise.

    Parameters
    ----------
    config : ConfGFConfig
    """

    def __init__(self, config: ConfGFConfig = ConfGFConfig()) -> None:
        super().__init__()
        self.config = config
        self.elements = nn.Embedding(100, WIDTH)
        self.kinds = nn.Embedding(100, WIDTH)
        self.distance = nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(LAYERS))
        self.head = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH // 2), nn.ReLU(), nn.Linear(WIDTH // 2, 1))

    def forward(self, graph: EdgeGraph, distances: Tensor, sigma: Tensor) -> Tensor:
        """Distance scores.

        Parameters
        ----------
        graph : EdgeGraph
        distances : Tensor, (K, E)
            K conformations, Angstrom.
        sigma : Tensor, broadcastable to (K, E)
            Standard deviation of the noise on the distances, Angstrom.

        Returns
        -------
        Tensor, (K, E)
            1/Angstrom.
        """
        i, j = graph.edges.T
        edge = self.distance(distances.unsqueeze(-1)) * self.kinds(graph.kinds)
        node = self.elements(graph.elements).expand(len(distances), -1, -1)
        for k, layer in enumerate(self.layers):
            received = torch.zeros_like(node)
            received = received.index_add(1, i, torch.relu(node[:, j] + edge)).index_add(1, j, torch.relu(node[:, i] + edge))
            update = layer(node + received)
            node = node + (torch.relu(update) if k < LAYERS - 1 else update)
        return self.head(torch.cat([node[:, i] * node[:, j], edge], -1)).squeeze(-1) / sigma


@dataclasses.dataclass(frozen=True)
class NoiseLadder:
    """Geometric noise levels, and the Langevin dynamics at each (paper, section 4.1 and algorithm 1).

    Attributes
    ----------
    first, last : float
        The largest and the smallest level, Angstrom.
    levels : int
        L, how many there are.
    epsilon : float
        Step size of the last level, Angstrom squared.
    steps_per_level : int
    """

    first: float = 10.0
    last: float = 0.01
    levels: int = 50
    epsilon: float = 2.4e-6
    steps_per_level: int = 100

    def sigmas(self) -> Tensor:
        """The levels ``sigma_i``.

        Returns
        -------
        Tensor, (L,)
            Angstrom, largest first.
        """
        return torch.logspace(torch.log10(torch.tensor(self.first)).item(), torch.log10(torch.tensor(self.last)).item(), self.levels)

    def step_sizes(self) -> Tensor:
        """Langevin step sizes ``a_i = epsilon (sigma_i / sigma_L)^2`` (paper, algorithm 1).

        Returns
        -------
        Tensor, (L,)
            Angstrom squared.
        """
        sigmas = self.sigmas()
        return self.epsilon * (sigmas / sigmas[-1]) ** 2
