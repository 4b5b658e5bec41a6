"""Conformations superposed on a structure, and the mean structure of many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import rdMolAlign

from ..units import NM_PER_ANGSTROM
from .graph import MolecularGraph

_ROUNDS = 50
_CONVERGED = 1e-7
"""nm."""


def superposed(positions: NDArray[np.float64], structure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformations, each moved and turned as near to a structure as it comes, atom by atom (Kabsch 1978, doi:10.1107/S0567739478001680).

    Parameters
    ----------
    positions : ndarray of float64, (B, N, 3)
        Of any unit. Give the atoms that are to be compared, and no others.
    structure : ndarray of float64, (N, 3)
        In the same unit; it need not be centred.

    Returns
    -------
    ndarray of float64, (B, N, 3)
        Never reflected.

    Examples
    --------
    >>> structure = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> turned = structure[:, [1, 2, 0]] + 5.0  # a third of a turn about the diagonal
    >>> np.allclose(superposed(turned[None], structure)[0], structure)
    True
    """
    centred = positions - positions.mean(axis=1, keepdims=True)
    centre = structure.mean(axis=0)
    left, _, right = np.linalg.svd(np.einsum("bni,nj->bij", centred, structure - centre))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(centred @ (left @ right) + centre)


def aligned_positions(graph: MolecularGraph, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformations, each rotated and moved onto the first by its heavy atoms, or by all atoms where there are fewer than three of these.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (B, N, 3)
        nm, finite; one at least.

    Returns
    -------
    ndarray of float64, (B, N, 3)
        nm.
    """
    mol, heavy = graph.to_rdkit(positions), [int(i) for i in graph.heavy_atoms]
    rdMolAlign.AlignMolConformers(mol, atomIds=heavy if len(heavy) > 2 else [])
    return np.array([conformer.GetPositions() for conformer in mol.GetConformers()]) * NM_PER_ANGSTROM


def mean_structure(
    positions: NDArray[np.float64], weights: NDArray[np.float64], start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The structure that is the mean of conformations superposed on it: superposed on one of them, on their mean, and so on.

    Parameters
    ----------
    positions : ndarray of float64, (B, N, 3)
        nm.
    weights : ndarray of float64, (B,)
        They sum to one.
    start : ndarray of float64, (N, 3), optional
        nm; default: the first conformation.

    Returns
    -------
    ndarray of float64, (N, 3)
        nm.
    """
    mean = positions[0] if start is None else start
    for _ in range(_ROUNDS):
        before, mean = mean, np.einsum("b,bni->ni", weights, superposed(positions, mean))
        if np.abs(mean - before).max() < _CONVERGED:
            break
    return mean
