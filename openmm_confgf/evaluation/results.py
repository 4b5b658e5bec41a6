"""What the conformer benchmark found: per molecule, per system, as JSON's types and as a table."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from .coverage import CoverageMatching

PROTOCOL = "A"

# what the table shows: heading, key of SystemResult.to_dict(), format
_COLUMNS = (
    ("COV-R mean", "cov_r_mean", "{:.1%}"),
    ("median", "cov_r_median", "{:.1%}"),
    ("MAT-R mean, A", "mat_r_mean", "{:.3f}"),
    ("median", "mat_r_median", "{:.3f}"),
    ("COV-P mean", "cov_p_mean", "{:.1%}"),
    ("median", "cov_p_median", "{:.1%}"),
    ("MAT-P mean, A", "mat_p_mean", "{:.3f}"),
    ("median", "mat_p_median", "{:.3f}"),
    ("failed", "failed", "{}"),
    ("rejected", "rejected", "{:.1%}"),
    ("stereo right", "stereo_right", "{:.1%}"),
    ("calls", "calls", "{}"),
    ("seconds", "seconds", "{:.0f}"),
)


@dataclasses.dataclass(frozen=True)
class MoleculeResult:
    """One molecule, one system.

    Attributes
    ----------
    name : str
    requested, rejected, usable : int
        Conformations that were asked for; came out with a status other than OK; came out OK.
    stereo_right : int or None
        How many usable ones have all specified stereo right; None where the molecule specifies none.
    matching : CoverageMatching
        MAT in Angstrom.
    error : str or None
        Why nothing usable came out.
    """

    name: str
    requested: int
    rejected: int
    usable: int
    stereo_right: int | None
    matching: CoverageMatching
    error: str | None


@dataclasses.dataclass(frozen=True)
class SystemResult:
    """All molecules of one system.

    Attributes
    ----------
    molecules : tuple of MoleculeResult
        In the archive's order.
    calls : int
        Network calls per conformation.
    seconds : float
        Wall-clock time of generation, all molecules together.
    """

    molecules: tuple[MoleculeResult, ...]
    calls: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Means and medians over molecules (COV in 0..1, MAT in Angstrom) and the counts, in JSON's types; None where undefined."""
        summary: dict[str, Any] = {}
        for key in ("cov_r", "mat_r", "cov_p", "mat_p"):
            values = [value for m in self.molecules if not math.isnan(value := getattr(m.matching, key))]
            summary[f"{key}_mean"] = statistics.fmean(values) if values else None
            summary[f"{key}_median"] = statistics.median(values) if values else None
        with_stereo = [m for m in self.molecules if m.stereo_right is not None and m.usable]
        samples = sum(m.usable for m in with_stereo)
        requested = sum(m.requested for m in self.molecules)
        return summary | {
            "failed": len(self.failures()),
            "rejected": sum(m.rejected for m in self.molecules) / requested if requested else None,
            "stereo_right": sum(m.stereo_right or 0 for m in with_stereo) / samples if samples else None,
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
            "failures": self.failures(),
        }

    def failures(self) -> dict[str, str]:
        """The molecules for which nothing usable came out, and why."""
        return {m.name: m.error for m in self.molecules if m.error is not None}


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Result of `benchmark_conformers`.

    Attributes
    ----------
    data, data_sha256 : str
        File name and checksum of the archive.
    delta : float
        Coverage threshold in Angstrom.
    seed : int
    n_molecules : int
    systems : mapping of str to SystemResult
    """

    data: str
    data_sha256: str
    delta: float
    seed: int
    n_molecules: int
    systems: Mapping[str, SystemResult]

    def to_dict(self) -> dict[str, Any]:
        """Everything of the summary, in JSON's types."""
        return {
            "protocol": PROTOCOL,
            "delta": self.delta,
            "data": self.data,
            "data_sha256": self.data_sha256,
            "seed": self.seed,
            "n_molecules": self.n_molecules,
            "systems": {name: system.to_dict() for name, system in self.systems.items()},
        }

    def to_table(self) -> str:
        """A Markdown table for people, one line per system, with what it was measured on above it."""
        lines = [
            f"Protocol {PROTOCOL}, delta {self.delta} A, {self.n_molecules} molecules of {self.data}, seed {self.seed}",
            "",
            "| system | " + " | ".join(heading for heading, _, _ in _COLUMNS) + " |",
            "|---|" + "---:|" * len(_COLUMNS),
        ]
        for name, system in self.systems.items():
            values = system.to_dict()
            cells = [layout.format(values[key]) if values[key] is not None else "-" for _, key, layout in _COLUMNS]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines)
