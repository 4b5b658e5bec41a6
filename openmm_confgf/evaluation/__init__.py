"""How good an ensemble is: coverage and matching, the conformer benchmark, plots."""

from .conformers import benchmark_conformers
from .coverage import CoverageMatching, coverage_matching
from .results import BenchmarkResult

__all__ = ["BenchmarkResult", "CoverageMatching", "benchmark_conformers", "coverage_matching"]
