"""PreparedMolecule: a molecule in a force field at a temperature, with what an `AutoregressiveDensity` needs to draw and weigh it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ...energies import Energy, Level
from ...energies.systems.parameters import read_parameters
from ...energies.systems.source import SystemSource
from ...ensemble import Target
from ...errors import UnsupportedMoleculeError
from ...models.autoregressive import AutoregressiveDensity, Given, Static
from ...models.placement_batch import PlacementBatch
from ...molecules.graph import MolecularGraph
from ...molecules.placement import Placement
from ...threads import each_on_a_core
from ..base import sample_stream
from ..equilibrium import TargetEnergy
from .inputs import placement_batch

PIECE = 256
"""Conformations that a network weighs at once, always as many: how a matrix product rounds depends on its shape. The fewest with which a
core is busy, since all atoms of a piece are in memory together."""

_PAIRS = 10_000_000
"""Pairs of atoms in the pieces that are weighed at once, which take some 2 GB."""

DRAWN = 1024
"""Samples that a network draws at once, always as many. More than those that it weighs: an atom at a time, a step is soon done."""

_MOST_OPEN = math.radians(175)
"""Equilibrium angle from which an atom's neighbours count as in line, where internal coordinates end."""


@dataclasses.dataclass(frozen=True)
class PreparedMolecule:
    """What stays the same for all samples of one molecule.

    Attributes
    ----------
    graph : MolecularGraph
        Of N atoms.
    placement : Placement
    batch : PlacementBatch
        The network's inputs.
    energy : Energy
        Of the target, in float64.
    target : Target
    charges : str or None
        Where the System's charges come from.
    """

    graph: MolecularGraph
    placement: Placement
    batch: PlacementBatch
    energy: Energy
    target: Target
    charges: str | None

    @classmethod
    def of(
        cls,
        graph: MolecularGraph,
        source: SystemSource,
        temperature: float,
        device: torch.device | str = "cpu",
        level: Level | None = None,
    ) -> PreparedMolecule:
        """Build the System and the placement.

        Parameters
        ----------
        graph : MolecularGraph
        source : SystemSource
            Of the System whose parameters the network reads.
        temperature : float
            K.
        device : torch.device or str
            Of the network's inputs, and of the energies.
        level : Level, optional
            Whose energies the target has; default: those of the System, in batches.

        Raises
        ------
        UnsupportedMoleculeError
            If the molecule has fewer than 3 atoms, or three atoms in line.
        ForceFieldError, UnsupportedForceError
            As in `TargetEnergy.of`.
        """
        if len(graph) < 3:
            raise UnsupportedMoleculeError(f"{graph.name!r} has {len(graph)} atoms; a Boltzmann generator needs at least 3.")
        of_target = TargetEnergy.of(graph, source, temperature, device, level)
        placement = Placement.of(graph)
        angles = read_parameters(graph, of_target.system).angles
        for step in placement.steps[2:]:
            if not step.closes and angles[step.atom, step.parent, step.second][0] > _MOST_OPEN:
                raise UnsupportedMoleculeError(
                    f"{graph.name!r} has three atoms in line ({step.atom}, {step.parent}, {step.second}), where internal coordinates end; "
                    "a Boltzmann generator needs another molecule."
                )
        return cls(
            graph,
            placement,
            placement_batch(graph, placement, of_target.system, temperature).to(device),
            of_target.energy,
            of_target.target,
            of_target.charges,
        )

    @property
    def temperature(self) -> float:
        """Of the target, in K."""
        assert self.target.temperature is not None
        return self.target.temperature

    @property
    def device(self) -> torch.device:
        """Where the network must be."""
        return self.batch.atoms.device

    def coordinates(self, positions: NDArray[np.float64], hands: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """What the network sees of conformations.

        Parameters
        ----------
        positions : ndarray, (B, N, 3)
            nm.
        hands : bool
            As in `Placement.relabelled`: whether alike branches with labels that are never drawn get those that are.

        Returns
        -------
        coordinates, placed : Tensor of float64, (B, N, 3)
        log_volume : Tensor of float64, (B,)
            Of the mean-free subspace over them, with all labellings that are folded.
        """
        frames = self.placement.relabelled(torch.tensor(positions), hands)
        found = self.placement.coordinates(frames)
        volume = self.placement.log_volume_element(found, frames) + self.placement.log_multiplicity
        return found, frames[:, self.placement.order], volume

    def unplaced(self, coordinates: Tensor, placed: Tensor) -> tuple[Tensor, Tensor]:
        """What `AutoregressiveDensity.sample` gives, in the molecule's order of atoms.

        Parameters
        ----------
        coordinates, placed : Tensor of float64, (B, N, 3)

        Returns
        -------
        frames : Tensor, (B, N, 3)
            nm, with those labels that the coordinates take.
        log_volume : Tensor, (B,)
            As in `coordinates`.
        """
        frames = self._in_molecules_order(placed)
        return frames, self.placement.log_volume_element(coordinates, frames) + self.placement.log_multiplicity

    def _in_molecules_order(self, placed: Tensor) -> Tensor:
        frames = torch.empty_like(placed)
        frames[:, torch.from_numpy(self.placement.order).to(placed.device)] = placed
        return frames

    def log_density(self, network: AutoregressiveDensity, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log q on the mean-free subspace, in nats.

        Parameters
        ----------
        network : AutoregressiveDensity
        positions : ndarray, (B, N, 3)
            nm, finite.

        Returns
        -------
        ndarray of float64, (B,)
            -inf where q is zero: another hand of a centre, atoms in line.
        """
        coordinates, placed, volume = self.coordinates(positions)
        known = coordinates.isfinite().all((1, 2)) & volume.isfinite()
        found = np.full(len(positions), -np.inf)
        if known.any():
            pieces = list(zip(coordinates[known].split(PIECE), placed[known].split(PIECE), strict=True))
            with torch.no_grad():
                static = network.static(self.batch)
            most = max(1, _PAIRS // (PIECE * len(self.graph) ** 2))
            inside = torch.cat(each_on_a_core(lambda piece: _padded(network, self.batch, static, *piece), pieces, self.device, most))
            found[known.numpy()] = (inside.cpu() - volume[known]).numpy()
        return found

    def draw(
        self, network: AutoregressiveDensity, seed: int, first: int, count: int, broad: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Samples, each from a random stream of its own, and the density that they were drawn from.

        Parameters
        ----------
        network : AutoregressiveDensity
        seed : int
        first, count : int
            Which samples: number `first` and those after it.
        broad : bool
            As in `AutoregressiveDensity.sample`; False for samples to learn from.

        Returns
        -------
        positions : ndarray of float64, (count, N, 3)
            nm, turned at random, alike branches labelled at random.
        log_q : ndarray of float64, (count,)
            What `log_density` says of them, but for rounding; -inf where a sample is not finite.
        """
        n = len(self.graph)
        found, log_q = np.empty((count, n, 3)), np.empty(count)
        with torch.no_grad():
            static = network.static(self.batch)

        def draw_piece(start: int) -> None:
            streams = [sample_stream(self.graph, seed, first + k) for k in range(start, min(start + DRAWN, count))]
            here = slice(start, start + len(streams))
            uniform = np.zeros((DRAWN, n, 6))
            uniform[: len(streams)] = [stream.random((n, 6)) for stream in streams]
            drawn = network.sample(self.batch, torch.from_numpy(uniform).to(self.device), static, broad=broad)
            coordinates, placed, inside = (each[: len(streams)].cpu() for each in drawn)
            frames, volume = self.unplaced(coordinates, placed)
            log_q[here] = (inside - volume).nan_to_num(nan=-math.inf).numpy()
            labels = [[stream.integers(fold.order) for fold in self.placement.folds] for stream in streams]
            positions = self.placement.labelled(frames, torch.tensor(labels, dtype=torch.int64)).numpy()
            # uniform directions in four dimensions are uniform rotations
            turns = Rotation.from_quat([stream.standard_normal(4) for stream in streams]).as_matrix()
            found[here] = np.einsum("bij,bnj->bni", turns, positions)

        each_on_a_core(draw_piece, range(0, count, DRAWN), self.device)
        return found, log_q

    def redraw(
        self, network: AutoregressiveDensity, positions: NDArray[np.float64], redrawn: NDArray[np.bool_], uniform: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw some atoms of a conformation again, each given all that are placed before it, and leave the others where they are.

        Parameters
        ----------
        network : AutoregressiveDensity
        positions : ndarray, (N, 3)
            nm.
        redrawn : ndarray of bool, (N,)
            Atoms that are drawn; what is placed by one of them as its parent must be, too, and none of the first three steps.
        uniform : ndarray, (B, N, 6)
            Uniform random numbers in [0, 1).

        Returns
        -------
        positions : ndarray of float64, (B + 1, N, 3)
            nm. First the conformation that was given, then those that are drawn, with the labels of the former.
        log_q : ndarray of float64, (B + 1,)
            Of the redrawn atoms' positions given the others, in nats; +inf where the labels of alike branches would be others, so that such
            a conformation has no weight.
        """
        given = torch.tensor(positions)[None]
        own = self.placement.relabelled(given)
        order = torch.from_numpy(self.placement.order)
        copies = own.expand(len(uniform) + 1, -1, -1)
        numbers = torch.from_numpy(np.concatenate([np.full((1, *uniform.shape[1:]), 0.5), uniform]))
        known = Given(copies[:, order].to(self.device), torch.from_numpy(redrawn)[order].to(self.device))
        drawn = network.sample(self.batch, numbers.to(self.device), given=known)
        coordinates, placed, inside = (each.cpu() for each in drawn)
        frames = self._in_molecules_order(placed)
        volume = self.placement.log_volume_elements(coordinates, frames)[:, known.redrawn.cpu()].sum(-1)
        kept = (self.placement.relabelled(frames) == frames).all((1, 2))
        log_q = torch.where(kept, inside - volume, torch.inf).nan_to_num(nan=math.inf)
        labels = (own[0, :, None] == given[0]).all(-1).int().argmax(1)
        found = torch.empty_like(frames)
        found[:, labels] = frames
        return found.numpy(), log_q.numpy()


@torch.no_grad()
def _padded(network: AutoregressiveDensity, batch: PlacementBatch, static: Static, coordinates: Tensor, placed: Tensor) -> Tensor:
    count, device = len(coordinates), batch.atoms.device
    rows = torch.arange(PIECE).clamp_max(count - 1)
    return network.log_prob(batch, coordinates[rows].to(device), placed[rows].to(device), static)[:count]
