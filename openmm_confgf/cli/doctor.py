"""``openmm-confgf doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .options import AsJson
from .output import as_json, as_table, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..installation import PlatformReport


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
            show(as_table(["package", "version"], [[name, version or "not installed"] for name, version in found.versions.items()]))
            rows = [
                [p.platform, p.precision or "-", f"{p.energy:.6f}", f"{p.deviation:.1e}", f"{p.force_deviation:.1e}", _verdict(p)]
                for p in found.platforms
            ]
            show(as_table(["platform", "precision", "energy kJ/mol", "deviation", "of forces kJ/mol/nm", ""], rows))
            show(f"CUDA: torch {_yes(found.torch_cuda)}, OpenMM {_yes(found.openmm_cuda)}")
            weights = [[w.name, w.sha256[:16] if w.sha256 else "-", w.target or "-", w.error or "as on its card"] for w in found.weights]
            show(as_table(["weights", "sha256", "target", ""], weights) if weights else "weights: none installed")
        for problem in found.problems():
            note(f"problem: {problem}")
    raise typer.Exit(1 if found.problems() else 0)


def _verdict(report: PlatformReport) -> str:
    return report.error or ("agrees" if report.agrees else "DISAGREES")


def _yes(available: bool) -> str:
    return "yes" if available else "no"
