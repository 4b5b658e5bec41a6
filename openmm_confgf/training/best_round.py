"""Which round of a run is the best, and whether the run is to stop early."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from torch import Tensor

from ..errors import ConfGFError
from .averaging import AveragedWeights
from .objectives.base import VALIDATION_LOSS


@dataclasses.dataclass(frozen=True)
class Monitor:
    """What decides the best round and the early stop.

    Attributes
    ----------
    name : str
        ``"val_loss"``, or the name of one of the objective's parts.
    lower_is_better : bool
    """

    name: str = VALIDATION_LOSS
    lower_is_better: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({'lower' if self.lower_is_better else 'higher'} is better)"

    @property
    def worst(self) -> float:
        """What every finite number is better than."""
        return math.inf if self.lower_is_better else -math.inf

    def is_better(self, value: float, than: float) -> bool:
        """Whether a number is better than another; one that is not finite never is.

        Parameters
        ----------
        value, than : float

        Returns
        -------
        bool
        """
        return math.isfinite(value) and (value < than if self.lower_is_better else value > than)

    def check_known(self, parts: Sequence[str]) -> None:
        """Make sure that an objective has it.

        Parameters
        ----------
        parts : sequence of str
            Names of the objective's parts.

        Raises
        ------
        ConfGFError
            If it does not.
        """
        if self.name not in (known := [VALIDATION_LOSS, *parts]):
            raise ConfGFError(f"{self.name!r} cannot be monitored, since the objective does not have it; use one of {', '.join(known)}.")

    def read(self, metrics: Mapping[str, Tensor]) -> float:
        """What a validation found.

        Parameters
        ----------
        metrics : mapping of str to Tensor, ()
            By their names in the log.

        Returns
        -------
        float

        Raises
        ------
        ConfGFError
            If it found nothing, as it does for a part that these molecules do not have.
        """
        if self.name not in metrics:
            raise ConfGFError(f"The validation molecules gave no {self.name}; monitor another number, or validate with other molecules.")
        return metrics[self.name].item()


VALIDATION = Monitor()
"""The validation loss; the lower the better."""


class BestRound(lightning.Callback):
    """Remembers the averaged weights of the best round, and stops when none has been better for long.

    Parameters
    ----------
    averaged : AveragedWeights
    patience : int
        Rounds.
    monitor : Monitor
    """

    def __init__(self, averaged: AveragedWeights, patience: int, monitor: Monitor = VALIDATION) -> None:
        self.averaged, self.patience, self.monitor = averaged, patience, monitor
        self.value, self.step, self.judged_step, self.rounds_since = monitor.worst, 0, -1, 0
        self.weights: dict[str, Tensor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether the run is to stop."""
        return self.rounds_since >= self.patience

    def judge(self, step: int, value: float, weights: dict[str, Tensor]) -> None:
        """Take a round's weights if it is the best.

        Parameters
        ----------
        step : int
            At the end of the round.
        value : float
            What is monitored.
        weights : dict of str to Tensor
            Of the network, kept without a copy.
        """
        self.judged_step = step
        if self.monitor.is_better(value, self.value):
            self.value, self.step, self.weights, self.rounds_since = value, step, weights, 0
        else:
            self.rounds_since += 1

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Judge the round, unless an earlier run has done so.

        Parameters
        ----------
        trainer : lightning.Trainer
            Its metrics are the round's; it is told to stop where the patience is at its end.
        module : lightning.LightningModule
            Not looked at: the averaged weights are judged.
        """
        if trainer.global_step > self.judged_step and VALIDATION_LOSS in trainer.callback_metrics:
            self.judge(trainer.global_step, self.monitor.read(trainer.callback_metrics), self.averaged.weights())
            trainer.should_stop = trainer.should_stop or self.exhausted

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; ``loss`` is what checkpoints have always called the value."""
        return {
            "loss": self.value,
            "step": self.step,
            "judged_step": self.judged_step,
            "rounds_since": self.rounds_since,
            "weights": self.weights,
            "monitor": dataclasses.asdict(self.monitor),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Parameters
        ----------
        state_dict : dict
            Of `state_dict`; one without a monitor is of an earlier version, which knew the validation loss alone.

        Raises
        ------
        ConfGFError
            If its rounds were judged by something else.
        """
        judged_by = Monitor(**state_dict.get("monitor", {}))
        if judged_by != self.monitor:
            raise ConfGFError(
                f"The rounds of this run were judged by {judged_by}, not by {self.monitor}; monitor the former, or give another folder."
            )
        self.value, self.step, self.judged_step = state_dict["loss"], state_dict["step"], state_dict["judged_step"]
        self.rounds_since, self.weights = state_dict["rounds_since"], state_dict["weights"]
