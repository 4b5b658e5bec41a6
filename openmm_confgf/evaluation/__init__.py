"""How good an ensemble is: coverage and matching, specified stereo, energies above the minimum. Metrics alone."""

from .coverage import CoverageMatching, coverage_matching

__all__ = ["CoverageMatching", "coverage_matching"]
