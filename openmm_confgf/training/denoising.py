"""Denoising score matching: the losses and the Lightning modules that train a PairField on positions and a ConfGF on distances."""

from __future__ import annotations

from collections.abc import Callable

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from ..models.confgf import ConfGF, distance_score_loss
from ..models.field import FieldConfig, PairField
from .batches import NoisyBatch, NoisyDistances

LEVEL_EDGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.2)
"""Edges in Angstrom of the noise levels whose losses are logged apart."""


def denoising_loss(denoised: Tensor, batch: NoisyBatch) -> Tensor:
    """Denoising error in units of the distance to go, one value per conformation.

    ``|D(x, sigma) - x_0|^2 / (3 n s^2)``: 1 for a model that does nothing, 0 for one that knows the answer. Where the distance s is
    that of the noise, sigma, its minimiser over D gives the score ``(D - x) / sigma^2`` of the noised density (Vincent 2011, eq. 9),
    with the weight sigma^2 of ConfGF's loss. Where it is on a path, the minimiser is where that leads to on average.

    Parameters
    ----------
    denoised : Tensor, (M, K, N, 3)
    batch : NoisyBatch

    Returns
    -------
    Tensor, (M, K)
    """
    mask = batch.graph.atom_mask[:, None, :, None]
    error = ((denoised - batch.clean) / batch.distance[..., None, None]) ** 2 * mask
    return error.sum((-2, -1)) / (3 * mask.sum((-2, -1)))


def warm_hold_decay(step: int, steps: int, warm: int = 500, hold: float = 0.5) -> float:
    """Factor of the learning rate: up over `warm` steps, constant until the share `hold` of all steps, then linearly to 0.

    Runs of less than ten times `warm` steps warm up over a tenth of them.

    A run that is resumed with other `steps` keeps its constant part, so that its end can be moved while it runs.
    """
    decay = (steps - step) / max(1.0, steps * (1 - hold))
    return max(0.0, min(1.0, (step + 1) / max(1, min(warm, steps // 10)), decay))


class TrainingModule(lightning.LightningModule):
    """A network `net` and its optimizer."""

    net: nn.Module

    def __init__(self, learning_rate: float, steps: int, weight_decay: float) -> None:
        super().__init__()
        self.learning_rate, self.steps, self.weight_decay = learning_rate, steps, weight_decay

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the schedule of `warm_hold_decay`."""
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay)
        schedule: Callable[[int], float] = lambda step: warm_hold_decay(step, self.steps)  # noqa: E731
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, schedule), "interval": "step"},
        }


class DenoisingModule(TrainingModule):
    """Trains a PairField on noisy positions.

    Parameters
    ----------
    config : FieldConfig
    learning_rate : float
    steps : int
        Length of the run; the learning rate reaches 0 there.
    """

    net: PairField

    def __init__(self, config: FieldConfig = FieldConfig(), learning_rate: float = 2e-3, steps: int = 40_000) -> None:
        super().__init__(learning_rate, steps, weight_decay=1e-4)
        self.net = PairField(config)

    def training_step(self, batch: NoisyBatch, index: int) -> Tensor:
        """Mean loss of a batch."""
        loss = self._losses(batch).mean()
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=batch.sigma.numel())
        return loss

    def validation_step(self, batch: NoisyBatch, index: int) -> None:
        """Log the loss of each range of noise levels, and that of paths."""
        losses, bins = self._losses(batch), torch.bucketize(batch.sigma, batch.sigma.new_tensor(LEVEL_EDGES))
        self.log("val_loss", losses.mean(), on_epoch=True, batch_size=losses.numel(), prog_bar=True)
        parts = {f"val_loss_above_{low}": (bins == k) & ~batch.on_path for k, low in enumerate((0.0, *LEVEL_EDGES))} | {
            "val_loss_paths": batch.on_path.expand_as(bins)
        }
        for name, found in parts.items():
            if found.any():
                self.log(name, losses[found].mean(), on_epoch=True, batch_size=int(found.sum()))

    def _losses(self, batch: NoisyBatch) -> Tensor:
        return denoising_loss(self.net(self.net.encode(batch.graph), batch.noisy, batch.sigma, batch.hands), batch)


class DistanceScoreModule(TrainingModule):
    """Trains the published ConfGF network on noisy distances.

    Parameters
    ----------
    learning_rate : float
    steps : int
        Length of the run.
    """

    net: ConfGF

    def __init__(self, learning_rate: float = 1e-3, steps: int = 40_000) -> None:
        super().__init__(learning_rate, steps, weight_decay=0.0)
        self.net = ConfGF()

    def training_step(self, batch: NoisyDistances, index: int) -> Tensor:
        """The published loss, a molecule's sum over its edges."""
        loss = self._loss(batch)
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=batch.molecules)
        return loss

    def validation_step(self, batch: NoisyDistances, index: int) -> None:
        """Log the loss."""
        self.log("val_loss", self._loss(batch), on_epoch=True, batch_size=batch.molecules, prog_bar=True)

    def _loss(self, batch: NoisyDistances) -> Tensor:
        scores = self.net(batch.graph, batch.noisy, batch.sigma)
        return distance_score_loss(scores, batch.clean, batch.noisy, batch.sigma, batch.molecules)
