"""``openmm-confgf benchmark energies``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Seed
from .output import as_json, note, progress_bar, results_only_on_stdout


def energies(
    systems: Annotated[
        list[str] | None,
        typer.Option("--system", help="ala2-obc2, citalopram ...; repeatable. All of them by default.", metavar="NAME", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Conformations of one call; fewer where a call would take seconds.")] = 4096,
    threads: Annotated[list[int], typer.Option("--threads", help="CPU threads of torch; repeatable.")] = [1],  # noqa: B006  # typer reads the default once and does not change it
    energies_only: Annotated[
        bool, typer.Option("--energies-only/--forces", help="Whether to leave out energies with forces.", show_default="--forces")
    ] = False,
    eager_only: Annotated[
        bool, typer.Option("--eager-only", help="Leave compiled code out: compiling takes minutes and needs a C++ compiler.")
    ] = False,
    repeats: Annotated[int, typer.Option("--repeats", help="Medians are taken of so many.")] = 9,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Also draw cost against atoms and against the size of the batch, as PNG.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """What energies and forces cost, in OpenMM's Contexts on every platform here and in batches in torch, and how well they agree.

    Everything is timed in turn on conformations from short runs at 300 K. Systems: ala2-vacuum, ala2-obc2, ala2-gbsaobc, citalopram,
    tripeptide-obc2, chignolin-gbn2, trp-cage-gbn2.

    \b
    Example:
      openmm-confgf benchmark energies --system ala2-obc2
      openmm-confgf benchmark energies --threads 1 --threads 2 --plot figures --json
    """
    from ..benchmarks.energy_speed import benchmark_energies
    from ..benchmarks.energy_systems import ENERGY_SYSTEMS
    from ..files import check_folder
    from ..plots.energies import plot_batch_sizes, plot_sizes

    with results_only_on_stdout() as show:
        if plot is not None:
            check_folder(plot)
        with progress_bar("benchmark") as moved:
            result = benchmark_energies(
                systems or ENERGY_SYSTEMS,
                batch=batch,
                threads=threads,
                forces=not energies_only,
                compiled=not eager_only,
                batch_sizes=plot is not None,
                repeats=repeats,
                seed=seed,
                progress=lambda name, done, total: moved(description=name, completed=done, total=total),
            )
        for system in result.systems:
            for row in system.rows:
                if row.problem is not None:
                    note(f"not measured: {system.name}: {row.way.label}: {row.problem}")
        if plot is not None:
            plot.mkdir(parents=True, exist_ok=True)
            note(f"wrote {plot_sizes(result, plot / 'energies-atoms.png')}")
            note(f"wrote {plot_batch_sizes(result, plot / 'energies-batch.png')}")
        show(as_json({"command": "benchmark energies", **result.to_dict()}) if json else result.to_table())
