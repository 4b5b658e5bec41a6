"""What a network is told of a molecule: integer arrays of atoms, pairs and tetrahedra, and their padding into batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..molecules.geometry import signed_volumes

if TYPE_CHECKING:
    from ..molecules.graph import MolecularGraph

FLAT_VOLUME = 0.5
"""Cubic Angstrom under which a tetrahedron has no hand; relaxed sp3 centres have 3 to 12."""

MAX_HOPS = 8
MAX_RING = 8
ATOM_VOCABULARY = (100, 7, 8, 8, 2, MAX_RING + 2)
"""Number of values of each atom column: element, formal charge + 3, degree, hybridisation, aromatic, smallest ring."""
PAIR_VOCABULARY = (MAX_HOPS + 1, 5, MAX_RING + 2, 2, 3)
"""Number of values of each pair column: topological distance, bond order, smallest shared ring, conjugated bond, cis (1) or trans (2)."""


@dataclasses.dataclass(frozen=True)
class GraphFeatures:
    """One molecule's input arrays. Pairs are all i < j in the order of ``pair_index(N)``.

    Attributes
    ----------
    atoms : ndarray of int16, (N, 6)
        Columns as in `ATOM_VOCABULARY`.
    pairs : ndarray of int16, (P, 5)
        Columns as in `PAIR_VOCABULARY`.
    bounds : ndarray of float32, (P, 2)
        RDKit's lower and upper distance bounds in Angstrom.
    tetrahedra : ndarray of int16, (Q, 4)
        Apex and three atoms whose signed volume tells the hand: the four neighbours of a centre (the last is the apex), or a
        stereocentre with three neighbours as the apex. The volume of four neighbours changes sign under each exchange of two, so
        that hand times volume does not depend on the order of the atoms.
    hands : ndarray of int8, (Q,)
        Wanted sign of the volume where the molecule specifies it, else 0.
    """

    atoms: NDArray[np.int16]
    pairs: NDArray[np.int16]
    bounds: NDArray[np.float32]
    tetrahedra: NDArray[np.int16]
    hands: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.atoms)


def pair_index(n_atoms: int) -> NDArray[np.int64]:
    """All unordered pairs, ordered by the larger index: those of fewer atoms are a prefix of those of more.

    Parameters
    ----------
    n_atoms : int
        N.

    Returns
    -------
    ndarray of int64, (P, 2)
        ``P = N (N - 1) / 2`` pairs i < j.
    """
    larger, smaller = np.tril_indices(n_atoms, -1)
    return np.stack([smaller, larger], axis=1)


def featurise(graph: MolecularGraph) -> GraphFeatures:
    """Input arrays of a molecule, from its graph alone.

    Parameters
    ----------
    graph : MolecularGraph
        Of N atoms.

    Returns
    -------
    GraphFeatures
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom

    mol, n = graph.mol, len(graph)
    rings = [set(r) for r in sorted(mol.GetRingInfo().AtomRings(), key=len)]
    smallest = np.zeros((n, n), np.int16)
    for ring in reversed(rings):
        members = np.array(sorted(ring))
        smallest[np.ix_(members, members)] = min(len(ring), MAX_RING + 1)
    atoms = np.array(
        [
            (
                a.GetAtomicNum(),
                np.clip(a.GetFormalCharge(), -3, 3) + 3,
                min(a.GetDegree(), 7),
                min(int(a.GetHybridization()), 7),
                a.GetIsAromatic(),
                smallest[i, i],
            )
            for i, a in enumerate(mol.GetAtoms())
        ],
        np.int16,
    )
    order, conjugated, side = (np.zeros((n, n), np.int16) for _ in range(3))
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order[i, j] = order[j, i] = 4 if bond.GetIsAromatic() else min(int(np.ceil(bond.GetBondTypeAsDouble())), 3)
        conjugated[i, j] = conjugated[j, i] = bond.GetIsConjugated()
    for a, b, c, d, wanted in graph.stereobonds:
        _mark_sides(side, graph, a, b, c, d, wanted)
    i, j = pair_index(n).T
    pairs = np.stack(
        [np.minimum(graph.topological_distances[i, j], MAX_HOPS), order[i, j], smallest[i, j], conjugated[i, j], side[i, j]], axis=1
    )
    with rdBase.BlockLogs():
        matrix = rdDistGeom.GetMoleculeBoundsMatrix(Chem.Mol(mol))
    tetrahedra, hands = _tetrahedra(graph)
    return GraphFeatures(
        atoms, pairs.astype(np.int16), np.stack([matrix[j, i], matrix[i, j]], axis=1).astype(np.float32), tetrahedra, hands
    )


