"""Coverage and matching of reference conformers by generated ones, from a matrix of RMSDs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class CoverageMatching:
    """COV and MAT of one molecule.

    Recall is of Xu et al. 2021 (eqs. 15 and 16, doi:10.48550/arXiv.2102.10240), precision of Ganea et al. 2021
    (doi:10.48550/arXiv.2106.07802).

    Attributes
    ----------
    cov_r, mat_r : float
        Recall: the share of references that lie within delta of some generated conformer, and the mean over references of the
        smallest RMSD (in the matrix's unit).
    cov_p, mat_p : float
        Precision: the same with the roles swapped.
    """

    cov_r: float
    mat_r: float
    cov_p: float
    mat_p: float

    @classmethod
    def failure(cls) -> CoverageMatching:
        """A molecule for which nothing usable was generated: it covers nothing, and has no distance to average."""
        return cls(0.0, math.nan, 0.0, math.nan)


def coverage_matching(rmsd: ArrayLike, delta: float, requested: int | None = None) -> CoverageMatching:
    """Coverage and matching at the threshold `delta`.

    ``COV-R = |{r : min_g RMSD(r, g) <= delta}| / R``, ``MAT-R = (1/R) sum_r min_g RMSD(r, g)``; COV-P and MAT-P exchange r and g.

    Parameters
    ----------
    rmsd : array_like, (R, G)
        RMSD of each reference to each generated conformer. No columns: nothing was generated.
    delta : float
        The threshold in the matrix's unit; a pair at exactly `delta` counts as covered.
    requested : int, optional
        How many conformers were asked for. The ones that are not in the matrix (rejected) count as generated and matching nothing in
        COV-P; MAT-P is over those in the matrix. Default: G.

    Returns
    -------
    CoverageMatching

    Raises
    ------
    ValueError
        If the matrix has no row, is not finite, or has more columns than were requested.
    """
    matrix = np.asarray(rmsd, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) == 0:
        raise ValueError(f"The RMSD matrix has shape {matrix.shape}; give (references, generated) with at least one reference.")
    if not np.isfinite(matrix).all():
        raise ValueError("The RMSD matrix is not finite; leave out the conformations whose status is not OK.")
    generated = matrix.shape[1]
    requested = generated if requested is None else requested
    if generated > requested:
        raise ValueError(f"{generated} conformers were compared but only {requested} requested; pass the number that was asked for.")
    if generated == 0:
        return CoverageMatching.failure()
    nearest_generated, nearest_reference = matrix.min(axis=1), matrix.min(axis=0)
    return CoverageMatching(
        cov_r=float((nearest_generated <= delta).mean()),
        mat_r=float(nearest_generated.mean()),
        cov_p=float((nearest_reference <= delta).sum() / requested),
        mat_p=float(nearest_reference.mean()),
    )
