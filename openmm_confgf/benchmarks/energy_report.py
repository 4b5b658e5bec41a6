"""What the benchmark of energies found: per way to evaluate them, per System, as JSON's types and as tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ..tables import Column, Table

HOST_PLATFORMS = ("Reference", "CPU")
"""OpenMM's platforms that compute where torch's CPU code does."""


@dataclasses.dataclass(frozen=True)
class Method:
    """How energies are evaluated.

    Attributes
    ----------
    program : str
        ``"openmm"`` or ``"torch"``.
    name : str
        OpenMM's platform; ``"eager"`` or ``"compiled"``.
    precision : str
        ``"single"`` or ``"double"``.
    threads : int or None
        On the CPU; None on an accelerator.
    solvent : str or None
        The force that is the implicit solvent; None where there is none.
    """

    program: Literal["openmm", "torch"]
    name: str
    precision: Literal["single", "double"]
    threads: int | None
    solvent: str | None

    @property
    def on_host(self) -> bool:
        """Whether the CPU computes."""
        return self.threads is not None

    @property
    def label(self) -> str:
        """For people; without solvent and threads."""
        return (
            f"OpenMM {self.name}" if self.program == "openmm" else f"{self.name} {'float32' if self.precision == 'single' else 'float64'}"
        )


@dataclasses.dataclass(frozen=True)
class EnergyRow:
    """What one way costs. Times are medians in microseconds per conformation, None where they were not measured.

    Attributes
    ----------
    way : Method
    conformations : int
        Of one call in torch, or timed together in OpenMM.
    energy_us, forces_us : float or None
        Of energies alone, and of energies with forces.
    energy_error : float or None
        Largest difference from Reference, kJ/mol.
    force_error : float or None
        Largest deviation of a force component from Reference, over the root mean square of Reference's; None where that is zero.
    first_call_seconds : float or None
        Until everything had been called once: compilation, mostly.
    problem : str or None
        Why it could not be measured.
    """

    way: Method
    conformations: int = 0
    energy_us: float | None = None
    forces_us: float | None = None
    energy_error: float | None = None
    force_error: float | None = None
    first_call_seconds: float | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times faster torch is, in one precision, than the fastest OpenMM platform with one form of the solvent.

    Each `Method` names its precision. None where forces were not measured.
    """

    ours: Method
    solvent: str | None
    energies: float
    energies_peer: Method
    forces: float | None
    forces_peer: Method | None


@dataclasses.dataclass(frozen=True)
class SystemTimings:
    """All ways for one System.

    Attributes
    ----------
    name, description : str
    n_atoms : int
    energy_operations : float
        Floating-point operations of one energy as torch's eager code does it, by `arithmetic.COSTS`.
    forces_operations : float or None
        Of one energy with forces.
    rows : tuple of EnergyRow
    """

    name: str
    description: str
    n_atoms: int
    energy_operations: float
    forces_operations: float | None
    rows: tuple[EnergyRow, ...]

    @property
    def implicit_solvent(self) -> bool:
        return any(row.way.solvent for row in self.rows)

    def fastest(self, quantity: Literal["energy_us", "forces_us"], rows: Sequence[EnergyRow]) -> EnergyRow | None:
        """The row with the smallest time, among these.

        Parameters
        ----------
        quantity : {"energy_us", "forces_us"}
        rows : sequence of EnergyRow

        Returns
        -------
        EnergyRow or None
            None where it was measured for none of them.
        """
        measured = [row for row in rows if getattr(row, quantity) is not None]
        return min(measured, key=lambda row: getattr(row, quantity), default=None)

    def openmm(self, solvent: str | None, host_only: bool) -> list[EnergyRow]:
        """OpenMM's rows with this form of the solvent.

        Parameters
        ----------
        solvent : str or None
            As in `Method`.
        host_only : bool
            Leave out what an accelerator computes.
        """
        rows = (row for row in self.rows if row.way.program == "openmm" and row.way.solvent == solvent)
        return [row for row in rows if row.way.on_host or not host_only]

    def ratios(self) -> Iterator[Ratio]:
        """In each precision, on each number of threads and on CUDA: torch's fastest against OpenMM's, with each form of the solvent.

        What runs on the CPU is compared with `HOST_PLATFORMS` only.
        """
        ours = [row for row in self.rows if row.way.program == "torch"]
        solvents = list(dict.fromkeys(row.way.solvent for row in self.rows if row.way.program == "openmm"))
        for threads, precision in dict.fromkeys((row.way.threads, row.way.precision) for row in ours):
            same = [row for row in ours if (row.way.threads, row.way.precision) == (threads, precision)]
            for solvent in solvents:
                peers = self.openmm(solvent, host_only=threads is not None)
                best, peer = self.fastest("energy_us", same), self.fastest("energy_us", peers)
                if best is None or peer is None or best.energy_us is None or peer.energy_us is None:
                    continue
                with_forces, forces_peer = self.fastest("forces_us", same), self.fastest("forces_us", peers)
                forces = None
                if with_forces and forces_peer and with_forces.forces_us and forces_peer.forces_us:
                    forces = forces_peer.forces_us / with_forces.forces_us
                yield Ratio(best.way, solvent, peer.energy_us / best.energy_us, peer.way, forces, forces_peer.way if forces_peer else None)


