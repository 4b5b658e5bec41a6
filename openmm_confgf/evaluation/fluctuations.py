"""How much an ensemble moves, and along which directions, beside its reference: RMSF, pairwise RMSD, MD-PCA W2.

After the analysis of AlphaFlow (Jing, Berger & Jaakkola 2024, doi:10.48550/arXiv.2402.04845), which EBA reports as well (Lu et al. 2025,
doi:10.48550/arXiv.2505.24203). There, conformations are superposed on the crystal structure; here, on the mean structure of the reference,
since a molecule of a few torsions has no structure of its own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import rmsd_matrix
from ..molecules.superposition import mean_structure, superposed
from .sample_weights import sample_weights, thinned
from .transport import MOST_SAMPLES, wasserstein

MOST_PAIRED = 200
"""Samples whose pairwise RMSDs are measured."""

COMPONENTS = 2
"""Of the principal component analysis."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """Both ensembles on one mean structure, that of the reference.

    Attributes
    ----------
    positions : ndarray of float64, (A, n, 3)
        nm, of the atoms that are compared.
    reference : ndarray of float64, (B, n, 3)
        nm.
    weights, reference_weights : ndarray of float64, (A,) and (B,)
        They sum to one.
    """

    positions: NDArray[np.float64]
    reference: NDArray[np.float64]
    weights: NDArray[np.float64]
    reference_weights: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        positions: NDArray[np.float64],
        reference: NDArray[np.float64],
        weights: ArrayLike | None = None,
        reference_weights: ArrayLike | None = None,
    ) -> Aligned:
        """Superpose both.

        Parameters
        ----------
        positions : ndarray of float64, (A, n, 3)
            nm; only atoms that are to be compared, such as the heavy ones.
        reference : ndarray of float64, (B, n, 3)
            nm.
        weights, reference_weights : array_like, (A,) and (B,), optional
            As in `sample_weights`.

        Raises
        ------
        ConfGFError
            If the atoms are not as many in both, there are fewer than three, a position is not finite, or as `sample_weights`.
        """
        ours, theirs = np.asarray(positions, np.float64), np.asarray(reference, np.float64)
        if ours.ndim != 3 or theirs.ndim != 3 or ours.shape[1:] != theirs.shape[1:] or ours.shape[1] < 3 or ours.shape[2] != 3:
            raise ConfGFError(f"The positions have shapes {ours.shape} and {theirs.shape}; give the same atoms of both, at least three.")
        if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            raise ConfGFError("A position is not finite; leave out the conformations whose status is not OK.")
        ours_w, theirs_w = sample_weights(weights, len(ours)), sample_weights(reference_weights, len(theirs))
        mean = mean_structure(theirs, theirs_w)
        return cls(superposed(ours, mean), superposed(theirs, mean), ours_w, theirs_w)

    def rmsf(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Root mean square fluctuation of each atom about its mean, ``sqrt(<|r_i - <r_i>|^2>)``, of both ensembles.

        Returns
        -------
        ours, reference : ndarray of float64, (n,)
            nm.
        """
        return _rmsf(self.positions, self.weights), _rmsf(self.reference, self.reference_weights)

    def pca_w2(self, components: int = COMPONENTS, most: int = MOST_SAMPLES, seed: int = 0) -> float:
        """MD-PCA W2: the Wasserstein-2 distance in the plane of the reference's first principal components.

        Coordinates of all n atoms are projected, and distances are divided by ``sqrt(n)``, so that they compare with RMSDs.

        Parameters
        ----------
        components : int
        most : int
            Samples of each side that are compared, as in `torus_w2`.
        seed : int
            Of the draw where there are more.

        Returns
        -------
        float
            nm.
        """
        mean = np.einsum("b,bni->ni", self.reference_weights, self.reference)
        ours, theirs = ((frames - mean).reshape(len(frames), -1) for frames in (self.positions, self.reference))
        covariance = (theirs * self.reference_weights[:, None]).T @ theirs
        axes = np.linalg.eigh(covariance).eigenvectors[:, ::-1][:, :components]
        rows, ours_w = thinned(self.weights, most, seed)
        columns, theirs_w = thinned(self.reference_weights, most, seed)
        squares = np.square((ours[rows] @ axes)[:, None] - (theirs[columns] @ axes)[None]).sum(-1) / mean.shape[0]
        return wasserstein(squares, ours_w, theirs_w)


def _rmsf(frames: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = np.square(frames - np.einsum("b,bni->ni", weights, frames)).sum(-1)
    return np.sqrt(weights @ spread)


def correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's correlation: of the RMSF of atoms, of one molecule or of all together, or of the mean pairwise RMSDs of molecules.

    Parameters
    ----------
    first, second : array_like, (n,)

    Returns
    -------
    float
        -1 to 1; NaN of fewer than two values, or where all of one side are equal.

    Raises
    ------
    ConfGFError
        If they are not as many, or not finite.

    Examples
    --------
    >>> correlation([1, 2, 3], [1, 2, 6])
    0.944911182523068
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ConfGFError(f"Values of shapes {a.shape} and {b.shape} do not correlate; give two finite ones of each atom or molecule.")
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def mean_pairwise_rmsd(
    graph: MolecularGraph, positions: NDArray[np.float64], weights: ArrayLike | None = None, *, most: int = MOST_PAIRED, seed: int = 0
) -> float:
    """Mean RMSD of two different samples, by `rmsd_matrix`: best superposition of each pair, with the molecule's symmetry.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (B, N, 3)
        nm, of all atoms.
    weights : array_like, (B,), optional
        As in `sample_weights`; a pair counts with the product.
    most : int
        Samples whose pairs are measured, drawn where there are more.
    seed : int
        Of this draw.

    Returns
    -------
    float
        nm; NaN of a single sample.

    Raises
    ------
    ConfGFError
        As `sample_weights`.
    ValueError
        If a position is not finite.
    """
    rows, counted = thinned(sample_weights(weights, len(positions)), most, seed)
    products = np.outer(counted, counted)
    np.fill_diagonal(products, 0)
    if not products.any():
        return float("nan")
    frames = np.asarray(positions)[rows]
    return float((rmsd_matrix(graph, frames, frames) * products).sum() / products.sum())
