"""The training loop in rounds of steps: averaged weights, a log, checkpoints, an early stop. A stopped run resumes bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ..devices import resolve_device
from ..errors import ConfGFError
from ..models.features import TensorRecord
from ..writing import clear_leftovers, write_whole
from .averaging import AveragedWeights, copied_to_cpu
from .batches import StepDataset
from .best_round import VALIDATION, BestRound, Monitor
from .config import RunConfig
from .module import TrainingModule

Row = dict[str, float]
"""Metrics of a round: ``step``, ``loss``, ``val_loss`` ..."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What became of a run.

    Attributes
    ----------
    steps : int
        Optimizer steps that were made.
    chosen_step : int
        The step whose averaged weights the module has.
    stopped_early : bool
    rows : list of dict
        The log.
    device : str
    """

    steps: int
    chosen_step: int
    stopped_early: bool
    rows: list[Row]
    device: str

    @property
    def seconds(self) -> float | None:
        """Time in rounds and their validations, over all sessions; None if a round was logged without it."""
        rounds = [row.get("seconds") for row in self.rows if row["step"] > 0]
        return None if None in rounds else round(math.fsum(s for s in rounds if s is not None), 1)


class RoundLoader(lightning.LightningDataModule):
    """Batches of rounds of steps: an "epoch" of the trainer is one round, and the round decides its batches.

    Parameters
    ----------
    training, validation : StepDataset
    round_steps : int
    """

    def __init__(self, training: StepDataset, validation: StepDataset, round_steps: int) -> None:
        super().__init__()
        self.training, self.validation, self.round_steps = training, validation, round_steps

    def train_dataloader(self) -> DataLoader[TensorRecord]:
        """The batches of the trainer's current round."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.round_steps
        return DataLoader(Subset(self.training, range(start, min(start + self.round_steps, len(self.training)))), batch_size=None)

    def val_dataloader(self) -> DataLoader[TensorRecord]:
        """The same noisy batches every time."""
        return DataLoader(self.validation, batch_size=None)


class RoundLog(lightning.Callback):
    """Appends one JSON object with the metrics of each round to a file, across resumed runs.

    Parameters
    ----------
    path : Path
    after_round : callable
        Called with the path when a row was added.
    """

    def __init__(self, path: Path, after_round: Callable[[Path], None]) -> None:
        self.path, self.after_round, self._began = path, after_round, 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Forget rounds that were logged and then lost, since their checkpoint was not written.

        Parameters
        ----------
        trainer : lightning.Trainer
            At the step that it resumes from.
        module : lightning.LightningModule
            Not looked at.
        """
        rows = [row for row in read_log(self.path) if row["step"] <= trainer.global_step]
        if self.path.exists() and len(rows) != len(self.path.read_text().splitlines()):
            self._write(rows)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock.

        Parameters
        ----------
        trainer : lightning.Trainer
        module : lightning.LightningModule
            Neither is looked at.
        """
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Append the round's metrics.

        Parameters
        ----------
        trainer : lightning.Trainer
        module : lightning.LightningModule
            Not looked at.
        """
        if "loss" in trainer.callback_metrics:  # else it is the end of a round that an earlier run has logged already
            self.append(trainer.global_step, trainer.callback_metrics, seconds=round(time.perf_counter() - self._began, 2))

    def append(self, step: int, metrics: dict[str, Tensor], **more: float) -> None:
        """Write one row.

        Parameters
        ----------
        step : int
            At the end of the round.
        metrics : dict of str to Tensor, ()
            Rounded to five decimals.
        **more : float
            Other columns.
        """
        row: Row = {"step": step, "time": round(time.time()), **more}
        row |= {name: round(value.item(), 5) for name, value in metrics.items()}
        self._write([*read_log(self.path), row])
        self.after_round(self.path)

    def _write(self, rows: list[Row]) -> None:
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in rows))


def read_log(path: Path) -> list[Row]:
    """The rows of a log, none if there is no such file; a last line that was cut off is left out.

    Parameters
    ----------
    path : Path
        ``log.jsonl``.

    Returns
    -------
    list of dict
        One of each round.
    """
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all; Lightning's own writer copies them from the folder of temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one.

        Parameters
        ----------
        checkpoint : dict
        path : str or Path
        storage_options : object
            Lightning's, which has none here.
        """
        content = io.BytesIO()  # torch's writer to a file does not say that a disk is full
        torch.save(checkpoint, content)
        write_whole(path, content.getvalue())


