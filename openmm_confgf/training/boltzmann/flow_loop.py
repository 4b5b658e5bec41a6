"""The training of an EGNN by flow matching, on frames of one molecule or of many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.continuous_flow import draw_noise
from ...models.egnn import EGNN
from ..objectives.flow_matching import flow_matching_loss, optimal_coupling
from ..step_rounds import Row, StepRounds
from .flow_settings import FlowRun

LOOKS = 5
"""How often fresh samples are looked at in a run, which takes longer than many steps."""


@dataclasses.dataclass(frozen=True)
class FlowLesson:
    """Frames of one molecule of N atoms.

    Attributes
    ----------
    positions : Tensor of float32, (F, N, 3)
        In the network's unit of length, without a mean.
    types : Tensor of float32, (N, T)
    probability : ndarray of float64, (F,), optional
        How often each frame is seen; None for equally often.
    """

    positions: Tensor
    types: Tensor
    probability: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        positions: NDArray[np.float64],
        types: NDArray[np.float32],
        scale: float,
        device: torch.device,
        probability: NDArray[np.float64] | None = None,
    ) -> FlowLesson:
        """Bring frames into the network's unit.

        Parameters
        ----------
        positions : ndarray, (F, N, 3)
            nm.
        types : ndarray, (N, T)
        scale : float
            Per nm.
        device : torch.device
            Where the network is.
        probability : ndarray, (F,), optional
        """
        centred = (positions - positions.mean(1, keepdims=True)) * scale
        return cls(torch.from_numpy(centred).float().to(device), torch.from_numpy(types).to(device), probability)

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """Frames at random, (count, N, 3).

        Parameters
        ----------
        count : int
        rng : numpy.random.Generator
        """
        return self.positions[torch.from_numpy(rng.choice(len(self.positions), count, p=self.probability))]


class FlowTraining(StepRounds):
    """A run in a folder.

    Parameters
    ----------
    network : EGNN
        Trained in place; it ends with averaged weights.
    lessons : sequence of FlowLesson
        Of one molecule, or of many.
    run : FlowRun
    directory : Path
        Gets ``last.pt`` and ``log.jsonl``.
    look : callable
        Tells of the averaged network what a row of the log is to hold besides; called `LOOKS` times.
    """

    network: EGNN

    def __init__(
        self, network: EGNN, lessons: Sequence[FlowLesson], run: FlowRun, directory: Path, look: Callable[[EGNN], Row] = lambda network: {}
    ) -> None:
        super().__init__(network, directory, run.minutes, run.rounds, rounded=False)
        self.lessons, self.run, self.look = lessons, run, look

    def _round(self) -> Row:
        number = self.done
        late = bool(self.rounds) and 2 * number >= self.rounds
        rate = self.run.learning_rate * (0.1 if late else 1.0)
        losses = [self._step(self._loss, self.run.seed, rate) for _ in range(self.run.round_steps)]
        row: Row = {"round": number + 1, "step": self.step, "loss": float(np.mean(losses))}
        if self.rounds and (number + 1) * LOOKS // self.rounds > number * LOOKS // self.rounds:
            network = self.averaged.module
            assert isinstance(network, EGNN)
            row |= self.look(network)
        return row

    def _loss(self, rng: np.random.Generator) -> Tensor:
        """Of molecules at random, the smaller ones padded."""
        count = min(self.run.molecules, len(self.lessons))
        chosen = [self.lessons[k] for k in rng.choice(len(self.lessons), count, replace=False)]
        each = max(1, self.run.batch_size // count)
        largest = max(lesson.positions.shape[1] for lesson in chosen)
        pad = lambda values: torch.nn.functional.pad(values, (0, 0, 0, largest - values.shape[-2]))  # noqa: E731
        positions = torch.cat([pad(lesson.draw(each, rng)) for lesson in chosen])
        features = torch.stack([pad(lesson.types) for lesson in chosen]).repeat_interleave(each, 0)
        atoms = torch.tensor([lesson.positions.shape[1] for lesson in chosen], device=self.device).repeat_interleave(each)
        mask = torch.arange(largest, device=self.device) < atoms[:, None]
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        noise = draw_noise(len(positions), largest, generator, mask).float()
        jitter = torch.randn(positions.shape, generator=generator, device=self.device)
        if self.run.coupling == "optimal":
            noise = optimal_coupling(noise, positions, _classes(features), mask)
        t = torch.rand(len(positions), generator=generator, device=self.device)
        return flow_matching_loss(self.network, t, noise, positions, jitter, features, mask)


def _classes(features: Tensor) -> Tensor:
    """Equal numbers for equal rows, (B, N) of int64."""
    rows = features.flatten(0, 1).unique(dim=0, return_inverse=True)[1]
    return rows.view(features.shape[:2])
