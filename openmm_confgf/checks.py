"""Is a conformation still this molecule? Bonds, specified stereo and contacts, one status per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from .ensemble import Status
from .geometry import dihedrals, distances, signed_volumes
from .molecule import MolecularGraph
from .units import NM_PER_ANGSTROM

BOND_RANGE = (0.7, 1.3)
"""A bond's length over the sum of its covalent radii. In relaxed molecules (B3LYP, GFN2-xTB) it is 0.776 (nitriles) to 1.21 (S-Cl of a
sulfurane); a vibration at 300 K adds less than 0.1."""

FLATTEST_CENTRE = 0.5 * NM_PER_ANGSTROM**3
"""Smallest volume (nm^3) of a stereocentre that still has a hand: six times that of the tetrahedron of its four neighbours, or of the
centre and its three. Relaxed centres have 3 to 12 times 1e-3 nm^3."""

NEAREST_CONTACT = 0.3 * NM_PER_ANGSTROM
"""Nearest approach (nm) of two atoms that are not bonded, beyond the sum of their covalent radii: nearer, any bond perception reads a
bond. It lies under the 1-3 contact across bicyclo[1.1.1]pentane (0.35 A) and under short hydrogen bonds (0.4 A)."""

_PAIRS_AT_ONCE = 5_000_000
"""Keeps the distances of one block of conformations near 200 MB."""


def check_conformations(graph: MolecularGraph, positions: Any) -> NDArray[np.int8]:
    """Say of each conformation whether it is one of this molecule.

    The first that holds of: NON_FINITE (a coordinate is NaN or infinite), WRONG_GRAPH (a bond is outside `BOND_RANGE`), WRONG_STEREO (a
    specified tetrahedral centre or double bond has the other hand, or is too flat to have one), CLASH (`NEAREST_CONTACT`), else OK.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    ndarray of int8, (B,)
        A `Status` each.

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    frames = graph.frames(positions)
    block = max(1, _PAIRS_AT_ONCE // max(1, len(graph) ** 2 // 2))
    status = [_check_block(graph, frames[start : start + block]) for start in range(0, len(frames), block)]
    return np.concatenate([np.zeros(0, np.int8), *status])


def _check_block(graph: MolecularGraph, frames: NDArray[np.float64]) -> NDArray[np.int8]:
    finite = np.asarray(np.isfinite(frames).all(axis=(1, 2)))
    # the checks below are not asked about the others, but must not overflow or warn on them
    tensor = torch.from_numpy(np.where(finite[:, None, None], frames, 0.0))
    bonded, contact_free = _distances_agree(graph, tensor)
    broken = [
        (~finite, Status.NON_FINITE),
        (~bonded.numpy(), Status.WRONG_GRAPH),
        (~_stereo_agrees(graph, tensor).numpy(), Status.WRONG_STEREO),
        (~contact_free.numpy(), Status.CLASH),
    ]
    return np.select([mask for mask, _ in broken], [np.int8(s) for _, s in broken], np.int8(Status.OK))


def _distances_agree(graph: MolecularGraph, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Whether all bonds have a bond's length, and all other pairs are apart; two masks (B,)."""
    table = Chem.GetPeriodicTable()
    radii = torch.tensor([table.GetRcovalent(int(z)) * NM_PER_ANGSTROM for z in graph.numbers], dtype=torch.float64)
    pairs = torch.triu_indices(len(graph), len(graph), 1).T
    bonded = torch.from_numpy(graph.hops)[pairs[:, 0], pairs[:, 1]] == 1
    length, touching = distances(frames, pairs), radii[pairs].sum(-1)
    ratio = length[:, bonded] / touching[bonded]
    right_length = ((ratio >= BOND_RANGE[0]) & (ratio <= BOND_RANGE[1])).all(-1)
    return right_length, (length[:, ~bonded] >= touching[~bonded] + NEAREST_CONTACT).all(-1)


def _stereo_agrees(graph: MolecularGraph, frames: Tensor) -> Tensor:
    """Whether every specified centre and double bond has the specified hand; a mask (B,)."""
    centres, double_bonds = torch.from_numpy(graph.stereocentres), torch.from_numpy(graph.stereobonds)
    # the neighbours seen from the centre are how RDKit reads a hand; in strained bicycles this volume is close to 0 and tells nothing of
    # flatness, which the tetrahedron of the neighbours does
    bodies = centres.clone()
    bodies[:, 0] = torch.tensor([_last_neighbour(graph, int(row[0])) for row in centres], dtype=torch.int64)
    hands = signed_volumes(frames, centres[:, :4]) * centres[:, 4] > 0
    flat = signed_volumes(frames, bodies[:, :4]) * bodies[:, 4] < FLATTEST_CENTRE
    sides = torch.cos(dihedrals(frames, double_bonds[:, :4])) * double_bonds[:, 4] > 0
    return (hands & ~flat).all(-1) & sides.all(-1)


def _last_neighbour(graph: MolecularGraph, centre: int) -> int:
    """The fourth neighbour, or the centre itself where it has three."""
    bonds = graph.mol.GetAtomWithIdx(centre).GetBonds()
    return int(bonds[3].GetOtherAtomIdx(centre)) if len(bonds) > 3 else centre
