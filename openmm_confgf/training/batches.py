"""Batches as a pure function of the step: the same step gives the same batch, so that training resumes bit for bit."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from ..models.features import TensorRecord
from .objectives.base import Objective

if TYPE_CHECKING:
    from .data import TrainingMolecule


class StepDataset(Dataset[TensorRecord]):
    """Item k is the batch of training step k.

    Molecules of like size share a batch; a batch holds about `pair_budget` atom pairs over all of its conformations.

    Parameters
    ----------
    molecules : sequence of TrainingMolecule
    steps : int
        Length of the run.
    objective : Objective
        Makes the batches.
    pair_budget : int
    seed : int
    """

    def __init__(
        self,
        molecules: Sequence[TrainingMolecule],
        steps: int,
        objective: Objective[Any, Any],
        pair_budget: int = 7500,
        seed: int = 0,
    ) -> None:
        self.molecules, self.steps, self.objective = molecules, steps, objective
        self.pair_budget, self.seed = pair_budget, seed
        self._sizes = np.array([len(m.features) for m in molecules])
        self._epoch_starts = [0]
        self._plans: dict[int, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TensorRecord:
        if step >= self.steps:
            raise IndexError(step)
        epoch = bisect.bisect_right(self._epoch_starts, step) - 1
        while step >= (end := self._epoch_starts[epoch] + len(self._plan(epoch))):
            self._epoch_starts.append(end)
            epoch += 1
        chosen = self._plan(epoch)[step - self._epoch_starts[epoch]]
        batch: TensorRecord = self.objective.batch([self.molecules[m] for m in chosen], np.random.default_rng([self.seed, step]))
        return batch

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """Batches of one pass over the molecules: sorted by size with a little noise, cut by budget, shuffled."""
        if epoch not in self._plans:
            rng = np.random.default_rng([self.seed, 1 << 40, epoch])
            order = np.argsort(self._sizes + rng.uniform(-0.5, 0.5, len(self._sizes)))
            batches, batch, largest = [], [], 0
            for m in order[::-1]:
                largest = largest or int(self._sizes[m])
                batch.append(m)
                if (len(batch) + 1) * self.objective.draws * largest * (largest - 1) // 2 > self.pair_budget:
                    batches.append(np.array(batch))
                    batch, largest = [], 0
            if batch:
                batches.append(np.array(batch))
            self._plans = {epoch: [batches[b] for b in rng.permutation(len(batches))]}
        return self._plans[epoch]
