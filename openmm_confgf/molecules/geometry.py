"""Batched geometry of positions ``(..., N, 3)``: torch functions that know no molecule and no unit."""

from __future__ import annotations

import torch
from torch import Tensor


def distances(positions: Tensor, pairs: Tensor) -> Tensor:
    """Distances of atom pairs.

    Parameters
    ----------
    positions : Tensor, (..., N, 3)
    pairs : Tensor of int64, (P, 2)

    Returns
    -------
    Tensor, (..., P)
        In the unit of the positions.
    """
    return torch.linalg.vector_norm(positions[..., pairs[:, 0], :] - positions[..., pairs[:, 1], :], dim=-1)


def angles(positions: Tensor, triples: Tensor) -> Tensor:
    """Angles a-b-c in radians, [0, pi]; 0 where two of the atoms coincide.

    ``atan2(|u x w|, u.w)`` of the bonds u from b to a and w from b to c.

    Parameters
    ----------
    positions : Tensor, (..., N, 3)
    triples : Tensor of int64, (A, 3)
        Atoms a, b, c.

    Returns
    -------
    Tensor, (..., A)

    Examples
    --------
    >>> corner = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> angles(corner, torch.tensor([[0, 1, 2]])).rad2deg().tolist()
    [90.0]
    """
    a, b, c = (positions[..., triples[:, k], :] for k in range(3))
    first, last = a - b, c - b
    # exact near 0 and pi, where an arccosine is not
    return torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(first, last), dim=-1), (first * last).sum(-1))


def signed_volumes(positions: Tensor, quadruples: Tensor) -> Tensor:
    """Signed volume of three atoms about a centre, ``(r_1 - r_c) . [(r_2 - r_c) x (r_3 - r_c)]``: odd under reflection.

    Parameters
    ----------
    positions : Tensor, (..., N, 3)
    quadruples : Tensor of int64, (Q, 4)
        Centre c, then atoms 1, 2, 3.

    Returns
    -------
    Tensor, (..., Q)
        In the cube of the positions' unit.

    Examples
    --------
    >>> corner = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> signed_volumes(corner, torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]])).tolist()
    [6.0, -6.0]
    """
    c, i, j, k = (positions[..., quadruples[:, a], :] for a in range(4))
    return ((i - c) * torch.linalg.cross(j - c, k - c)).sum(-1)


def dihedrals(positions: Tensor, quadruples: Tensor) -> Tensor:
    """Dihedral angles a-b-c-d in radians, (-pi, pi], IUPAC sign, 0 for cis; NaN where three of the atoms in a row lie on a line.

    As in `dihedral_angle`.

    Parameters
    ----------
    positions : Tensor, (..., N, 3)
    quadruples : Tensor of int64, (Q, 4)
        Atoms a, b, c, d.

    Returns
    -------
    Tensor, (..., Q)

    Examples
    --------
    >>> chain = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> dihedrals(chain, torch.tensor([[0, 1, 2, 3]])).rad2deg().tolist()
    [90.0]
    """
    a, b, c, d = (positions[..., quadruples[:, k], :] for k in range(4))
    return dihedral_angle(b - a, c - b, d - c)


def dihedral_angle(first: Tensor, axis: Tensor, last: Tensor, dim: int = -1, resolution: float = 0.0) -> Tensor:
    """Angle in radians, (-pi, pi], between the planes that the vectors of three consecutive bonds span; NaN where they span none.

    ``atan2(|v| u.(v x w), (u x v).(v x w))`` of the bonds u, v and w (sine and cosine as in Blondel & Karplus 1996,
    doi:10.1002/(SICI)1096-987X(19960715)17:9<1132::AID-JCC5>3.0.CO;2-T). Two bonds span a plane if
    ``|u x v| > resolution * max(|u|, |v|)``: not on a line, nor with atoms in one place. Where positions are known to d, a plane may be
    tilted by up to ``d (|u| + |v|) / |u x v|``, which is then less than ``2 d / resolution`` radians.

    Parameters
    ----------
    first, axis, last : Tensor, (..., 3, ...)
        ``b - a``, ``c - b`` and ``d - c``, of one shape.
    dim : int
        Their axis of x, y, z, which the result lacks.
    resolution : float
        A length, in the unit of the bonds.

    Returns
    -------
    Tensor, (..., ...)
    """
    before, after = torch.linalg.cross(first, axis, dim=dim), torch.linalg.cross(axis, last, dim=dim)
    square = (axis * axis).sum(dim)
    sine, cosine = square.sqrt() * (first * after).sum(dim), (before * after).sum(dim)
    with torch.no_grad():
        # sums of squares: torch's vector_norm is several times slower along the first axis
        u, w, area_before, area_after = ((vector * vector).sum(dim) for vector in (first, last, before, after))
        spanned = (area_before > resolution**2 * torch.maximum(u, square)) & (area_after > resolution**2 * torch.maximum(square, w))
    return torch.where(spanned, torch.atan2(sine, cosine), torch.nan)


def pseudo_forces(distance_scores: Tensor, positions: Tensor, pairs: Tensor) -> Tensor:
    """Chain rule from scores of distances to scores of positions (ConfGF, Shi et al. 2021, eq. 7, doi:10.48550/arXiv.2105.03902).

    ``s_i = sum_j (1 / d_ij) s_ij (r_i - r_j)``, the sum over the pairs that hold atom i. Since it depends on differences of
    positions only, it is equivariant under rotations, translations and permutations and sums to zero over the atoms.

    Parameters
    ----------
    distance_scores : Tensor, (..., P)
        ``s_ij = d log p / d d_ij`` of each unordered pair, in the inverse of the positions' unit.
    positions : Tensor, (..., N, 3)
    pairs : Tensor of int64, (P, 2)
        Each unordered pair once.

    Returns
    -------
    Tensor, (..., N, 3)
        ``d log p / d r_i``, in the unit of the scores.
    """
    i, j = pairs[:, 0], pairs[:, 1]
    difference = positions[..., i, :] - positions[..., j, :]
    distance = torch.linalg.vector_norm(difference, dim=-1, keepdim=True).clamp_min(torch.finfo(positions.dtype).tiny)
    pair_forces = distance_scores.unsqueeze(-1) * difference / distance
    return torch.zeros_like(positions).index_add(-2, i, pair_forces).index_add(-2, j, -pair_forces)
