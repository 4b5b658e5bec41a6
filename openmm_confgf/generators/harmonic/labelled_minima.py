"""The minima of a small molecule that its motions can lead to, each atom with its own label."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...energies import ContextEnergy, minimize
from ...errors import GenerationError
from ...molecules.checks import check_conformations
from ...molecules.geometry import signed_volumes
from ...molecules.graph import MolecularGraph
from ...molecules.stereoisomers import check_one_diastereomer
from ...status import Status
from ..etkdg import embed_etkdg
from .internal_coordinates import ZMatrix

MOST_MINIMA = 250
"""The search ends there: five torsions of three orientations each."""

_SAME = 0.01
"""nm: minima that align atom by atom within this root mean square are one."""

_TOLERANCE = 0.01
"""kJ/mol/nm: the forces that are left at a minimum."""


def labelled_minima(graph: MolecularGraph, system: Any, zmatrix: ZMatrix, starts: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minima from ETKDG conformations and, from each, by turns of 120 degrees about single bonds, until there are no new ones.

    Orientations of a methyl group are different minima. The two hydrogens of a CH2 group do not exchange places in any motion, so they
    keep those that they have in the first minimum, and an exchange by embedding is undone.

    Parameters
    ----------
    graph : MolecularGraph
    system : openmm.System
        Its particles are the molecule's atoms.
    zmatrix : ZMatrix
        Of the molecule.
    starts : int
        How many conformations are embedded, of seed 0.

    Returns
    -------
    positions : ndarray of float64, (M, N, 3)
        nm, M at most `MOST_MINIMA`.
    energies : ndarray of float64, (M,)
        kJ/mol.

    Raises
    ------
    MoleculeError
        If the embedded conformations are of several diastereomers.
    GenerationError
        If there is none.
    """
    embedded = embed_etkdg(graph, starts, seed=0)
    given = embedded.positions[embedded.ok]
    check_one_diastereomer(graph, given, "a density")
    found: list[NDArray[np.float64]] = []
    energies: list[float] = []
    with ContextEnergy(system, "Reference") as context:

        def add(frames: NDArray[np.float64]) -> None:
            relaxed = minimize(context, frames, _TOLERANCE)
            right = np.isfinite(relaxed.energy) & (check_conformations(graph, relaxed.positions) == Status.OK)
            for minimum, energy in zip(relaxed.positions[right], relaxed.energy[right], strict=True):
                placed = _with_hands_of(graph, minimum, found[0]) if found else minimum
                if placed is not None and len(found) < MOST_MINIMA and _is_new(placed, found):
                    found.append(placed - placed.mean(axis=0))
                    energies.append(float(energy))

        add(given)
        for minimum in found:
            add(np.array(list(_turned(zmatrix, minimum))).reshape(-1, *minimum.shape))
    if not found:
        raise GenerationError(f"{graph.name!r} has no minimum among {starts} starts; try another force field.")
    return np.array(found), np.array(energies)


def _is_new(minimum: NDArray[np.float64], found: list[NDArray[np.float64]]) -> bool:
    centred = minimum - minimum.mean(axis=0)
    return all(_aligned_rmsd(centred, other) > _SAME for other in found)


def _aligned_rmsd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of centred positions (N, 3), atom by atom after the best rotation (Kabsch 1978, doi:10.1107/S0567739478001680)."""
    u, s, vt = np.linalg.svd(a.T @ b)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    return math.sqrt(max(0.0, (np.square(a).sum() + np.square(b).sum() - 2 * s.sum()) / len(a)))


def _turned(zmatrix: ZMatrix, minimum: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The minimum with one torsion after the other turned, (N, 3) in nm."""
    coordinates = zmatrix.coordinates(torch.from_numpy(minimum[None]))
    for rotor in zmatrix.rotor_columns.tolist():
        for turn in (2 * math.pi / 3, -2 * math.pi / 3):
            changed = coordinates.clone()
            changed[:, rotor] += turn
            yield zmatrix.positions(changed)[0].numpy()


def _with_hands_of(graph: MolecularGraph, minimum: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A minimum whose hydrogens exchange labels until all centres of four neighbours have the hands that they have in the first.

    None where that takes more than exchanging two hydrogens of one centre.
    """
    neighbours = {a.GetIdx(): [n.GetIdx() for n in a.GetNeighbors()] for a in graph.mol.GetAtoms() if a.GetDegree() == 4}
    corners = torch.tensor([[centre, *around[:3]] for centre, around in neighbours.items()], dtype=torch.int64).reshape(-1, 4)
    hands = signed_volumes(torch.from_numpy(np.stack([minimum, first])), corners).sign()
    placed = minimum.copy()
    for around, other in zip(neighbours.values(), (hands[0] != hands[1]).tolist(), strict=True):
        if not other:
            continue
        hydrogens = [k for k in around if graph.numbers[k] == 1]
        if len(hydrogens) < 2:
            return None
        placed[hydrogens[:2]] = placed[hydrogens[1::-1]]
    return placed
