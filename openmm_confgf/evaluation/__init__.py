"""How good an ensemble is: coverage and matching, stereo, energies, and its distances from a reference ensemble. Metrics alone."""

from .basins import OUTSIDE, BasinPopulations, Basins, basin_populations
from .comparison import Comparison, compare, summary
from .contacts import contact_frequencies, weak_contact_jaccard
from .coverage import CoverageMatching, coverage_matching
from .distance_distributions import DistanceMMD, distance_mmd, squared_mmd
from .divergence import jensen_shannon
from .energy_distance import energy_w2
from .ensemble_properties import EnsembleProperties, ensemble_properties
from .fluctuations import Aligned, correlation, mean_pairwise_rmsd
from .measured import METRICS
from .pairing import Pairs, in_order_of, paired
from .sample_weights import boltzmann_weights
from .torsion_distances import RotatableTorsions, torsion_js, torus_w2
from .transport import wasserstein, wasserstein_on_line

__all__ = [
    "METRICS",
    "OUTSIDE",
    "Aligned",
    "BasinPopulations",
    "Basins",
    "Comparison",
    "CoverageMatching",
    "DistanceMMD",
    "EnsembleProperties",
    "Pairs",
    "RotatableTorsions",
    "basin_populations",
    "boltzmann_weights",
    "compare",
    "contact_frequencies",
    "correlation",
    "coverage_matching",
    "distance_mmd",
    "energy_w2",
    "ensemble_properties",
    "in_order_of",
    "jensen_shannon",
    "mean_pairwise_rmsd",
    "paired",
    "squared_mmd",
    "summary",
    "torsion_js",
    "torus_w2",
    "wasserstein",
    "wasserstein_on_line",
    "weak_contact_jaccard",
]
