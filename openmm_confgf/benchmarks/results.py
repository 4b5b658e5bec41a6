"""What the conformer benchmark found: per molecule, per system, as JSON's types and as a table."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.coverage import CoverageMatching
from ..tables import Column, Table

PROTOCOL = "A"


@dataclasses.dataclass(frozen=True)
class MoleculeResult:
    """One molecule, one system.

    Attributes
    ----------
    name : str
    charge : int
        Net formal charge; a zwitterion is neutral.
    requested, rejected, usable : int
        Conformations that were asked for; came out with a status other than OK; came out OK.
    repaired : int or None
        How many the generator says it put right by itself (a hand, a double bond); None where it does not say.
    stereo_right : int or None
        How many usable ones have all specified stereo right; None where the molecule specifies none.
    matchings : tuple of CoverageMatching
        One for each threshold; MAT in Angstrom.
    error : str or None
        Why nothing usable came out.
    above_minimum : ndarray of float64, (usable,), or None
        Energies in kJ/mol above the lowest reference's, +inf where the evaluation failed; None where they were not asked for, or the
        molecule has none.
    energy_error : str or None
        Why the molecule has no energies.
    """

    name: str
    charge: int
    requested: int
    rejected: int
    usable: int
    repaired: int | None
    stereo_right: int | None
    matchings: tuple[CoverageMatching, ...]
    error: str | None
    above_minimum: NDArray[np.float64] | None = None
    energy_error: str | None = None

    @property
    def matching(self) -> CoverageMatching:
        """At the first threshold."""
        return self.matchings[0]


@dataclasses.dataclass(frozen=True)
class SystemResult:
    """All molecules of one system.

    Attributes
    ----------
    molecules : tuple of MoleculeResult
        In the archive's order.
    deltas : tuple of float
        Coverage thresholds in Angstrom.
    calls : int
        Network calls per conformation, of the molecule that needs most.
    seconds : float or None
        Wall-clock time of generation, all molecules together; None where it is not known apart.
    """

    molecules: tuple[MoleculeResult, ...]
    deltas: tuple[float, ...]
    calls: int
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Means and medians over molecules (COV in 0..1, MAT in Angstrom, energies in kJ/mol) and the counts, in JSON's types.

        None where undefined. COV is at the first threshold; ``"coverage"`` lists it at each. ``"above_minimum_median"`` is the median
        over molecules of the median over samples, +inf where the evaluation failed for half of them.
        """
        summary: dict[str, Any] = {}
        for key in ("cov_r", "mat_r", "cov_p", "mat_p"):
            summary |= self._mean_and_median(key, 0)
        coverage = [
            {"delta": delta} | self._mean_and_median("cov_r", k) | self._mean_and_median("cov_p", k) for k, delta in enumerate(self.deltas)
        ]
        with_stereo = [m for m in self.molecules if m.stereo_right is not None and m.usable]
        telling = [m for m in self.molecules if m.repaired is not None]
        energies = [m.above_minimum for m in self.molecules if m.above_minimum is not None]
        return summary | {
            "coverage": coverage,
            "n_molecules": len(self.molecules),
            "failed": len(self.failures()),
            "rejected": _share(sum(m.rejected for m in self.molecules), sum(m.requested for m in self.molecules)),
            "repaired": _share(sum(m.repaired or 0 for m in telling), sum(m.requested for m in telling)),
            "stereo_right": _share(sum(m.stereo_right or 0 for m in with_stereo), sum(m.usable for m in with_stereo)),
            "above_minimum_median": statistics.median(float(np.median(e)) for e in energies) if energies else None,
            "above_minimum_molecules": len(energies),
            "above_minimum_failed_samples": sum(int(np.isposinf(e).sum()) for e in energies),
            "calls": self.calls,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "failures": self.failures(),
        }

    def failures(self) -> dict[str, str]:
        """The molecules for which nothing usable came out, and why."""
        return {m.name: m.error for m in self.molecules if m.error is not None}

    def by_charge(self) -> dict[str, SystemResult]:
        """The molecules without and those with a net formal charge, apart."""
        parts = {"neutral": [m for m in self.molecules if m.charge == 0], "charged": [m for m in self.molecules if m.charge != 0]}
        return {name: dataclasses.replace(self, molecules=tuple(part), seconds=None) for name, part in parts.items()}

    def _mean_and_median(self, key: str, threshold: int) -> dict[str, float | None]:
        values = [value for m in self.molecules if not math.isnan(value := getattr(m.matchings[threshold], key))]
        return {
            f"{key}_mean": statistics.fmean(values) if values else None,
            f"{key}_median": statistics.median(values) if values else None,
        }


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Result of `benchmark_conformers`.

    Attributes
    ----------
    data, data_sha256 : str
        File name and checksum of the archive.
    deltas : tuple of float
        Coverage thresholds in Angstrom.
    seed : int
    n_molecules : int
    systems : mapping of str to SystemResult
    recall_only : bool
        Whether precision is left out, since the references are not all there is.
    split_charge : bool
        Whether neutral and charged molecules are summarised apart as well.
    energy : str or None
        The level of the energies.
    """

    data: str
    data_sha256: str
    deltas: tuple[float, ...]
    seed: int
    n_molecules: int
    systems: Mapping[str, SystemResult]
    recall_only: bool = False
    split_charge: bool = False
    energy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything of the summary, in JSON's types; with `split_charge`, each system has ``"by_charge"`` as well."""
        systems = {}
        for name, system in self.systems.items():
            systems[name] = self._summary(system)
            if self.split_charge:
                systems[name]["by_charge"] = {part: self._summary(some) for part, some in system.by_charge().items()}
        return {
            "protocol": PROTOCOL,
            "delta": self.deltas[0],
            "deltas": list(self.deltas),
            "recall_only": self.recall_only,
            "energy": self.energy,
            "data": self.data,
            "data_sha256": self.data_sha256,
            "seed": self.seed,
            "n_molecules": self.n_molecules,
            "systems": systems,
        }

    def to_table(self) -> str:
        """A Markdown table for people, one line per system, with what it was measured on above it."""
        columns = list(self._columns())
        deltas = " and ".join(f"{delta:g}" for delta in self.deltas)
        recall = ", recall only" if self.recall_only else ""
        table = []
        for name, system in self.systems.items():
            parts = {name: system}
            if self.split_charge:
                parts |= {f"{name}, {kind}": some for kind, some in system.by_charge().items()}
            for label, part in parts.items():
                values = self._summary(part)
                values |= {f"{key}@{k}": value for k, entry in enumerate(values["coverage"]) for key, value in entry.items()}
                table.append([label, *(values[key] for _, key in columns)])
        measured = f"Protocol {PROTOCOL}, delta {deltas} A{recall}, {self.n_molecules} molecules of {self.data}, seed {self.seed}"
        headings = [Column("system", align="left"), *(column for column, _ in columns)]
        return f"{measured}\n\n{Table(headings, table).to_markdown()}"

    def _summary(self, system: SystemResult) -> dict[str, Any]:
        summary = system.to_dict()
        if self.recall_only:
            for entry in (summary, *summary["coverage"]):
                entry |= {key: None for key in entry if key.startswith(("cov_p", "mat_p"))}
        return summary

    def _columns(self) -> Iterator[tuple[Column, str]]:
        """Each column and its key of the summary (``@k``: of the k-th threshold's coverage)."""
        if self.split_charge:
            yield Column("molecules"), "n_molecules"
        for side in ("R",) if self.recall_only else ("R", "P"):
            for k, delta in enumerate(self.deltas):
                at = f" at {delta:g}" if len(self.deltas) > 1 else ""
                yield Column(f"COV-{side}{at} mean", layout="{:.1%}"), f"cov_{side.lower()}_mean@{k}"
                yield Column("median", layout="{:.1%}"), f"cov_{side.lower()}_median@{k}"
            yield Column(f"MAT-{side} mean", "A", "{:.3f}"), f"mat_{side.lower()}_mean"
            yield Column("median", layout="{:.3f}"), f"mat_{side.lower()}_median"
        if self.energy is not None:
            yield Column(f"{self.energy} above minimum", "kJ/mol", "{:.1f}"), "above_minimum_median"
        yield Column("failed"), "failed"
        for heading, key in (("rejected", "rejected"), ("repaired", "repaired"), ("stereo right", "stereo_right")):
            yield Column(heading, layout="{:.1%}"), key
        yield Column("calls"), "calls"
        yield Column("seconds", layout="{:.0f}"), "seconds"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
