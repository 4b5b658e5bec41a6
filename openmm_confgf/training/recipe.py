"""Training runs: conformers in, checkpoints on the way, weights and their card out; from scratch, or from other weights."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from ..checksums import sha256_of
from ..devices import resolve_device
from ..errors import ConfGFError, WeightsError
from ..models.cards import Card
from ..models.features import ATOM_VOCABULARY
from ..models.registry import build_network, describe_network
from ..models.weights import load_weights, save_weights
from .batches import StepDataset
from .config import FROM_SCRATCH, RunConfig
from .data import TrainingFile, TrainingMolecule, fingerprints, read_training_file, split_validation
from .module import TrainingModule
from .objectives.registry import find_objective, presets_of
from .rounds import FitResult, fit
from .same_run import check_same_run

VALIDATION_STEPS = 48
"""Batches of a validation."""


def train(
    files: Sequence[str | Path],
    directory: str | Path,
    run: RunConfig = FROM_SCRATCH,
    *,
    parent: str | Path | None = None,
    held_out: Sequence[str | Path] = (),
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
    after_round: Callable[[Path], None] = lambda log: None,
) -> Path:
    """Train a network on reference conformers, resuming where an earlier run in the directory stopped.

    The preset says what it learns (`training.objectives.registry.PRESETS`), and that which network it is.

    Parameters
    ----------
    files : sequence of str or Path
        What to learn from (`training.data.read_training_file`). A file that is named k times counts k times.
    directory : str or Path
        Gets the checkpoint, the log, the weights and their card.
    run : RunConfig
        `training.config.FINE_TUNING` suits a run that has a parent.
    parent : str or Path, optional
        Weights to start from: the name of shipped ones or a ``.safetensors`` file. The result is then no worse than they are on the
        validation molecules: where nothing improves on them and `run` has a patience, it is they.
    held_out : sequence of str or Path
        Files whose molecules are kept out of the training, whatever their stereo.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    progress : bool
        Whether to show a progress bar.
    say : callable
        Called with one line for everything that whoever started the run should know: what was dropped, what validates.
    after_round : callable
        Called with the path of the log, one JSON object per round, after every round.

    Returns
    -------
    Path
        The ``.safetensors`` file, named after the preset; its ``.json`` card lies beside it.

    Raises
    ------
    FileFormatError
        If a file cannot be used.
    WeightsError
        If the parent cannot be used, or has another network than the preset trains.
    PlatformError
        If there is no such device.
    ConfGFError
        If the preset is unknown, nothing is left to train on, or the directory holds another run.
    """
    objective = find_objective(run.preset)
    resolve_device(device)
    directory = Path(directory)
    start = None if parent is None else _load_parent(parent, objective.architecture, run.preset)
    excluded = frozenset(fingerprint for path in held_out for fingerprint in fingerprints(path))
    repeats = collections.Counter(Path(f) for f in files)
    read = [read_training_file(path, excluded) for path in repeats]
    for file in read:
        if file.dropped:
            say(f"{file.path}: left out {_counts(file)}; {file.conformers} conformers of {len(file.molecules)} molecules remain")
    fitted, validation = _split(read, repeats)
    _check_molecules(fitted + validation, files)
    if not validation:
        say("there is one molecule only: it validates itself under other noise, which shows when to stop but not what it does to others")
    held = [{"file": Path(path).name, "sha256": sha256_of(path)} for path in held_out]
    data = [_describe(file, repeats[file.path]) for file in read]
    identity = _identity(run, None if start is None else start[1].sha256, data, held)
    check_same_run(directory, identity, begun=(directory / "last.ckpt").exists())

    lightning.seed_everything(run.seed, verbose=False)
    network = build_network(objective.architecture, None if start is None else start[1].config)
    if start is not None:
        network.load_state_dict(start[0].state_dict())
    module = TrainingModule(objective, network, run.learning_rate, run.steps)
    training = StepDataset(fitted, run.steps, objective, run.pair_budget, run.seed)
    checking = StepDataset(validation or fitted, VALIDATION_STEPS, objective, run.pair_budget, run.seed + 1)
    result = fit(module, training, checking, run, directory, device, progress, start is not None, after_round)
    after_round(directory / "log.jsonl")
    settings = {**_record(run, result), "validation_molecules": len({m.fingerprint for m in validation}), "held_out": held}
    weights = directory / f"{run.preset}.safetensors"
    save_weights(weights, module.net, _card(module.net, fitted, validation, data, settings, None if start is None else start[1]))
    return weights


def _load_parent(weights: str | Path, architecture: str, preset: str) -> tuple[nn.Module, Card]:
    network, card = load_weights(weights)
    if card.architecture != architecture:
        fitting = " or ".join(presets_of(card.architecture))
        raise WeightsError(f"The weights {weights} are those of a {card.architecture}; train them with the preset {fitting}, not {preset}.")
    return network, card


def _split(read: Sequence[TrainingFile], repeats: Mapping[Path, int]) -> tuple[list[TrainingMolecule], list[TrainingMolecule]]:
    """Training molecules, as often as their files are named, and validation molecules."""
    validation = split_validation([m for file in read for m in file.molecules])[1]
    validating = {m.fingerprint for m in validation}
    return [m for file in read for m in repeats[file.path] * file.molecules if m.fingerprint not in validating], validation


def _check_molecules(molecules: Sequence[TrainingMolecule], files: Sequence[str | Path]) -> None:
    if not molecules:
        names = ", ".join(map(str, files)) or "no files"
        raise ConfGFError(f"There is no molecule to train on in {names}; give files with other molecules than those held out.")
    heaviest = max(z for m in molecules for z in m.elements)
    if heaviest >= ATOM_VOCABULARY[0]:
        raise ConfGFError(f"A molecule holds element {heaviest}; the networks take those before {ATOM_VOCABULARY[0]}: leave it out.")


def _counts(file: TrainingFile) -> str:
    """What was left out of a file, in words."""
    words = ", ".join(f"{count} {reason}" for reason, count in file.dropped.items())
    return words + (f" (first: {file.first_problem.rstrip('.')})" if file.first_problem else "")


def _describe(file: TrainingFile, repeats: int) -> dict[str, Any]:
    """A file as the card lists it."""
    return {
        "file": file.path.name,
        "sha256": sha256_of(file.path),
        "molecules": len(file.molecules),
        "conformers": file.conformers,
        "repeats": repeats,
        "dropped": file.dropped,
    }


def _identity(run: RunConfig, parent: str | None, data: Sequence[Mapping[str, Any]], held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What must not change between two parts of a run."""
    return {
        "preset": run.preset,
        "seed": run.seed,
        "parent": parent,
        "data": {str(file["sha256"]): file["repeats"] for file in data},
        "held_out": sorted(str(file["sha256"]) for file in held),
    }


