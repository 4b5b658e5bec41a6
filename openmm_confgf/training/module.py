"""The Lightning module of every objective: its losses, its optimizer, and what is logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from ..models.features import TensorRecord
from .objectives.base import VALIDATION_LOSS, Objective


def warm_hold_decay(step: int, steps: int, warm: int = 500, hold: float = 0.5) -> float:
    """Factor of the learning rate: up over `warm` steps, constant until the share `hold` of all steps, then linearly to 0.

    Runs of less than ten times `warm` steps warm up over a tenth of them.

    A run that is resumed with other `steps` keeps its constant part, so that its end can be moved while it runs.

    Parameters
    ----------
    step : int
        From 0 on.
    steps : int
        Length of the run.
    warm : int
    hold : float

    Returns
    -------
    float
        0 to 1.
    """
    decay = (steps - step) / max(1.0, steps * (1 - hold))
    return max(0.0, min(1.0, (step + 1) / max(1, min(warm, steps // 10)), decay))


class TrainingModule(lightning.LightningModule):
    """A network `net`, what it learns, and its optimizer.

    Parameters
    ----------
    objective : Objective
    network : torch.nn.Module
        Of the objective's architecture; trained in place.
    learning_rate : float
    steps : int
        Length of the run; the learning rate reaches 0 there.
    """

    net: nn.Module

    def __init__(self, objective: Objective[Any, Any], network: nn.Module, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.objective, self.learning_rate, self.steps = objective, learning_rate, steps
        self.net = network

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the schedule of `warm_hold_decay`."""
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, betas=(0.9, 0.99), weight_decay=self.objective.weight_decay)
        schedule: Callable[[int], float] = lambda step: warm_hold_decay(step, self.steps)  # noqa: E731
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, schedule), "interval": "step"},
        }

    def training_step(self, batch: TensorRecord, index: int) -> Tensor:
        """Mean loss of a batch.

        Parameters
        ----------
        batch : TensorRecord
            Of the objective.
        index : int
            Its place in the round.

        Returns
        -------
        Tensor, ()
        """
        loss = self.objective.losses(self.net, batch).mean()
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=self.objective.members(batch))
        return loss

    def validation_step(self, batch: TensorRecord, index: int) -> None:
        """Log the loss and its parts.

        Parameters
        ----------
        batch : TensorRecord
            Of the objective.
        index : int
            Its place in the validation.
        """
        losses = self.objective.losses(self.net, batch)
        self.log(VALIDATION_LOSS, losses.mean(), on_epoch=True, batch_size=self.objective.members(batch), prog_bar=True)
        for name, values in self.objective.part_values(losses, batch).items():
            if values.numel():
                self.log(name, values.mean(), on_epoch=True, batch_size=values.numel())
