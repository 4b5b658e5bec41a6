"""``openmm-confgf train confgf``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .interrupts import exit_code_after, signal_name
from .options import AsJson, Device, Seed
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..models.cards import Card


def confgf(
    directory: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of the run: checkpoints, log, loss curve, weights.", show_default=False),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Conformers to learn from, as with --data.", metavar="[FILE]...", show_default=False),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Conformers to learn from: an npz archive, or .sdf, .h5 ...; repeatable.", metavar="FILE"),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option("--from", help="Fine-tune these weights: the name of shipped ones, or a .safetensors file.", metavar="WEIGHTS"),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", help="File whose molecules are kept out of the training; repeatable.", metavar="FILE"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="confgf (noisy positions), confgf-paper (noisy distances, as published) or confgf-potential (an energy).  "
            "[default: that of --from, or confgf]",
            metavar="NAME",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimizer steps; a multiple of --round-steps.  [default: 40000; with --from 1000]")
    ] = None,
    round_steps: Annotated[
        int | None, typer.Option("--round-steps", help="Steps between two checkpoints.  [default: 500; with --from 50]")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Of the first half of the run; it then falls to 0.  [default: 2e-3; with --from 3e-4]"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            help="Stop when the validation loss has not fallen for so many rounds, and keep the best round; 0: never.  "
            "[default: 0; with --from 5]",
            metavar="ROUNDS",
        ),
    ] = None,
    pair_budget: Annotated[int, typer.Option("--pair-budget", help="Atom pairs in a batch, over all of its conformations.")] = 7500,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Train a ConfGF network, or fine-tune one on your own molecules; the same command again resumes where it stopped, bit for bit.

    The result is a .safetensors file and its .json card, which lists hashes of the training molecules so that a benchmark can refuse them.
    loss.png beside them shows how it went.

    \b
    Example:
      openmm-confgf train confgf --data mine.sdf --from confgf -o tuned
      openmm-confgf train confgf --data mine.npz --held-out test.npz --steps 20000 -o run
    """
    from ..checksums import sha256_of
    from ..errors import ConfGFError
    from ..files import check_folder
    from ..models.cards import read_card
    from ..models.weights import load_weights
    from ..plots.training import plot_training
    from ..training.config import FINE_TUNING, FROM_SCRATCH
    from ..training.objectives.registry import find_objective, presets_of
    from ..training.recipe import train
    from ..writing import only_writer

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        sources = [*(files or []), *(data or [])]
        if not sources:
            raise ConfGFError("There is nothing to learn from; give conformers with --data.")
        if preset is None and parent is not None:
            preset = presets_of(load_weights(parent)[1].architecture)[0]
        chosen: dict[str, Any] = {
            "preset": preset,
            "steps": steps,
            "round_steps": round_steps,
            "learning_rate": learning_rate,
            "patience": patience,
            "pair_budget": pair_budget,
            "seed": seed,
        }
        defaults = FROM_SCRATCH if parent is None else FINE_TUNING
        run = dataclasses.replace(defaults, **{name: value for name, value in chosen.items() if value is not None})
        objective = find_objective(run.preset)
        check_folder(directory)

        def draw(log: Path) -> None:
            plot_training(log, log.with_name("loss.png"), objective)

        try:
            with only_writer(directory):
                weights = train(
                    sources,
                    directory,
                    run,
                    parent=parent,
                    held_out=held_out or [],
                    device=device,
                    say=note,
                    after_round=draw,
                )
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}; {directory} holds the rounds that are finished, and the same command goes on from there")
            raise typer.Exit(code) from None
        card = read_card(weights.with_suffix(".json"))
        report = {
            "command": "train confgf",
            "weights": str(weights),
            "sha256": sha256_of(weights),
            "preset": run.preset,
            "target": card.target and dataclasses.asdict(card.target),
            "parent": card.parent and {name: card.parent[name] for name in ("name", "sha256")},
            "steps": card.training["steps_made"],
            "chosen_step": card.training["chosen_step"],
            "stopped_early": card.training["stopped_early"],
            "val_loss": _losses(card),
            "data": card.data,
            "loss_curve": str(directory / "loss.png"),
            "seed": seed,
            "seconds": round(time.perf_counter() - start, 3),
        }
        if json:
            show(as_json(report))
        else:
            target = f"; to sample {card.target}" if card.target else ""
            note(f"{_summary(card)}{target}; wrote {weights} in {report['seconds']:.0f} s")


def _losses(card: Card) -> dict[str, float | None]:
    """Validation losses of a run: before its first step (if it started from weights), in the end, and of the weights that were kept."""
    curve, chosen = card.training["curve"], card.training["validation"]
    before = curve["val_loss"][0] if curve["step"][:1] == [0] else None
    return {"before": before, "last": curve["val_loss"][-1], "kept": chosen.get("val_loss")}


def _summary(card: Card) -> str:
    """How a run ended, in words."""
    training, losses = card.training, _losses(card)
    made = f"{training['steps_made']} of {training['steps']} steps"
    if training["stopped_early"]:
        made = f"stopped after {made}, since {training['patience']} rounds brought nothing"
    if card.parent and training["chosen_step"] == 0:
        return f"{made}; no round was better than {card.parent['name']} (validation loss {losses['before']:.4f}), whose weights are kept"
    kept = f"validation loss {losses['kept']:.4f} at step {training['chosen_step']}" if losses["kept"] is not None else "no validation loss"
    return f"{made}; {kept}" + (f", {losses['before']:.4f} before" if losses["before"] is not None else "")
