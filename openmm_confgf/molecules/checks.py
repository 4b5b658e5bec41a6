"""Is a conformation still this molecule? Bonds, specified stereo, contacts and shapes, one status per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from ..status import Status
from ..units import NM_PER_ANGSTROM
from .bicycles import all_outwards
from .bond_windows import HOTTEST, bond_window
from .centre_shapes import CentreShapes
from .geometry import dihedrals, distances
from .graph import MolecularGraph
from .stereo import MOST_INVERTED, MOST_INVERTED_HOT, centre_and_neighbours, tetrahedral_hands

NEAREST_CONTACT = 0.3 * NM_PER_ANGSTROM
"""Nearest approach (nm) of two atoms three or more bonds apart, beyond the sum of their covalent radii: nearer, any bond perception reads a
bond. It lies under short hydrogen bonds (0.4 A). Atoms two bonds apart are held by their bonds and the angle between."""

_PAIRS_AT_ONCE = 5_000_000
"""Keeps the distances of one block of conformations near 200 MB."""


def check_conformations(graph: MolecularGraph, positions: Any, temperature: float = HOTTEST) -> NDArray[np.int8]:
    """Say of each conformation whether it is one of this molecule.

    The first that holds of: NON_FINITE (a coordinate is NaN or infinite), WRONG_GRAPH (a bond is outside its `bond_window`),
    WRONG_STEREO (a specified tetrahedral centre or double bond has the other hand, or is too flat to have one), CLASH
    (`NEAREST_CONTACT`), DISTORTED (an angle, or the shape of a centre or a double bond, is none of its valence: `CentreShapes`; or a
    bridgehead of a small bicycle points inwards), else OK.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm.
    temperature : float
        K, of the simulation that they may come from: bonds and angles may be that much longer, shorter, wider and narrower. 0 for what
        should be a minimum or a conformer.

    Returns
    -------
    ndarray of int8, (B,)
        A `Status` each; B is 1 for positions (N, 3).

    Raises
    ------
    ValueError
        If the number of atoms is not the molecule's.
    """
    frames = graph.frames(positions)
    block = max(1, _PAIRS_AT_ONCE // max(1, len(graph) ** 2 // 2))
    shapes, windows = CentreShapes.of(graph, temperature), _bond_windows(graph, temperature)
    inverted = MOST_INVERTED_HOT if temperature else MOST_INVERTED
    status = [_check_block(graph, shapes, windows, inverted, frames[start : start + block]) for start in range(0, len(frames), block)]
    return np.concatenate([np.zeros(0, np.int8), *status])


def _bond_windows(graph: MolecularGraph, temperature: float) -> NDArray[np.float64]:
    """Shortest and longest of all bonds in the order of `graph.bonds`, (n_bonds, 2) in nm."""
    return np.array([bond_window(bond, temperature) for bond in graph.mol.GetBonds()], np.float64).reshape(-1, 2)


def _check_block(
    graph: MolecularGraph, shapes: CentreShapes, windows: NDArray[np.float64], inverted: float, frames: NDArray[np.float64]
) -> NDArray[np.int8]:
    finite = np.asarray(np.isfinite(frames).all(axis=(1, 2)))
    # the checks below are not asked about the others, but must not overflow or warn on them
    tensor = torch.from_numpy(np.where(finite[:, None, None], frames, 0.0))
    broken = [
        (~finite, Status.NON_FINITE),
        (~_bonds_agree(graph, windows, tensor).numpy(), Status.WRONG_GRAPH),
        (~_stereo_agrees(graph, tensor.numpy(), inverted), Status.WRONG_STEREO),
        (~_contacts_agree(graph, tensor).numpy(), Status.CLASH),
        (~(shapes.agree(tensor).numpy() & all_outwards(graph, tensor.numpy())), Status.DISTORTED),
    ]
    return np.select([mask for mask, _ in broken], [np.int8(s) for _, s in broken], np.int8(Status.OK))


def _bonds_agree(graph: MolecularGraph, windows: NDArray[np.float64], frames: Tensor) -> Tensor:
    """Whether all bonds are within their windows; a mask (B,)."""
    length = distances(frames, torch.from_numpy(graph.bonds))
    low, high = torch.from_numpy(windows).T
    return ((length >= low) & (length <= high)).all(-1)


def _contacts_agree(graph: MolecularGraph, frames: Tensor) -> Tensor:
    """Whether all pairs of atoms three or more bonds apart do not touch; a mask (B,)."""
    table = Chem.GetPeriodicTable()
    radii = torch.tensor([table.GetRcovalent(int(z)) * NM_PER_ANGSTROM for z in graph.numbers], dtype=torch.float64)
    pairs = torch.from_numpy(np.argwhere(np.triu(graph.topological_distances > 2)))
    return (distances(frames, pairs) >= radii[pairs].sum(-1) + NEAREST_CONTACT).all(-1)


def _stereo_agrees(graph: MolecularGraph, frames: NDArray[np.float64], most_inverted: float) -> NDArray[np.bool_]:
    """Whether every specified centre and double bond has the specified hand; a mask (B,)."""
    hands, sides = stereo_against_specified(graph, frames, most_inverted)
    return np.asarray((hands > 0).all(-1) & sides.all(-1))


def stereo_against_specified(
    graph: MolecularGraph, frames: NDArray[np.float64], most_inverted: float = MOST_INVERTED_HOT
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The stereo of conformations beside that of their molecule.

    Parameters
    ----------
    graph : MolecularGraph
    frames : ndarray, (B, N, 3)
        Finite, in nm.
    most_inverted : float
        A^3, as in `tetrahedral_hands`.

    Returns
    -------
    hands : ndarray of int8, (B, number of stereocentres)
        1 for the specified hand, -1 for the other, 0 for a centre without one (`tetrahedral_hands`).
    sides : ndarray of bool, (B, number of stereobonds)
        Whether the double bond is cis or trans as specified.
    """
    centres, double_bonds = graph.stereocentres, graph.stereobonds
    corners = np.array([centre_and_neighbours(graph.mol.GetAtomWithIdx(int(centre))) for centre in centres[:, 0]], np.int64).reshape(-1, 5)
    hands = tetrahedral_hands(frames / NM_PER_ANGSTROM, corners, most_inverted=most_inverted) * centres[:, 4].astype(np.int8)
    angles = dihedrals(torch.tensor(frames), torch.from_numpy(double_bonds[:, :4])).numpy()
    return hands, np.cos(angles) * double_bonds[:, 4] > 0
