"""What all objectives draw: reference conformers of the molecules of a batch, and noise on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...models.features import GraphBatch, collate

if TYPE_CHECKING:
    from ..data import TrainingMolecule


def draw_conformers(molecules: Sequence[TrainingMolecule], draws: int, rng: np.random.Generator) -> tuple[GraphBatch, Tensor, Tensor]:
    """Random conformers of molecules, and where the way to them began.

    Parameters
    ----------
    molecules : sequence of TrainingMolecule
        M molecules of up to N atoms.
    draws : int
        K, how many conformers of each; one may be drawn more than once.
    rng : numpy.random.Generator

    Returns
    -------
    GraphBatch
        The padded graphs.
    Tensor, (M, K, N, 3)
        Conformers in Angstrom, 0 where there is no atom.
    Tensor, (M, K, N, 3)
        A random point on the path to each, Angstrom: the conformer itself where the molecule has no paths.
    """
    graph = collate([m.features for m in molecules])
    clean = np.zeros((len(molecules), draws, graph.atoms.shape[1], 3), np.float32)
    before = clean.copy()
    for ends, starts, molecule in zip(clean, before, molecules, strict=True):
        drawn, present = rng.integers(len(molecule.positions), size=draws), slice(len(molecule.features))
        ends[:, present] = starts[:, present] = molecule.positions[drawn]
        if molecule.paths is not None:
            starts[:, present] = molecule.paths[drawn, rng.integers(molecule.paths.shape[1], size=draws)]
    return graph, torch.from_numpy(clean), torch.from_numpy(before)


def mean_free_noise(graph: GraphBatch, draws: int, rng: np.random.Generator) -> Tensor:
    """Normal noise that leaves the mean of a molecule's atoms where it is.

    Parameters
    ----------
    graph : GraphBatch
        Of M molecules of up to N atoms.
    draws : int
        K.
    rng : numpy.random.Generator

    Returns
    -------
    Tensor, (M, K, N, 3)
        0 where there is no atom.
    """
    mask = graph.atom_mask[:, None, :, None].numpy()
    noise = rng.standard_normal((len(mask), draws, mask.shape[2], 3), np.float32) * mask
    noise -= noise.sum(2, keepdims=True) / mask.sum(2, keepdims=True) * mask
    return torch.from_numpy(noise)
