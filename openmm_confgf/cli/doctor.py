"""``openmm-confgf doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..tables import Column, Table
from .options import AsJson
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..installation import PlatformReport


_OF_PLATFORMS = (
    Column("platform", align="left"),
    Column("precision"),
    Column("energy", "kJ/mol", "{:.6f}"),
    Column("deviation", layout="{:.1e}"),
    Column("of forces", "kJ/mol/nm", "{:.1e}"),
    Column(""),
)


def doctor(json: AsJson = False) -> None:
    """Say what this installation can do, and what is wrong with it (then the exit code is 1).

    Versions; each OpenMM platform and precision with the energy of a small built-in System beside the Reference platform's; CUDA for
    torch and for OpenMM; the network weights that are installed, checked against their cards.

    \b
    Example:
      openmm-confgf doctor
      openmm-confgf doctor --json
    """
    from ..installation import diagnose

    with results_only_on_stdout() as show:
        found = diagnose()
        if json:
            show(as_json({"command": "doctor", **found.to_dict()}))
        else:
            versions = [[name, version or "not installed"] for name, version in found.versions.items()]
            show(Table([Column("package", align="left"), Column("version")], versions).to_terminal())
            platforms = [[p.platform, p.precision, p.energy, p.deviation, p.force_deviation, _verdict(p)] for p in found.platforms]
            show(Table(_OF_PLATFORMS, platforms).to_terminal())
            show(f"CUDA: torch {_yes(found.torch_cuda)}, OpenMM {_yes(found.openmm_cuda)}")
            as_told = {w.name: f"needs {w.missing}" if w.missing else "as on its card" for w in found.weights}
            weights = [[w.name, w.sha256[:16] if w.sha256 else None, w.target, w.error or as_told[w.name]] for w in found.weights]
            columns = [Column("weights", align="left"), Column("sha256"), Column("target"), Column("")]
            show(Table(columns, weights).to_terminal() if weights else "weights: none installed")
        for problem in found.problems():
            note(f"problem: {problem}")
    raise typer.Exit(1 if found.problems() else 0)


def _verdict(report: PlatformReport) -> str:
    return report.error or ("agrees" if report.agrees else "DISAGREES")


def _yes(available: bool) -> str:
    return "yes" if available else "no"
