"""Is a conformation still this molecule? Bonds, specified stereo, contacts and shapes, one status per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from .bond_windows import HOTTEST, bond_window
from .centre_shapes import CentreShapes
from .ensemble import Status
from .geometry import dihedrals, distances, signed_volumes
from .molecule import MolecularGraph
from .units import NM_PER_ANGSTROM

FLATTEST_CENTRE = 0.5 * NM_PER_ANGSTROM**3
"""Smallest volume (nm^3) of a stereocentre that still has a hand: six times that of the tetrahedron of its four neighbours, or of the
centre and its three. Relaxed centres have 3 to 12 times 1e-3 nm^3."""

UNDECIDED_CENTRE = 0.1 * NM_PER_ANGSTROM**3
"""Volume (nm^3) of three neighbours about their centre below which they tell no hand, as in propellanes: RDKit reads others then."""

NEAREST_CONTACT = 0.3 * NM_PER_ANGSTROM
"""Nearest approach (nm) of two atoms three or more bonds apart, beyond the sum of their covalent radii: nearer, any bond perception reads a
bond. It lies under short hydrogen bonds (0.4 A). Atoms two bonds apart are held by their bonds and the angle between."""

_PAIRS_AT_ONCE = 5_000_000
"""Keeps the distances of one block of conformations near 200 MB."""


def check_conformations(graph: MolecularGraph, positions: Any, temperature: float = HOTTEST) -> NDArray[np.int8]:
    """Say of each conformation whether it is one of this molecule.

    The first that holds of: NON_FINITE (a coordinate is NaN or infinite), WRONG_GRAPH (a bond is outside its `bond_window`),
    WRONG_STEREO (a specified tetrahedral centre or double bond has the other hand, or is too flat to have one), CLASH
    (`NEAREST_CONTACT`), DISTORTED (an angle, or the shape of a centre or a double bond, is none of its valence: `CentreShapes`), else OK.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.
    temperature : float
        K, of the simulation that they may come from: bonds and angles may be that much longer, shorter, wider and narrower. 0 for what
        should be a minimum or a conformer.

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
    shapes, windows = CentreShapes.of(graph, temperature), _bond_windows(graph, temperature)
    status = [_check_block(graph, shapes, windows, frames[start : start + block]) for start in range(0, len(frames), block)]
    return np.concatenate([np.zeros(0, np.int8), *status])


def _bond_windows(graph: MolecularGraph, temperature: float) -> NDArray[np.float64]:
    """Shortest and longest of all bonds in the order of `graph.bonds`, (n_bonds, 2) in nm."""
    return np.array([bond_window(bond, temperature) for bond in graph.mol.GetBonds()], np.float64).reshape(-1, 2)


def _check_block(
    graph: MolecularGraph, shapes: CentreShapes, windows: NDArray[np.float64], frames: NDArray[np.float64]
) -> NDArray[np.int8]:
    finite = np.asarray(np.isfinite(frames).all(axis=(1, 2)))
    # the checks below are not asked about the others, but must not overflow or warn on them
    tensor = torch.from_numpy(np.where(finite[:, None, None], frames, 0.0))
    broken = [
        (~finite, Status.NON_FINITE),
        (~_bonds_agree(graph, windows, tensor).numpy(), Status.WRONG_GRAPH),
        (~_stereo_agrees(graph, tensor).numpy(), Status.WRONG_STEREO),
        (~_contacts_agree(graph, tensor).numpy(), Status.CLASH),
        (~shapes.agree(tensor).numpy(), Status.DISTORTED),
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
    pairs = torch.from_numpy(np.argwhere(np.triu(graph.hops > 2)))
    return (distances(frames, pairs) >= radii[pairs].sum(-1) + NEAREST_CONTACT).all(-1)


def _stereo_agrees(graph: MolecularGraph, frames: Tensor) -> Tensor:
    """Whether every specified centre and double bond has the specified hand; a mask (B,)."""
    centres, double_bonds = torch.from_numpy(graph.stereocentres), torch.from_numpy(graph.stereobonds)
    # the neighbours seen from the centre are how RDKit, and a SMILES, reads a hand; the tetrahedron of the neighbours tells flatness. Where
    # the two differ, the bridgehead of a small bicycle was turned over and will not stay so: GFN2-xTB minima agree in both
    bodies = centres.clone()
    bodies[:, 0] = torch.tensor([_last_neighbour(graph, int(row[0])) for row in centres], dtype=torch.int64)
    seen = signed_volumes(frames, centres[:, :4]) * centres[:, 4]
    volumes = signed_volumes(frames, bodies[:, :4]) * bodies[:, 4]
    hands = (volumes >= FLATTEST_CENTRE) & (seen > -UNDECIDED_CENTRE)
    sides = torch.cos(dihedrals(frames, double_bonds[:, :4])) * double_bonds[:, 4] > 0
    return hands.all(-1) & sides.all(-1)


def _last_neighbour(graph: MolecularGraph, centre: int) -> int:
    """The fourth neighbour, or the centre itself where it has three."""
    bonds = graph.mol.GetAtomWithIdx(centre).GetBonds()
    return int(bonds[3].GetOtherAtomIdx(centre)) if len(bonds) > 3 else centre