@dataclasses.dataclass(frozen=True)
class BatchTiming:
    """Median time per conformation of batches of one size."""

    way: Method
    batch: int
    us: float


@dataclasses.dataclass(frozen=True)
class EnergyBenchmark:
    """Result of `benchmark_energies`.

    Attributes
    ----------
    batch : int
        Conformations of a call that were asked for.
    repeats : int
    forces : bool
        Whether energies with forces were measured.
    cpu : str
    pinned : bool
        Whether each way on the CPU was held to as many cores as it has threads.
    gpu : str or None
    versions : mapping of str to str
    peak_gflops : mapping of int to float
        By number of threads: what compiled elementwise float32 code reaches here, see `arithmetic.peak_gflops`.
    systems : tuple of SystemTimings
    curve_system : str or None
        The System whose cost was measured against the size of the batch.
    curve : tuple of BatchTiming
        Of energies with forces if they were measured.
    """

    batch: int
    repeats: int
    forces: bool
    cpu: str
    pinned: bool
    gpu: str | None
    versions: Mapping[str, str]
    peak_gflops: Mapping[int, float]
    systems: tuple[SystemTimings, ...]
    curve_system: str | None = None
    curve: tuple[BatchTiming, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types; units are in the names."""
        return {
            "batch": self.batch,
            "repeats": self.repeats,
            "cpu": self.cpu,
            "pinned_to_cores": self.pinned,
            "gpu": self.gpu,
            "versions": dict(self.versions),
            "peak_gflop_per_s": {str(threads): rate for threads, rate in self.peak_gflops.items()},
            "systems": {
                system.name: {
                    "description": system.description,
                    "n_atoms": system.n_atoms,
                    "operations_per_energy": system.energy_operations,
                    "operations_per_energy_and_forces": system.forces_operations,
                    "ways": [self._row(system, row) for row in system.rows],
                    "ratios": [_ratio(ratio) for ratio in system.ratios()],
                }
                for system in self.systems
            },
            "batch_sizes": {
                "system": self.curve_system,
                "forces": self.forces,
                "ways": [_way(one.way) | {"batch": one.batch, "us_per_conformation": one.us} for one in self.curve],
            }
            if self.curve
            else None,
        }

    def to_table(self) -> str:
        """Markdown tables for people: one for each System, and the ratios below it."""
        peaks = "".join(f", {rate:.0f} GFLOP/s on {_threads(n)}" for n, rate in self.peak_gflops.items())
        cores = "a core held for each thread" if self.pinned else "threads on any core"
        lines = [f"{self.cpu}{peaks}; {cores}; medians of {self.repeats}, batches of up to {self.batch}"]
        for system in self.systems:
            operations = f"{system.energy_operations:.3g} operations per energy"
            if system.forces_operations is not None:
                operations += f", {system.forces_operations:.3g} with forces"
            lines += ["", f"{system.name}: {system.description}, {system.n_atoms} atoms, {operations}", ""]
            lines.append(Table(_COLUMNS, [self._values(system, row) for row in system.rows]).to_markdown())
            lines += ["", *(_sentence(ratio) for ratio in system.ratios())]
        return "\n".join(lines)

    def _values(self, system: SystemTimings, row: EnergyRow) -> list[Any]:
        """What the table tells of a row, in the order of `_COLUMNS`."""
        values = self._row(system, row)
        solvent = row.way.solvent if row.way.program == "openmm" else None
        return [
            *(row.way.label, solvent, row.way.threads, row.conformations),
            *(row.energy_us, row.forces_us, row.energy_error, row.force_error),
            *(values[f"{quantity}_gflop_per_s"] for quantity in ("energy", "forces")),
            *(values[f"{quantity}_share_of_peak"] for quantity in ("energy", "forces")),
        ]

    def _row(self, system: SystemTimings, row: EnergyRow) -> dict[str, Any]:
        ours = row.way.program == "torch"
        rates = [
            operations / us / 1e3 if ours and us and operations else None
            for operations, us in ((system.energy_operations, row.energy_us), (system.forces_operations, row.forces_us))
        ]
        peak = self.peak_gflops.get(row.way.threads or 0) if row.way.precision == "single" else None
        shares = [rate / peak if rate and peak else None for rate in rates]
        return _way(row.way) | {
            "conformations": row.conformations,
            "energy_us_per_conformation": row.energy_us,
            "energy_and_forces_us_per_conformation": row.forces_us,
            "max_energy_error_kj_per_mol": row.energy_error,
            "max_relative_force_error": row.force_error,
            "first_call_seconds": row.first_call_seconds,
            "energy_gflop_per_s": rates[0],
            "forces_gflop_per_s": rates[1],
            "energy_share_of_peak": shares[0],
            "forces_share_of_peak": shares[1],
            "problem": row.problem,
        }


_COLUMNS = (
    Column("way", align="left"),
    Column("solvent", align="left"),
    Column("threads"),
    Column("conformations"),
    Column("energy", "us", "{:.3g}"),
    Column("with forces", "us", "{:.3g}"),
    Column("error", "kJ/mol", "{:.1e}"),
    Column("of forces, relative", layout="{:.1e}"),
    Column("GFLOP/s", layout="{:.1f}"),
    Column("with forces", layout="{:.1f}"),
    Column("of the peak", layout="{:.0%}"),
    Column("with forces", layout="{:.0%}"),
)


def _way(way: Method) -> dict[str, Any]:
    return dataclasses.asdict(way)


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {
        "ours": _way(ratio.ours),
        "solvent": ratio.solvent,
        "times_faster_energy": ratio.energies,
        "against_energy": _way(ratio.energies_peer),
        "times_faster_energy_and_forces": ratio.forces,
        "against_energy_and_forces": _way(ratio.forces_peer) if ratio.forces_peer else None,
    }


def _sentence(ratio: Ratio) -> str:
    solvent = f" with {ratio.solvent}" if ratio.solvent else ""
    where = _threads(ratio.ours.threads) if ratio.ours.threads else "CUDA"
    peer = _with_precision(ratio.energies_peer)
    text = f"- {ratio.ours.label} on {where} against {peer}{solvent}: energies {ratio.energies:.3g} times as fast"
    if ratio.forces is not None and ratio.forces_peer is not None:
        other = "" if ratio.forces_peer == ratio.energies_peer else f" as {_with_precision(ratio.forces_peer)}"
        text += f", with forces {ratio.forces:.3g} times{other}"
    return text


def _with_precision(way: Method) -> str:
    return f"{way.label} ({way.precision} precision)"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
