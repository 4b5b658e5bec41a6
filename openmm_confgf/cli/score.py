"""``openmm-confgf score``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch import attempt_each, names_of, run_batch, status_text, with_usable
from .generate import describe
from .options import AsJson, EnsembleFile, ForceField, Platform, Properties, Temperature, checked_platform, thermal_energy
from .output import as_json, as_table, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble


def score(
    ensembles: EnsembleFile,
    forcefield: ForceField = "openff-2.2.1",
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
    json: AsJson = False,
) -> None:
    """Potential energies of conformers in a force field, evaluated by OpenMM.

    \b
    Example:
      openmm-confgf score ibuprofen.sdf
      openmm-confgf score ibuprofen.sdf --forcefield gaff-2.2.20 --minimize -o minima.sdf --platform CUDA --property Precision=mixed

    The table gives energies in kJ/mol and, at --temperature, how many conformers lie within 3 kT of the lowest. These are energies, not
    populations: populations need the density of what generated the conformers.
    """
    from .. import __version__
    from ..energies import SystemBuilder
    from ..files import check_writable, read_each_ensemble, write_ensembles
    from ..scoring import score as score_ensemble

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        thermal = thermal_energy(temperature)
        settings = checked_platform(platform, properties)
        if output is not None:
            check_writable(output)
        given = read_each_ensemble(ensembles)
        builder = SystemBuilder(forcefield)

        def scored(_: int, ensemble: Ensemble) -> Ensemble:
            result = score_ensemble(ensemble, builder, minimize=minimize, platform=platform, properties=settings)
            return with_usable(result, "generate more of them, or try another force field")

        batch = run_batch(names_of(given, ensembles), attempt_each(enumerate(given), scored), f"scoring with {forcefield}")
        files = write_ensembles(list(batch.finished.values()), output) if output is not None and batch.finished else []
        energies = {i: energy_summary(ensemble, thermal) for i, ensemble in batch.finished.items()}
        report = {
            "command": "score",
            "version": __version__,
            "forcefield": forcefield,
            "temperature": temperature,
            "minimized": minimize,
            "molecules": [{"index": i} | describe(ensemble) | energies[i] for i, ensemble in batch.finished.items()],
            **batch.report(),
            "files": [str(path) for path in files],
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        if json:
            show(as_json(report))
        elif batch.finished:
            rows = []
            for i, ensemble in batch.finished.items():
                numbers = [energies[i][key] for key in ("lowest_kj_per_mol", "mean_kj_per_mol", "highest_kj_per_mol")]
                cells = ["-" if number is None else f"{number:.2f}" for number in numbers]
                rows.append([ensemble.graph.name, status_text(ensemble), *cells, str(energies[i]["within_3_kt"])])
            show(as_table(["molecule", "status", "lowest kJ/mol", "mean", "highest", f"within 3 kT at {temperature:g} K"], rows))
        for path in files:
            note(f"wrote {path}")
    raise typer.Exit(batch.exit_code)


def energy_summary(ensemble: Ensemble, thermal: float) -> dict[str, Any]:
    """Energies for the JSON: all of them, in the ensemble's order (None where the status is not OK), and what the table shows.

    Parameters
    ----------
    ensemble : Ensemble
        With energies.
    thermal : float
        kT in kJ/mol.
    """
    if ensemble.energy is None:
        raise ValueError("The ensemble has no energies; score it first.")
    usable = ensemble.energy[ensemble.ok]
    found = len(usable) > 0
    return {
        "energy_kj_per_mol": [float(energy) if ok else None for energy, ok in zip(ensemble.energy, ensemble.ok, strict=True)],
        "lowest_kj_per_mol": float(usable.min()) if found else None,
        "mean_kj_per_mol": float(usable.mean()) if found else None,
        "highest_kj_per_mol": float(usable.max()) if found else None,
        "within_3_kt": int((usable - usable.min() <= 3 * thermal).sum()) if found else 0,
    }