def fit(
    module: TrainingModule,
    training: StepDataset,
    validation: StepDataset,
    run: RunConfig,
    directory: str | Path,
    device: str = "auto",
    progress: bool = True,
    validate_first: bool = False,
    after_round: Callable[[Path], None] = lambda log: None,
    monitor: Monitor = VALIDATION,
) -> FitResult:
    """Train the module in place, resuming from the directory's last checkpoint; it ends with averaged weights.

    Parameters
    ----------
    module : TrainingModule
    training, validation : StepDataset
    run : RunConfig
    directory : str or Path
        Gets ``last.ckpt`` and one more line of ``log.jsonl`` after every round.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    progress : bool
        Whether to show a progress bar.
    validate_first : bool
        Whether the weights that the module has now are a round of their own, number 0: the ones to improve on.
    after_round : callable
        Called with the path of the log after every round.
    monitor : Monitor
        What decides the best round and the early stop, where `run` has a patience: the validation loss, or one of the objective's parts.

    Returns
    -------
    FitResult

    Raises
    ------
    ConfGFError
        If no round's monitored number was finite, where the best round is asked for; if the objective does not have it, or an earlier
        part of the run was judged by another; or ``last.ckpt`` is damaged.
    FileFormatError
        If the directory cannot be written.
    KeyboardInterrupt
        After Ctrl-C; the rounds that are finished are kept.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advice and its list of accelerators
    directory, where = Path(directory), resolve_device(device)
    monitor.check_known([part.name for part in module.objective.parts])
    directory.mkdir(parents=True, exist_ok=True)
    clear_leftovers(directory)
    checkpoint, log = directory / "last.ckpt", RoundLog(directory / "log.jsonl", after_round)
    averaged = AveragedWeights()
    best = BestRound(averaged, run.patience, monitor)
    checkpoints = ModelCheckpoint(directory, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[lightning.Callback] = [log, averaged, *([best] if run.patience else []), checkpoints]
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu", "cpu": "cpu"}[where.type],
        devices=1 if where.index is None else [where.index],
        max_steps=run.steps,
        inference_mode=False,  # a score that is a gradient is validated as well
        gradient_clip_val=1.0,
        callbacks=callbacks + ([TQDMProgressBar(refresh_rate=20)] if progress else []),
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        logger=False,
        plugins=[WholeCheckpoints()],
    )
    batches = RoundLoader(training, validation, run.round_steps)
    with warnings.catch_warnings(), _interrupts_passed_on():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*Checkpoint directory.*")
        if checkpoint.exists():
            saved = _saved(checkpoint)["callbacks"].get(best.state_key)
            if saved and run.patience:
                best.load_state_dict(saved)
        elif validate_first:
            log.path.unlink(missing_ok=True)
            trainer.validate(module, datamodule=batches, verbose=False)
            best.judge(0, monitor.read(trainer.callback_metrics), copied_to_cpu(module.state_dict()))
            log.append(0, trainer.callback_metrics)
        if not (run.patience and best.exhausted):
            resume = str(checkpoint) if checkpoint.exists() else None
            trainer.fit(module, datamodule=batches, ckpt_path=resume, weights_only=True)
    last = _saved(checkpoint)
    if run.patience and not best.weights:
        raise ConfGFError(f"{monitor.name} was never a finite number; train with a lower learning rate.")
    # from the file, since Lightning leaves the last weights in a module whose run was finished before
    module.load_state_dict(best.weights if run.patience else last["state_dict"])
    steps = int(last["global_step"])
    stopped = bool(run.patience) and best.exhausted and steps < run.steps
    return FitResult(steps, best.step if run.patience else steps, stopped, read_log(log.path), _name(where))


@contextlib.contextmanager
def _interrupts_passed_on() -> Iterator[None]:
    """Lightning turns a KeyboardInterrupt into ``sys.exit(1)``; it is one again outside."""
    try:
        yield
    except SystemExit as exit_:
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise exit_.__context__ from None
        raise


def _saved(checkpoint: Path) -> dict[str, Any]:
    """The last checkpoint of a run.

    Raises
    ------
    ConfGFError
        If it is damaged.
    """
    try:
        saved = dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        wanted = {"callbacks", "global_step", "state_dict"}
        if not wanted <= set(saved):
            raise ValueError(f"it lacks {', '.join(sorted(wanted - set(saved)))}")
    except Exception as error:  # torch raises what its readers of zip files and pickles do: EOFError, RuntimeError, KeyError ...
        raise ConfGFError(
            f"{checkpoint} is damaged and the run cannot go on from it; delete it, and the same command begins from step 0."
        ) from error
    return saved


def _name(device: torch.device) -> str:
    """What a device is called in a card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"
