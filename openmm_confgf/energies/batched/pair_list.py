"""The atom pairs of molecules, ordered so that each force takes a slice of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from .coordinates import InternalCoordinate
from .term import PlacedForce

EXCEPTION, EXCLUDED = 1, 2


class PairList(nn.Module):
    """Pairs of atoms within each molecule: those with a full nonbonded interaction first, then exceptions, then excluded pairs.

    Parameters
    ----------
    placed : sequence of PlacedForce
        One force of each molecule.
    kinds : mapping of (int, int) to int
        EXCEPTION or EXCLUDED by atoms in increasing order; other pairs interact in full.
    with_excluded : bool
        Whether anything needs the excluded pairs.

    Attributes
    ----------
    distances : InternalCoordinate
        Of all pairs, (P, B) in nm.
    atoms : ndarray of int64, (P, 2)
    molecule : ndarray of int64, (P,)
    interacting, exceptions : slice
        The rows of pairs with a full interaction, and of exceptions.
    """

    def __init__(self, placed: Sequence[PlacedForce], kinds: Mapping[tuple[int, int], int], with_excluded: bool = True) -> None:
        super().__init__()
        each = [np.stack(np.triu_indices(one.n_atoms, 1), 1) + one.first_atom for one in placed]
        atoms = np.concatenate(each)
        molecule = np.repeat([one.molecule for one in placed], [len(pairs) for pairs in each])
        kind = np.array([kinds.get((i, j), 0) for i, j in atoms.tolist()], np.int64)
        order = np.argsort(kind, kind="stable")
        counts = np.bincount(kind, minlength=3)
        order = order if with_excluded else order[: counts[:EXCLUDED].sum()]
        self.atoms, self.molecule = atoms[order], molecule[order]
        self.interacting, self.exceptions = slice(0, int(counts[0])), slice(int(counts[0]), int(counts[:EXCLUDED].sum()))
        self.distances = InternalCoordinate(torch.from_numpy(self.atoms))
