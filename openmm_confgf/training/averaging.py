"""The moving average of the weights, which is what training ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

AVERAGING_DECAY = 0.999


class AveragedWeights(WeightAveraging):
    """Exponential moving average of the weights, validated and saved instead of the last ones.

    After n updates its decay is ``min(0.999, (1 + n) / (10 + n))``: an average that had the same decay from the start would still hold
    37 % of its first weights after 1,000 steps.
    """

    def __init__(self) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=average_weights)

    @property
    def state_key(self) -> str:
        """The name under which checkpoints have always had this state."""
        return "EMAWeightAveraging"

    def weights(self) -> dict[str, Tensor]:
        """A copy of the average, on the CPU."""
        assert self._average_model is not None
        return copied_to_cpu(self._average_model.module.state_dict())


def average_weights(averaged: Any, current: Any, updates: Tensor | int) -> None:
    """One update of the average, for torch's `AveragedModel`.

    Parameters
    ----------
    averaged, current : list of Tensor
        The former are changed in place.
    updates : Tensor or int
        n, how many there were before.
    """
    n = int(updates)
    get_ema_multi_avg_fn(min(AVERAGING_DECAY, (1 + n) / (10 + n)))(averaged, current, updates)


def copied_to_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, for when the originals change.

    Parameters
    ----------
    state : mapping of str to Tensor
        As of `torch.nn.Module.state_dict`.

    Returns
    -------
    dict of str to Tensor
    """
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
