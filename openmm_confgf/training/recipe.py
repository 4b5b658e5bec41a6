"""Training runs: archives in, checkpoints on the way, weights and their card out. A stopped run resumes bit for bit."""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader, Subset

from ..checksums import sha256_of
from ..errors import ConfGFError
from ..models.devices import resolve_device
from ..models.field import FieldConfig, PairField
from ..models.weights import Card, save_weights
from .batches import LadderNoise, NoiseConfig, Noisy, StepDataset
from .data import TrainingMolecule, archive_fingerprints, load_training_molecules
from .denoising import DenoisingModule, DistanceScoreModule, TrainingModule

VALIDATION_STEPS = 48
"""Batches of a validation."""

VALIDATION_SHARE = 40
"""One constitution in so many is left out of the training."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What is trained, how long and how fast.

    Attributes
    ----------
    preset : str
        ``"confgf"`` (a PairField on noisy positions) or ``"confgf-paper"`` (the published network on noisy distances).
    steps : int
        Optimizer steps, a multiple of `round_steps`.
    round_steps : int
        Steps between two checkpoints and validations.
    learning_rate : float
    pair_budget : int
        Atom pairs in a batch, over all of its conformations.
    seed : int
        Decides the initial weights, the batches and the noise.

    Raises
    ------
    ConfGFError
        If a value is out of range.
    """

    preset: str = "confgf"
    steps: int = 40_000
    round_steps: int = 500
    learning_rate: float = 2e-3
    pair_budget: int = 7500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "round_steps", "learning_rate", "pair_budget"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfGFError(f"{name} is {getattr(self, name)}; give a finite number above 0.")
        if self.seed < 0:
            raise ConfGFError(f"The seed is {self.seed}; give one of at least 0.")
        if self.steps % self.round_steps:
            raise ConfGFError(f"{self.steps} steps cannot be cut into rounds of {self.round_steps}; give a multiple.")


