"""How far the torsions of an ensemble are distributed from those of its reference, one by one and all together."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..molecules.geometry import dihedrals
from ..molecules.graph import MolecularGraph
from ..molecules.torsions import rotatable_torsions, torsion_images, torsion_orders
from .divergence import jensen_shannon
from .sample_weights import sample_weights, thinned
from .transport import MOST_SAMPLES, wasserstein

BINS = 36
"""Of a full turn."""


@dataclasses.dataclass(frozen=True, eq=False)
class RotatableTorsions:
    """The torsions that are compared, and what leaves the molecule the same.

    Attributes
    ----------
    atoms : ndarray of int64, (T, 4)
        One for each rotatable bond, from 0, as `rotatable_torsions` names them.
    orders : ndarray of int64, (T,)
        As `torsion_orders`: the period is 2 pi / order, half a turn at a phenyl.
    images : ndarray of int64, (G, T, 4)
        The same torsions under each exchange of atoms that are alike, as `torsion_images`; the first are `atoms`.
    """

    atoms: NDArray[np.int64]
    orders: NDArray[np.int64]
    images: NDArray[np.int64]

    @classmethod
    def of(cls, graph: MolecularGraph) -> RotatableTorsions:
        """Those of a molecule; there may be none.

        Parameters
        ----------
        graph : MolecularGraph
        """
        atoms = rotatable_torsions(graph)
        return cls(atoms, np.array(torsion_orders(graph, atoms), np.int64), torsion_images(graph, atoms))

    def __len__(self) -> int:
        return len(self.atoms)

    def angles(self, positions: Any) -> NDArray[np.float64]:
        """Torsions of conformations, however their like atoms are numbered.

        Parameters
        ----------
        positions : ndarray of float64, (B, N, 3)
            nm.

        Returns
        -------
        ndarray of float64, (B, G, T)
            Radians, of each of `images`.

        Raises
        ------
        ConfGFError
            If one is not defined.
        """
        rows = torch.from_numpy(self.images.reshape(-1, 4))
        found = dihedrals(torch.tensor(positions, dtype=torch.float64), rows).numpy()
        if wrong := int((~np.isfinite(found)).any(axis=1).sum()):
            raise ConfGFError(f"A torsion of {wrong} conformations is not defined: atoms are in line, or not finite; leave these out.")
        return np.asarray(found.reshape(len(found), *self.images.shape[:2]))


def torsion_js(
    angles: ArrayLike,
    reference: ArrayLike,
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
    *,
    orders: ArrayLike | None = None,
    bins: int = BINS,
) -> NDArray[np.float64]:
    """`jensen_shannon` divergence of the histogram of each torsion from that of the reference.

    Where like atoms have several numberings, the histograms hold all.

    Parameters
    ----------
    angles : array_like, (A, T) or (A, G, T)
        Radians, of any turn; of G numberings of atoms that are alike, as `RotatableTorsions.angles` gives them, where there are several.
    reference : array_like, (B, T) or (B, G, T)
        Radians.
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.
    orders : array_like of int, (T,), optional
        Into how many equal parts a turn falls, as `RotatableTorsions.orders`; default: one.
    bins : int
        Of a period.

    Returns
    -------
    ndarray of float64, (T,)
        nats, 0 to ln 2.

    Raises
    ------
    ConfGFError
        If shapes disagree, an angle is not finite, there is no bin, or as `sample_weights`.

    Examples
    --------
    >>> torsion_js([[0.1], [3.0]], [[0.1], [0.1]]).round(6)
    array([0.215762])
    """
    ours, theirs, periods = _checked(angles, reference, orders)
    if bins < 1:
        raise ConfGFError(f"{bins} bins hold no histogram; take at least 1.")
    ours_w, theirs_w = sample_weights(weights, len(ours)), sample_weights(reference_weights, len(theirs))
    found = [
        jensen_shannon(_histogram(ours[..., k], ours_w, period, bins), _histogram(theirs[..., k], theirs_w, period, bins))
        for k, period in enumerate(periods.tolist())
    ]
    return np.array(found, np.float64)


def torus_w2(
    angles: ArrayLike,
    reference: ArrayLike,
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
    *,
    orders: ArrayLike | None = None,
    most: int = MOST_SAMPLES,
    seed: int = 0,
) -> float:
    """Torus-W2: the Wasserstein-2 distance of all torsions together (Tan et al. 2025, doi:10.48550/arXiv.2502.18462).

    Two conformations are ``sqrt(sum_t d_t^2)`` apart, d the shorter way around the circle, in the numbering of like atoms in which they are
    nearest.

    Parameters
    ----------
    angles : array_like, (A, T) or (A, G, T)
        Radians, of any turn; of G numberings of atoms that are alike, as `RotatableTorsions.angles` gives them, where there are several.
    reference : array_like, (B, T) or (B, G, T)
        Radians.
    weights, reference_weights : array_like, (A,) and (B,), optional
        As in `sample_weights`.
    orders : array_like of int, (T,), optional
        As in `torsion_js`.
    most : int
        Samples of each side that are compared, drawn as `thinned` does where there are more. Few samples are far apart in many torsions
        even where their distribution is the same: compare with what two halves of the reference give.
    seed : int
        Of this draw.

    Returns
    -------
    float
        Radians.

    Raises
    ------
    ConfGFError
        If shapes disagree, an angle is not finite, there is no torsion, or as `sample_weights`.

    Examples
    --------
    >>> round(torus_w2([[math.pi - 0.1]], [[0.1 - math.pi]]), 6)
    0.2
    """
    ours, theirs, periods = _checked(angles, reference, orders)
    if not len(periods):
        raise ConfGFError("There are no torsions to compare: no bond of the molecule turns; leave the torus distance out.")
    rows, ours_w = thinned(sample_weights(weights, len(ours)), most, seed)
    columns, theirs_w = thinned(sample_weights(reference_weights, len(theirs)), most, seed)
    nearest = np.full((len(rows), len(columns)), np.inf)
    for image in range(theirs.shape[1]):
        squares = np.zeros_like(nearest)
        for k, period in enumerate(periods.tolist()):
            difference = ours[rows, None, 0, k] - theirs[None, columns, image, k]
            squares += np.square(difference - period * np.rint(difference / period))
        nearest = np.minimum(nearest, squares)
    return wasserstein(nearest, ours_w, theirs_w)


def _checked(
    angles: ArrayLike, reference: ArrayLike, orders: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Both as arrays (A, G, T) and (B, G, T), and the period of each torsion in radians."""
    ours, theirs = np.asarray(angles, np.float64), np.asarray(reference, np.float64)
    if ours.ndim not in (2, 3) or ours.shape[1:] != theirs.shape[1:]:
        raise ConfGFError(f"The torsions have shapes {ours.shape} and {theirs.shape}; give the same torsions of the samples of each side.")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ConfGFError("A torsion is not finite: three of its atoms are in line, or a sample is bad; leave that out.")
    count = ours.shape[-1]
    parts = np.ones(count, np.int64) if orders is None else np.asarray(orders)
    if parts.shape != (count,) or (parts < 1).any():
        raise ConfGFError(f"The orders of {count} torsions are {parts.tolist()}; give one of at least 1 each.")
    ours, theirs = (given[:, None] if given.ndim == 2 else given for given in (ours, theirs))
    return ours, theirs, 2 * math.pi / parts


def _histogram(angles: NDArray[np.float64], weights: NDArray[np.float64], period: float, bins: int) -> NDArray[np.float64]:
    """Of angles (B, G) of samples with weights (B,)."""
    # a little below a full turn, the remainder may be rounded up to one
    place = np.minimum(np.floor((angles / period) % 1.0 * bins).astype(np.int64), bins - 1)
    return np.bincount(place.ravel(), np.repeat(weights, angles.shape[1]), bins).astype(np.float64)
