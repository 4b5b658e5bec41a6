"""``openmm-confgf evaluate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tables import Column, Table
from .options import LEVELS, AsJson, Seed, thermal_energy
from .output import as_json, note, progress_bar, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..evaluation.comparison import Comparison

_FILE = ".sdf, .mol or .pdb (also with .gz), .h5, or an .npz archive of reference conformers"
_METRIC, _UNIT = Column("metric", align="left"), Column("unit", align="left")


def evaluate(
    ensemble: Annotated[Path, typer.Argument(help=f"What is judged: {_FILE}.", metavar="A", show_default=False)],
    reference: Annotated[
        Path, typer.Argument(help="What it is held against: as A, of the same molecules.", metavar="B", show_default=False)
    ],
    minima: Annotated[
        bool,
        typer.Option(
            "--minima", help="B is minima: each counts with exp(-E / kT), and samples are told by the minimum that they are near."
        ),
    ] = False,
    forcefield: Annotated[
        str | None,
        typer.Option(
            "--forcefield",
            "--level",
            help=f"Evaluate the energies of both: {LEVELS}  [default: those of the files, where they are of one level]",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="Bring samples and minima to the minima of --forcefield before samples are assigned to them.")
    ] = False,
    gaps: Annotated[
        bool, typer.Option("--gaps", help="Also compare HOMO-LUMO gaps in GFN2-xTB, some 10 ms for each conformation.")
    ] = False,
    weighted: Annotated[bool, typer.Option("--weighted", help="Weigh samples that have log_q and energies by exp(-E / kT) / q.")] = False,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="In K; default: that of the files, or 300.", metavar="K", show_default=False),
    ] = None,
    within: Annotated[
        float, typer.Option("--within", help="RMSD in Angstrom beyond which a sample is in no basin of a minimum.", metavar="A")
    ] = 0.5,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """How far an ensemble is from a reference ensemble: energies, populations, torsions, fluctuations, contacts, distances.

    \b
    Example:
      openmm-confgf evaluate samples.h5 md.h5 --weighted
      openmm-confgf evaluate conformers.sdf minima.sdf --minima --forcefield openff-2.2.1
      openmm-confgf evaluate conformers.sdf ensembles.npz --minima --forcefield gfn2 --relax --gaps --json

    Samples whose status is not OK are left out and counted. Of several molecules, the table has means and medians over them, and a
    molecule that cannot be compared costs itself (exit code 1). docs/evaluation.md tells what each metric means, and when not to trust it.
    """
    from ..errors import ConfGFError
    from ..evaluation.comparison import compare, summary
    from ..evaluation.pairing import paired
    from ..units import NM_PER_ANGSTROM
    from ..version import __version__

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        if temperature is not None:
            thermal_energy(temperature)
        if not within > 0:
            raise ConfGFError(f"--within is {within:g} Angstrom; give an RMSD above 0.")
        if relax and not (minima and forcefield):
            raise ConfGFError("--relax brings samples to the minima of a level; give --minima and --forcefield with it.")
        found = paired(read_any(ensemble), read_any(reference))
        options: dict[str, Any] = {
            "minima": minima,
            "relax": relax,
            "gaps": gaps,
            "weighted": weighted,
            "temperature": temperature,
            "within": within * NM_PER_ANGSTROM,
            "seed": seed,
        }
        level = None if forcefield is None else level_named(forcefield)
        done: list[Comparison] = []
        failed: dict[str, str] = {}
        with progress_bar("evaluating", len(found.pairs)) as moved:
            for number, (judged, held) in enumerate(found.pairs, 1):
                try:
                    done.append(compare(judged, held, level=level, **options))
                except ConfGFError as error:
                    if len(found.pairs) == 1:
                        raise
                    failed[held.graph.name] = str(error)
                moved(completed=number)
        several = len(found.pairs) > 1
        overall = summary(done) if several and done else None
        report = {
            "command": "evaluate",
            "version": __version__,
            "forcefield": forcefield,
            **{key: value for key, value in options.items() if key not in ("temperature", "within")},
            "within_nm": options["within"],
            "molecules": [described(one) for one in done],
            "summary": overall,
            "failed": failed,
            "without_reference": found.without_reference,
            "without_samples": found.without_samples,
            "seconds": round(time.perf_counter() - start, 3),
        }
        tell(done, failed, found.without_reference, found.without_samples)
        if json:
            show(as_json(report))
        elif overall is not None:
            show(overall_table(overall).to_terminal())
        elif done:
            show(one_table(done[0]).to_terminal())
    raise typer.Exit(1 if failed else 0)


def read_any(path: Path) -> list[Ensemble]:
    """The ensembles of a file, or the molecules of an archive.

    Raises
    ------
    FileFormatError, MoleculeError
        As `read_ensembles` and `load_archive`.
    """
    from ..files import read_ensembles
    from ..files.archive import load_archive

    return [molecule.ensemble(path.name) for molecule in load_archive(path)] if path.suffix == ".npz" else read_ensembles(path)


def level_named(name: str) -> Any:
    """The level of --forcefield, made ready once for all molecules.

    Raises
    ------
    ForceFieldError
        If it is unknown, or has no energies of conformations as they are here.
    """
    from ..energies import Level

    level = Level(name)
    level.check_energies()
    return level


def described(comparison: Comparison) -> dict[str, Any]:
    """One molecule for the JSON: its counts, every metric (None where there is none), torsions and basins; atoms are from 1."""
    pairs = zip(comparison.torsions.tolist(), comparison.torsion_js.tolist(), strict=True)
    basins = comparison.basins
    return {
        "name": comparison.name,
        "smiles": comparison.smiles,
        "samples": comparison.samples,
        "reference_samples": comparison.reference_samples,
        "bad": comparison.bad,
        "reference_bad": comparison.reference_bad,
        "temperature": comparison.temperature,
        **comparison.values,
        "torsions": [{"atoms": [atom + 1 for atom in atoms], "js": js} for atoms, js in pairs],
        "basins": None if basins is None else {"expected": basins.expected.tolist(), "found": basins.found.tolist()},
        "notes": list(comparison.notes),
    }


def tell(done: list[Comparison], failed: dict[str, str], without_reference: list[str], without_samples: list[str]) -> None:
    """What was left out, on stderr."""
    for one in done:
        for side, bad in (("samples", one.bad), ("reference conformations", one.reference_bad)):
            if bad:
                note(f"{one.name}: {bad} {side} are left out, since their status is not OK")
        for reason in one.notes:
            note(reason)
    for name, reason in failed.items():
        note(f"failed: {name}: {reason}")
    for names, missing in ((without_reference, "reference"), (without_samples, "samples")):
        if names:
            note(f"{len(names)} molecules have no {missing} (the first is {names[0]}), and are left out")


def one_table(comparison: Comparison) -> Table:
    """The metrics of one molecule that there are, one below the other."""
    from ..evaluation.measured import METRICS

    head = [
        ["samples", str(comparison.samples), ""],
        ["samples of the reference", str(comparison.reference_samples), ""],
        ["temperature", f"{comparison.temperature:g}", "K"],
    ]
    rows = [[c.heading, c.cell(value), c.unit] for name, c in METRICS.items() if (value := comparison.values[name]) is not None]
    return Table([_METRIC, Column(comparison.name), _UNIT], [*head, *rows])


def overall_table(overall: dict[str, Any]) -> Table:
    """Means and medians over molecules."""
    from ..evaluation.measured import METRICS

    rows = [
        [c.heading, c.cell(overall["mean"][name]), c.cell(overall["median"][name]), c.unit, overall["molecules"][name]]
        for name, c in METRICS.items()
        if overall["molecules"][name]
    ]
    for key, title in (
        ("pairwise_rmsd_correlation", "mean pairwise RMSD: correlation over molecules"),
        ("global_rmsf_correlation", "RMSF: correlation over all atoms"),
    ):
        if overall[key] is not None:
            rows.append([title, f"{overall[key]:.3f}", None, "", max(overall["molecules"].values())])
    return Table([_METRIC, Column("mean"), Column("median"), _UNIT, Column("molecules")], rows)