def train(
    archives: Sequence[str | Path],
    directory: str | Path,
    run: RunConfig = RunConfig(),
    *,
    held_out: Sequence[str | Path] = (),
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Train a network on reference conformers, resuming where an earlier run in the directory stopped.

    Parameters
    ----------
    archives : sequence of str or Path
        Archives of reference conformers (`openmm_confgf.archive`) or training sets (`training.data.save_training_set`). A file that is
        named k times counts k times.
    directory : str or Path
        Gets the checkpoint, the log, the weights and their card.
    run : RunConfig
    held_out : sequence of str or Path
        Archives whose molecules are kept out of the training, whatever their stereo.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Path
        The ``.safetensors`` file, named after the preset; its ``.json`` card lies beside it.

    Raises
    ------
    FileFormatError
        If an archive cannot be used.
    PlatformError
        If there is no such device.
    ConfGFError
        If the preset is unknown, or nothing is left to train on.
    """
    if run.preset not in _NETWORKS:
        raise ConfGFError(f"The preset {run.preset!r} is unknown; use one of {', '.join(_NETWORKS)}.")
    resolve_device(device)
    repeats = collections.Counter(Path(a) for a in archives)
    excluded = frozenset(fingerprint for path in held_out for fingerprint in archive_fingerprints(path))
    sets = {path: load_training_molecules(path, excluded) for path in repeats}
    fitted = [m for path, molecules in sets.items() for m in repeats[path] * split_validation(molecules)[0]]
    validation = [m for molecules in sets.values() for m in split_validation(molecules)[1]]
    if not fitted:
        raise ConfGFError(
            f"{', '.join(map(str, archives))} hold no molecule to train on; give archives with other molecules than those held out."
        )
    lightning.seed_everything(run.seed, verbose=False)
    module, noise = _NETWORKS[run.preset](run)
    training = StepDataset(fitted, run.steps, noise, run.pair_budget, run.seed)
    checking = StepDataset(validation or fitted, VALIDATION_STEPS, noise, run.pair_budget, run.seed + 1)
    fit(module, training, checking, run, directory, device, progress)
    weights = Path(directory) / f"{run.preset}.safetensors"
    save_weights(weights, module.net, _card(module.net, sets, repeats, run, _last_metrics(Path(directory))))
    return weights


def _train_field(run: RunConfig) -> tuple[TrainingModule, NoiseConfig]:
    return DenoisingModule(FieldConfig(), run.learning_rate, run.steps), NoiseConfig()


def _train_published(run: RunConfig) -> tuple[TrainingModule, LadderNoise]:
    return DistanceScoreModule(run.learning_rate, run.steps), LadderNoise()


_NETWORKS: dict[str, Callable[[RunConfig], tuple[TrainingModule, NoiseConfig | LadderNoise]]] = {
    "confgf": _train_field,
    "confgf-paper": _train_published,
}


def _card(
    network: nn.Module, sets: dict[Path, list[TrainingMolecule]], repeats: Mapping[Path, int], run: RunConfig, metrics: dict[str, float]
) -> Card:
    molecules = [m for found in sets.values() for m in found]
    data = [
        {
            "file": path.name,
            "sha256": sha256_of(path),
            "molecules": len(found),
            "conformers": sum(len(m.positions) for m in found),
            "repeats": repeats[path],
        }
        for path, found in sets.items()
    ]
    return Card(
        name=run.preset,
        architecture=type(network).__name__,
        config=dataclasses.asdict(network.config) if isinstance(network, PairField) else {},
        sha256="",
        elements=sorted({int(z) for m in molecules for z in m.features.atoms[:, 0]}),
        min_atoms=min(len(m.features) for m in molecules),
        max_atoms=max(len(m.features) for m in molecules),
        trained_on=sorted({m.fingerprint for m in molecules}),
        data=data,
        training={**dataclasses.asdict(run), "validation": metrics, "torch": torch.__version__},
    )


def _last_metrics(directory: Path) -> dict[str, float]:
    return dict(json.loads((directory / "log.jsonl").read_text().splitlines()[-1]))


class RoundLoader(lightning.LightningDataModule):
    """Batches of rounds of steps: an "epoch" of the trainer is one round, and the round decides its batches."""

    def __init__(self, training: StepDataset, validation: StepDataset, round_steps: int) -> None:
        super().__init__()
        self.training, self.validation, self.round_steps = training, validation, round_steps

    def train_dataloader(self) -> DataLoader[Noisy]:
        """The batches of the trainer's current round."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.round_steps
        return DataLoader(Subset(self.training, range(start, min(start + self.round_steps, len(self.training)))), batch_size=None)

    def val_dataloader(self) -> DataLoader[Noisy]:
        """The same noisy batches every time."""
        return DataLoader(self.validation, batch_size=None)


class RoundLog(lightning.Callback):
    """Appends one JSON object with the metrics of each round to a file, across resumed runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Append the round's metrics."""
        if "loss" not in trainer.callback_metrics:
            return  # the end of a round that an earlier run has logged already
        row: dict[str, float] = {"step": trainer.global_step, "time": round(time.time())}
        row |= {name: round(value.item(), 5) for name, value in trainer.callback_metrics.items()}
        with open(self.path, "a") as log:
            log.write(json.dumps(row) + "\n")


def split_validation(
    molecules: Sequence[TrainingMolecule], share: int = VALIDATION_SHARE
) -> tuple[list[TrainingMolecule], list[TrainingMolecule]]:
    """Training and validation molecules: every `share`-th constitution by its fingerprint is for validation, whatever the other data."""
    held = [int(m.fingerprint, 16) % share == 0 for m in molecules]
    return [m for m, h in zip(molecules, held, strict=True) if not h], [m for m, h in zip(molecules, held, strict=True) if h]


def fit(
    module: TrainingModule,
    training: StepDataset,
    validation: StepDataset,
    run: RunConfig,
    directory: str | Path,
    device: str = "auto",
    progress: bool = True,
) -> None:
    """Train the module in place, resuming from the directory's last checkpoint; it ends with its averaged weights.

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
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advice and its list of accelerators
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / "last.ckpt"
    checkpoints = ModelCheckpoint(directory, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[lightning.Callback] = [RoundLog(directory / "log.jsonl"), checkpoints, EMAWeightAveraging(decay=0.999)]
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu", "cpu": "cpu"}[resolve_device(device).type],
        devices=1,
        max_steps=run.steps,
        gradient_clip_val=1.0,
        callbacks=callbacks + ([TQDMProgressBar(refresh_rate=20)] if progress else []),
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        logger=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*Checkpoint directory.*")
        resume = str(checkpoint) if checkpoint.exists() else None
        trainer.fit(module, datamodule=RoundLoader(training, validation, run.round_steps), ckpt_path=resume, weights_only=True)
    # the averaged weights; a run that was finished before makes no step, and Lightning then leaves the last ones in the module
    module.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
