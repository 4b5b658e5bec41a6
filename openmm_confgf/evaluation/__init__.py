"""How good an ensemble is, and what energies cost: coverage and matching, the benchmarks of conformers and of energies, plots."""

from .conformers import benchmark_conformers
from .coverage import CoverageMatching, coverage_matching
from .energy_report import EnergyBenchmark
from .energy_speed import benchmark_energies
from .energy_systems import ENERGY_SYSTEMS, EnergySystem, energy_system
from .results import BenchmarkResult

__all__ = [
    "ENERGY_SYSTEMS",
    "BenchmarkResult",
    "CoverageMatching",
    "EnergyBenchmark",
    "EnergySystem",
    "benchmark_conformers",
    "benchmark_energies",
    "coverage_matching",
    "energy_system",
]
