"""How good an ensemble is: coverage and matching, stereo, energies, and its distances from a reference ensemble. Metrics alone."""

from .basins import OUTSIDE, BasinPopulations, Basins, basin_populations
from .coverage import CoverageMatching, coverage_matching
from .divergence import jensen_shannon
from .energy_distance import energy_w2
from .sample_weights import boltzmann_weights
from .torsion_distances import RotatableTorsions, torsion_js, torus_w2
from .transport import wasserstein, wasserstein_on_line

__all__ = [
    "OUTSIDE",
    "BasinPopulations",
    "Basins",
    "CoverageMatching",
    "RotatableTorsions",
    "basin_populations",
    "boltzmann_weights",
    "coverage_matching",
    "energy_w2",
    "jensen_shannon",
    "torsion_js",
    "torus_w2",
    "wasserstein",
    "wasserstein_on_line",
]
