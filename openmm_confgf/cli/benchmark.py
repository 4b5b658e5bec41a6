"""``openmm-confgf benchmark conformers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import LEVELS, AsJson, Device, Generators, Seed, Weights
from .output import as_json, note, progress_bar, results_only_on_stdout


def conformers(
    archive: Annotated[Path, typer.Argument(help="Reference conformers: an npz archive.", metavar="ARCHIVE", show_default=False)],
    generators: Generators = ["confgf", "etkdg", "etkdg+mmff"],  # noqa: B006  # typer reads the default once and does not change it
    weights: Weights = None,
    deltas: Annotated[
        list[float],
        typer.Option(
            "--delta", help="Coverage threshold in Angstrom: 0.5 for QM9-like, 1.25 for drug-like molecules; repeatable.", metavar="A"
        ),
    ] = [0.5],  # noqa: B006  # as above
    recall_only: Annotated[
        bool, typer.Option("--recall-only", help="Leave precision out: for references that are not all the conformers there are.")
    ] = False,
    split_charge: Annotated[
        bool, typer.Option("--split-charge", help="Also show molecules without and with a net formal charge apart.")
    ] = False,
    energy: Annotated[
        str | None,
        typer.Option(
            "--energy",
            help=f"Also evaluate the samples as they are, above the lowest reference: {LEVELS}",
            metavar="LEVEL",
            show_default=False,
        ),
    ] = None,
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
      openmm-confgf benchmark conformers qm9_xtb_test.npz --generator etkdg+mmff --generator conforge --energy gfn2
      openmm-confgf benchmark conformers druglike.npz --delta 1.25 --delta 0.5 --recall-only --split-charge --json
    """
    from ..benchmarks import benchmark_conformers
    from ..errors import ConfGFError
    from ..generators import NETWORKS, create_generator

    with results_only_on_stdout() as show:
        if weights is not None and not set(generators) & set(NETWORKS):
            raise ConfGFError(f"No --generator has a network that could take --weights; use one of {', '.join(NETWORKS)}.")
        systems = {name: create_generator(name, weights if name in NETWORKS else None) for name in generators}
        with progress_bar("benchmark") as moved:
            result = benchmark_conformers(
                archive,
                systems,
                delta=deltas,
                seed=seed,
                max_molecules=max_molecules,
                recall_only=recall_only,
                split_charge=split_charge,
                energy=energy,
                device=device,
                progress=lambda name, done, total: moved(description=name, completed=done, total=total),
            )
        for name, system in result.systems.items():
            for molecule, reason in system.failures().items():
                note(f"failed: {name}: {molecule}: {reason}")
            for one in system.molecules:
                if one.energy_error is not None:
                    note(f"no energies: {name}: {one.name}: {one.energy_error}")
        show(as_json({"command": "benchmark conformers", **result.to_dict()}) if json else result.to_table())
