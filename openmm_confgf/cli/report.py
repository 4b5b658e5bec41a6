"""``openmm-confgf report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson
from .output import as_json, note, results_only_on_stdout


def report(
    source: Annotated[
        Path,
        typer.Argument(
            help="Conformers (.sdf, .mol, .pdb, .h5), or the folder of a training, an alignment or a library.",
            metavar="IN",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The report: .html.")] = Path("report.html"),
    json: AsJson = False,
) -> None:
    """One HTML file to look at: whether averages can be trusted, a viewer, a table, energies, torsions, weights, provenance.

    It works offline, in any browser.

    \b
    Example:
      openmm-confgf report samples.h5
      openmm-confgf report conformers.sdf -o conformers.html
      openmm-confgf report aspirin -o training.html
    """
    from ..report import check_report, report_page
    from ..version import __version__
    from ..writing import write_whole

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        check_report(output)
        page = report_page(source)
        path = write_whole(output, page.to_bytes())
        if json:
            said = {
                "command": "report",
                "version": __version__,
                "title": page.title,
                "kind": page.subtitle,
                "verdict": page.statement.headline,
                "notes": list(page.notes),
                "file": str(path),
                "seconds": round(time.perf_counter() - start, 3),
            }
            show(as_json(said))
        note(page.statement.headline)
        note(f"wrote {path}")
