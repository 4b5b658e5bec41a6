"""``openmm-confgf benchmark conformers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Generators, Seed
from .output import as_json, note, progress_bar, results_only_on_stdout


def conformers(
    archive: Annotated[Path, typer.Argument(help="Reference conformers: an npz archive.", metavar="ARCHIVE", show_default=False)],
    generators: Generators = ["confgf", "etkdg", "etkdg+mmff"],  # noqa: B006  # typer reads the default once and does not change it
    delta: Annotated[
        float, typer.Option("--delta", help="Coverage threshold in Angstrom: 0.5 for QM9-like, 1.25 for drug-like molecules.", metavar="A")
    ] = 0.5,
    max_molecules: Annotated[
        int | None, typer.Option("--max-molecules", help="Only the first so many molecules.", show_default=False)
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Coverage and matching of reference conformers (protocol A), all generators with the same seed and counts.

    Twice as many conformers as there are references; RMSD over heavy atoms with symmetry; covered at <= delta. A molecule for which
    nothing usable came out counts as coverage 0; a rejected conformer counts as generated and matching nothing.

    \b
    Example:
      openmm-confgf benchmark conformers qm9_xtb_test.npz
      openmm-confgf benchmark conformers druglike.npz --delta 1.25 --generator etkdg --generator etkdg+mmff --json
    """
    from ..evaluation import benchmark_conformers
    from ..generators import create_generator

    with results_only_on_stdout() as show:
        systems = {name: create_generator(name) for name in generators}
        with progress_bar("benchmark") as moved:
            result = benchmark_conformers(
                archive,
                systems,
                delta=delta,
                seed=seed,
                max_molecules=max_molecules,
                device=device,
                progress=lambda name, done, total: moved(description=name, completed=done, total=total),
            )
        for name, system in result.systems.items():
            for molecule, reason in system.failures().items():
                note(f"failed: {name}: {molecule}: {reason}")
        show(as_json(result.to_dict()) if json else result.to_table())