def _record(run: RunConfig, result: FitResult) -> dict[str, Any]:
    """What a card says of a run."""
    curve = {name: [row.get(name) for row in result.rows] for name in ("step", "loss", "val_loss")}
    chosen = next((row for row in reversed(result.rows) if row["step"] == result.chosen_step), {})
    return {
        **dataclasses.asdict(run),
        "steps_made": result.steps,
        "chosen_step": result.chosen_step,
        "stopped_early": result.stopped_early,
        "seconds": result.seconds,
        "device": result.device,
        "torch": torch.__version__,
        "validation": chosen,
        "curve": curve,
    }


def _card(
    network: nn.Module,
    fitted: Sequence[TrainingMolecule],
    validation: Sequence[TrainingMolecule],
    data: list[dict[str, Any]],
    settings: dict[str, Any],
    parent: Card | None,
) -> Card:
    """The card of a run; what its parent knew, and what it is to sample, is the run's too."""
    learned = fitted if settings["chosen_step"] else []  # else the weights are the parent's, which never saw them
    seen = [*learned, *validation] if learned else []
    architecture, config = describe_network(network)
    sizes = [len(m.features) for m in seen] + ([parent.min_atoms, parent.max_atoms] if parent else [])
    return Card(
        name=settings["preset"],
        architecture=architecture,
        config=config,
        sha256="",
        elements=sorted({z for m in learned for z in m.elements} | set(parent.elements if parent else ())),
        min_atoms=min(sizes),
        max_atoms=max(sizes),
        trained_on=sorted({m.fingerprint for m in [*fitted, *validation]} | set(parent.trained_on if parent else ())),
        data=data,
        training=settings,
        parent=parent.lineage() if parent else None,
        target=parent.target if parent else None,
    )
