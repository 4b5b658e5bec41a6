"""Frames: conformations of one molecule as a Boltzmann generator learns from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ConfGFError
from ...generators.boltzmann.prepared import PreparedMolecule
from ...models.features import TensorRecord
from ...molecules.graph import MolecularGraph
from ...units import kT

FEWEST = 100
"""Frames without which there is nothing to learn."""


@dataclasses.dataclass(frozen=True)
class Frames(TensorRecord):
    """Conformations of a molecule of N atoms in the coordinates of its placement.

    Attributes
    ----------
    coordinates, placed : Tensor of float32, (B, N, 3)
        As `PreparedMolecule.coordinates` gives them.
    log_target : Tensor of float64, (B,)
        Log of the Boltzmann density over the coordinates, not normalised: ``-u`` plus the logarithm of the volume element.
    """

    coordinates: Tensor
    placed: Tensor
    log_target: Tensor

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, rows: Tensor) -> Frames:
        return Frames(self.coordinates[rows], self.placed[rows], self.log_target[rows])

    @classmethod
    def together(cls, parts: list[Frames]) -> Frames:
        """One after the other."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(cls)))

    @classmethod
    def of(cls, prepared: PreparedMolecule, positions: NDArray[np.float64], hands: bool = False) -> Frames:
        """Energies and coordinates of conformations.

        Parameters
        ----------
        prepared : PreparedMolecule
        positions : ndarray, (B, N, 3)
            nm.
        hands : bool
            As in `PreparedMolecule.coordinates`.

        Returns
        -------
        Frames
            The target is -inf where the energy is not finite.
        """
        coordinates, placed, volume = prepared.coordinates(positions, hands)
        reduced = torch.from_numpy(prepared.energy.evaluate(positions).energy) / kT(prepared.temperature)
        centred = placed - placed.mean(1, keepdim=True)
        return cls(coordinates.float(), centred.float(), volume - reduced)


def check_positions(graph: MolecularGraph, positions: NDArray[np.float64]) -> None:
    """Make sure that there is something to learn from.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray, (B, N, 3)
        nm.

    Raises
    ------
    ConfGFError
        If there are fewer than `FEWEST` frames, or one is not finite.
    """
    if len(positions) < FEWEST:
        raise ConfGFError(f"{len(positions)} frames of {graph.name!r} are too few to learn from; give at least {FEWEST}.")
    if bad := int((~np.isfinite(positions).all(axis=(1, 2))).sum()):
        raise ConfGFError(f"{bad} of {len(positions)} frames of {graph.name!r} are not finite; leave them out.")


def training_frames(prepared: PreparedMolecule, positions: NDArray[np.float64]) -> Frames:
    """Frames of a simulation to learn from: alike branches get the labels of the placement.

    Parameters
    ----------
    prepared : PreparedMolecule
    positions : ndarray, (B, N, 3)
        nm.

    Returns
    -------
    Frames

    Raises
    ------
    ConfGFError
        If a frame is not finite, of another stereoisomer, or there are fewer than `FEWEST`.
    """
    check_positions(prepared.graph, positions)
    frames = Frames.of(prepared, positions, hands=True)
    outside = ~inside(prepared, frames)
    if outside.any():
        raise ConfGFError(
            f"{int(outside.sum())} of {len(frames)} frames are of another stereoisomer than {prepared.graph.name!r}, or have atoms in "
            "line; give frames of this molecule."
        )
    return frames


def inside(prepared: PreparedMolecule, frames: Frames) -> Tensor:
    """Which frames are in the domain of the coordinates, (B,): neither another stereoisomer, nor with atoms in line."""
    steps = prepared.placement.steps
    turn = frames.coordinates[..., 2] - torch.tensor([step.start for step in steps])
    beyond = (turn > torch.tensor([step.width + 1e-6 for step in steps]))[:, 3:].any(1)
    return ~beyond & frames.coordinates.isfinite().all((1, 2))
