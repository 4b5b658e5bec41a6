"""What the commands that train Boltzmann generators have in common: what they read, show meanwhile, and leave."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .interrupts import exit_code_after, signal_name
from .output import as_json, note, progress_bar, results_only_on_stdout
from .reweight import asked_torsions, draw
from .simulate import read_start

if TYPE_CHECKING:
    from ..training.boltzmann.outcome import BoltzmannResult


def train_and_tell(
    command: str,
    train: Callable[..., BoltzmannResult],
    molecule: str,
    directory: Path,
    trajectory: Path | None,
    seed: int,
    json: bool,
    **options: Any,
) -> None:
    """Read the molecule and its frames, train, and write the samples of the test and the pictures into the folder.

    Parameters
    ----------
    command : str
        Its name in the report.
    train : callable
        `train_boltzmann`, or one like it.
    molecule : str
        As the command was given it.
    directory : Path
        Of the run.
    trajectory : Path or None
        Frames to learn from.
    seed : int
    json : bool
        Whether the report goes to stdout; the verdict is told on stderr.
    **options
        Of `train`.
    """
    from ..ensemble import Ensemble
    from ..files import check_folder
    from ..files.trajectories import read_trajectory
    from ..plots.boltzmann import plot_boltzmann_training
    from ..writing import only_writer

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        given = read_start(molecule)
        graph = given.graph if isinstance(given, Ensemble) else given
        frames = None if trajectory is None else read_trajectory(trajectory, graph)
        check_folder(directory)
        try:
            with progress_bar(f"training on {graph.name}") as moved, only_writer(directory):

                def after_round(row: dict[str, Any], total: int) -> None:
                    moved(completed=row["round"], total=total)
                    if "k_hat" in row:
                        plot_boltzmann_training(directory / "log.jsonl", directory / "training.png")

                result = train(given, directory, frames=frames, say=note, after_round=after_round, **options)
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}; {directory} holds what is finished, and the same command goes on from there")
            raise typer.Exit(code) from None
        report = _leave(result, directory) | {"seed": seed, "seconds": round(time.perf_counter() - start, 3)}
        if json:
            show(as_json({"command": command, **report}))
        note(result.verdict)
        note(f"wrote {result.weights}")


def _leave(result: BoltzmannResult, directory: Path) -> dict[str, Any]:
    """Write samples and pictures; what there is to report of them."""
    from ..files import write_ensembles
    from ..plots.boltzmann import plot_boltzmann_training
    from ..version import __version__

    ensemble, samples = result.reweighted.ensemble, directory / "samples.h5"
    write_ensembles(ensemble, samples)
    pictures = [plot_boltzmann_training(directory / "log.jsonl", directory / "training.png")]
    pictures += draw(result.reweighted, asked_torsions(ensemble, None), directory)
    return {
        "version": __version__,
        "molecule": ensemble.graph.name,
        "smiles": ensemble.graph.smiles,
        "weights": str(result.weights),
        "samples": str(samples),
        **dataclasses.asdict(result.reweighted.diagnostics),
        "r_hat": result.r_hat,
        "rounds": len(result.rows),
        "verdict": result.verdict,
        "pictures": [str(path) for path in pictures],
    }
