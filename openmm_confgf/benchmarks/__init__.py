"""The rivals run in turn and their figures: conformers against references, and what energies cost."""

from .conformers import benchmark_conformers
from .energy_report import EnergyBenchmark
from .energy_speed import benchmark_energies
from .energy_systems import ENERGY_SYSTEMS, EnergySystem, energy_system
from .results import BenchmarkResult

__all__ = [
    "ENERGY_SYSTEMS",
    "BenchmarkResult",
    "EnergyBenchmark",
    "EnergySystem",
    "benchmark_conformers",
    "benchmark_energies",
    "energy_system",
]
