"""``openmm-confgf score``."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tables import Column, Table
from .batch import named, run_kept_batch, status_text, write_kept
from .generate import describe
from .options import (
    AsJson,
    Cluster,
    EnsembleFile,
    LevelOfTheory,
    Platform,
    Properties,
    Resume,
    Temperature,
    TimeLimit,
    Workers,
    checked_platform,
    checked_time_limit,
    is_elsewhere,
    thermal_energy,
    workers_of,
)
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble


def score(
    ensembles: EnsembleFile,
    forcefield: LevelOfTheory = "openff-2.2.1",
    temperature: Temperature = 300.0,
    minimize: Annotated[bool, typer.Option("--minimize", help="Minimise each conformer first, and write the minima.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write them, in the same order: .sdf or .h5 with their energies, .pdb without.", show_default=False
        ),
    ] = None,
    platform: Platform = "auto",
    properties: Properties = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    time_limit: TimeLimit = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Potential energies of conformers in a force field, evaluated by OpenMM, or at another level of theory.

    \b
    Example:
      openmm-confgf score ibuprofen.sdf
      openmm-confgf score ibuprofen.sdf --forcefield gaff-2.2.20 --minimize -o minima.sdf --platform CUDA --property Precision=mixed
      openmm-confgf score library.sdf --minimize --workers 8 --resume -o minima.sdf

    The table gives energies in kJ/mol and, at --temperature, how many conformers lie within 3 kT of the lowest. These are energies, not
    populations: populations need the density of what generated the conformers. Diastereomers are different compounds: where a molecule
    leaves stereo open, each has a row of its own. With -o, each molecule that is finished is kept in a folder beside the output
    (minima.sdf.partial) until all are: Ctrl-C (exit code 130) and SIGTERM (143) write those that are finished, and after these, a crash or
    a full disk the same command with --resume goes on.
    """
    from ..errors import ConfGFError
    from ..files import check_writable, iter_ensembles
    from ..library import Scoring, Store, kept_or_made
    from ..version import __version__
    from ..writing import only_writer

    with results_only_on_stdout() as show, contextlib.ExitStack() as stack:
        start = time.perf_counter()
        thermal = thermal_energy(temperature)
        job = Scoring(forcefield, minimize, platform, checked_platform(platform, properties, cluster))
        if resume and output is None:
            raise ConfGFError("--resume goes on with what is kept beside the output; give that with -o.")
        if output is not None:
            check_writable(output)
            stack.enter_context(only_writer(output))
        pool = stack.enter_context(workers_of(workers, cluster))
        limit = checked_time_limit(time_limit, pool)
        store = None if output is None else Store(output, job.settings(pool if is_elsewhere(cluster) else 1), resume)
        names: list[str] = []

        def reported(index: int, ensemble: Ensemble) -> dict[str, Any]:
            return {"index": index} | describe(ensemble) | energy_summary(ensemble, thermal)

        stream = kept_or_made(store, named(iter_ensembles(ensembles), ensembles, names), lambda left: job.each(left, pool, limit))
        batch = run_kept_batch(store, names, stream, reported, f"scoring with {forcefield}")
        files = [] if output is None or store is None else write_kept(batch, store, output)
        report = {
            "command": "score",
            "version": __version__,
            "forcefield": forcefield,
            "temperature": temperature,
            "minimized": minimize,
            "molecules": list(batch.finished.values()),
            **batch.report(),
            "files": [str(path) for path in files],
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        if json:
            show(as_json(report))
        elif batch.finished:
            rows = []
            for molecule in (part for whole in batch.finished.values() for part in whole["compounds"] or [whole]):
                numbers = [molecule[key] for key in ("lowest_kj_per_mol", "mean_kj_per_mol", "highest_kj_per_mol")]
                rows.append([molecule["name"], status_text(molecule), *numbers, molecule["within_3_kt"]])
            columns = [
                Column("molecule", align="left"),
                Column("status"),
                Column("lowest", "kJ/mol", "{:.2f}"),
                *(Column(heading, layout="{:.2f}") for heading in ("mean", "highest")),
                Column(f"within 3 kT at {temperature:g} K"),
            ]
            show(Table(columns, rows).to_terminal())
        for path in files:
            note(f"wrote {path}")
    raise typer.Exit(batch.exit_code)


def energy_summary(ensemble: Ensemble, thermal: float) -> dict[str, Any]:
    """Energies for the JSON: all of them, in the ensemble's order (None where the status is not OK), and what the table shows.

    Of an ensemble of several diastereomers, which do not compare, ``"compounds"`` tells the latter of each.

    Parameters
    ----------
    ensemble : Ensemble
        With energies.
    thermal : float
        kT in kJ/mol.
    """
    if ensemble.energy is None:
        raise ValueError("The ensemble has no energies; score it first.")
    compounds = ensemble.compounds()
    several = len(compounds) > 1
    usable = ensemble.energy[ensemble.ok & (not several)]
    found = len(usable) > 0
    parts = [describe(part) | energy_summary(part, thermal) for part in compounds] if several else []
    return {
        "energy_kj_per_mol": [float(energy) if ok else None for energy, ok in zip(ensemble.energy, ensemble.ok, strict=True)],
        "compounds": parts,
        "lowest_kj_per_mol": float(usable.min()) if found else None,
        "mean_kj_per_mol": float(usable.mean()) if found else None,
        "highest_kj_per_mol": float(usable.max()) if found else None,
        "within_3_kt": int((usable - usable.min() <= 3 * thermal).sum()) if found else None if several else 0,
    }