def _mark_sides(side: NDArray[np.int16], graph: MolecularGraph, a: int, b: int, c: int, d: int, wanted: int) -> None:
    """Mark every pair across the double bond b=c as cis or trans, from the one relation (a, d) that is specified."""
    for p in np.flatnonzero(graph.topological_distances[b] == 1):
        for q in np.flatnonzero(graph.topological_distances[c] == 1):
            if p != c and q != b:
                same = wanted * (1 if p == a else -1) * (1 if q == d else -1)
                side[p, q] = side[q, p] = 1 if same > 0 else 2


def _tetrahedra(graph: MolecularGraph) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    specified = {int(row[0]): row for row in graph.stereocentres}
    rows, hands = [], []
    for atom in graph.mol.GetAtoms():
        centre, neighbours = atom.GetIdx(), [b.GetOtherAtomIdx(atom.GetIdx()) for b in atom.GetBonds()]
        if len(neighbours) == 4:
            rows.append([neighbours[3], *neighbours[:3]])
        elif len(neighbours) == 3 and centre in specified:
            rows.append([centre, *neighbours])
        else:
            continue
        hands.append(specified[centre][4] if centre in specified else 0)
    return np.array(rows, np.int16).reshape(-1, 4), np.array(hands, np.int8)


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """A dataclass of tensors, numbers and other such records that moves between devices as one."""

    def to(self, device: torch.device | str) -> Self:
        """The same record on another device.

        Parameters
        ----------
        device : torch.device or str

        Returns
        -------
        TensorRecord
            Of the same class.
        """
        values = (getattr(self, f.name) for f in dataclasses.fields(self))
        return type(self)(*(v.to(device) if isinstance(v, Tensor | TensorRecord) else v for v in values))


@dataclasses.dataclass(frozen=True)
class GraphBatch(TensorRecord):
    """Molecules padded to the largest; ``M`` molecules, ``N`` atoms, ``P`` pairs, ``Q`` tetrahedra.

    Attributes
    ----------
    atoms : Tensor of int64, (M, N, 6)
    atom_mask : Tensor of bool, (M, N)
    pairs : Tensor of int64, (M, P, 5)
    pair_mask : Tensor of bool, (M, P)
    pair_index : Tensor of int64, (P, 2)
        The same for every molecule.
    bounds : Tensor, (M, P, 2)
        Angstrom.
    tetrahedra : Tensor of int64, (M, Q, 4)
    hands : Tensor, (M, Q)
    """

    atoms: Tensor
    atom_mask: Tensor
    pairs: Tensor
    pair_mask: Tensor
    pair_index: Tensor
    bounds: Tensor
    tetrahedra: Tensor
    hands: Tensor


def collate(features: Sequence[GraphFeatures]) -> GraphBatch:
    """Pad molecules into one batch.

    Parameters
    ----------
    features : sequence of GraphFeatures
        Of M molecules.

    Returns
    -------
    GraphBatch
        On the CPU.
    """
    n = max(len(f) for f in features)
    p, q = n * (n - 1) // 2, max(len(f.tetrahedra) for f in features)

    def padded(name: str, length: int, dtype: torch.dtype, fill: float = 0) -> Tensor:
        first = getattr(features[0], name)
        out = torch.full((len(features), length, *first.shape[1:]), fill, dtype=dtype)
        for row, f in zip(out, features, strict=True):
            values = getattr(f, name)
            row[: len(values)] = torch.from_numpy(values).to(dtype)
        return out

    sizes = torch.tensor([len(f) for f in features])[:, None]
    return GraphBatch(
        atoms=padded("atoms", n, torch.int64),
        atom_mask=torch.arange(n) < sizes,
        pairs=padded("pairs", p, torch.int64),
        pair_mask=torch.arange(p) < sizes * (sizes - 1) // 2,
        pair_index=torch.from_numpy(pair_index(n)),
        bounds=padded("bounds", p, torch.float32, fill=1.0),
        tetrahedra=padded("tetrahedra", q, torch.int64),
        hands=padded("hands", q, torch.float32),
    )


def conformation_hands(positions: Tensor, batch: GraphBatch) -> Tensor:
    """The hand (sign of the volume) of every tetrahedron of conformations.

    Parameters
    ----------
    positions : Tensor, (M, K, N, 3)
        Angstrom.
    batch : GraphBatch

    Returns
    -------
    Tensor, (M, K, Q)
        0 for padding and for a volume under `FLAT_VOLUME`.
    """
    volumes = torch.stack([signed_volumes(x, q) for x, q in zip(positions, batch.tetrahedra, strict=True)])
    return torch.where(volumes.abs() > FLAT_VOLUME, volumes.sign(), torch.zeros_like(volumes))
