"""``openmm-confgf train confgf``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Seed
from .output import as_json, note, results_only_on_stdout


def confgf(
    archives: Annotated[
        list[Path], typer.Argument(help="Conformers to learn from: npz archives.", metavar="ARCHIVE...", show_default=False)
    ],
    directory: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: checkpoints, log, weights.", show_default=False)],
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", help="Archive whose molecules are kept out of the training; repeatable.", metavar="ARCHIVE"),
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="confgf (noisy positions), or confgf-paper (noisy distances, as published).", metavar="NAME")
    ] = "confgf",
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps; a multiple of --round-steps.")] = 40_000,
    round_steps: Annotated[int, typer.Option("--round-steps", help="Steps between two checkpoints.")] = 500,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of the first half of the run; it then falls to 0.")] = 2e-3,
    pair_budget: Annotated[int, typer.Option("--pair-budget", help="Atom pairs in a batch, over all of its conformations.")] = 7500,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Train a ConfGF network; the same command again resumes where it stopped, bit for bit.

    The result is a .safetensors file and its .json card, which lists hashes of the training molecules so that a benchmark can refuse them.

    \b
    Example:
      openmm-confgf train confgf mine.npz --held-out test.npz --steps 20000 -o run
    """
    from ..checksums import sha256_of
    from ..files import check_folder
    from ..training.recipe import RunConfig, train

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        run = RunConfig(preset, steps, round_steps, learning_rate, pair_budget, seed)
        check_folder(directory)
        weights = train(archives, directory, run, held_out=held_out or [], device=device)
        report = {
            "command": "train confgf",
            "weights": str(weights),
            "sha256": sha256_of(weights),
            "preset": preset,
            "steps": steps,
            "seed": seed,
            "seconds": round(time.perf_counter() - start, 3),
        }
        if json:
            show(as_json(report))
        else:
            note(f"wrote {weights} after {steps} steps in {report['seconds']:.0f} s")
