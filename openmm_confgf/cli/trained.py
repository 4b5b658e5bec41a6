"""What the commands that train Boltzmann generators write and tell at their end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .output import as_json, note
from .reweight import asked_torsions, draw

if TYPE_CHECKING:
    from ..training.boltzmann.outcome import BoltzmannResult


def tell(
    command: str, result: BoltzmannResult, directory: Path, seed: int, start: float, show: Callable[[str], None] | None = None
) -> None:
    """The samples of the test and the pictures into the folder, the report as JSON where it is asked for, the verdict on stderr.

    Parameters
    ----------
    command : str
    result : BoltzmannResult
    directory : Path
        Of the run.
    seed : int
    start : float
        When the command began, by `time.perf_counter`.
    show : callable, optional
        Writes to stdout.
    """
    from ..files import write_ensembles
    from ..plots.boltzmann import plot_boltzmann_training
    from ..version import __version__

    ensemble, samples = result.reweighted.ensemble, directory / "samples.h5"
    write_ensembles(ensemble, samples)
    pictures = [plot_boltzmann_training(directory / "log.jsonl", directory / "training.png")]
    pictures += draw(result.reweighted, asked_torsions(ensemble, None), directory)
    report = {
        "command": command,
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
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if show is not None:
        show(as_json(report))
    note(result.verdict)
    note(f"wrote {result.weights}")
