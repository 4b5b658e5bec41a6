"""What is measured of two ensembles of one molecule, and how tables show it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..energies import GFN2Energy
from ..ensemble import Ensemble
from ..molecules.backbone import alpha_carbons
from ..tables import Column
from ..units import kT
from .contacts import weak_contact_jaccard
from .distance_distributions import distance_mmd, distance_pairs
from .energy_distance import energy_w2
from .ensemble_properties import ensemble_properties
from .fluctuations import Aligned, correlation, mean_pairwise_rmsd
from .torsion_distances import RotatableTorsions, torsion_js, torus_w2

METRICS: dict[str, Column] = {
    "energy_w2_kj_per_mol": Column("energies: W2", "kJ/mol", "{:.2f}"),
    "energy_w2_kt": Column("energies: W2", "kT", "{:.2f}"),
    "basin_js": Column("basin populations: Jensen-Shannon", "nats", "{:.4f}"),
    "basin_total_variation": Column("basin populations: total variation", layout="{:.3f}"),
    "outside_basins": Column("samples in no basin", layout="{:.3f}"),
    "torsion_js_mean": Column("torsions: Jensen-Shannon, mean", "nats", "{:.4f}"),
    "torsion_js_worst": Column("torsions: Jensen-Shannon, worst", "nats", "{:.4f}"),
    "torus_w2": Column("torsions: W2 on the torus", "rad", "{:.3f}"),
    "rmsf_correlation": Column("RMSF: correlation over atoms", layout="{:.3f}"),
    "pairwise_rmsd": Column("mean pairwise RMSD", "nm", "{:.4f}"),
    "reference_pairwise_rmsd": Column("mean pairwise RMSD, reference", "nm", "{:.4f}"),
    "pca_w2": Column("MD-PCA: W2", "nm", "{:.4f}"),
    "weak_contact_jaccard": Column("weak contacts: Jaccard", layout="{:.3f}"),
    "mmd_single": Column("distances, single: MMD", layout="{:.4f}"),
    "mmd_pair": Column("distances, pairs: MMD", layout="{:.4f}"),
    "mmd_all": Column("distances, all: MMD", layout="{:.4f}"),
    "mean_energy_error": Column("mean energy: error", "kJ/mol", "{:.2f}"),
    "lowest_energy_error": Column("lowest energy: error", "kJ/mol", "{:.2f}"),
    "mean_gap_error": Column("mean HOMO-LUMO gap: error", "kJ/mol", "{:.2f}"),
    "lowest_gap_error": Column("lowest HOMO-LUMO gap: error", "kJ/mol", "{:.2f}"),
    "highest_gap_error": Column("highest HOMO-LUMO gap: error", "kJ/mol", "{:.2f}"),
}
"""What is measured, as tables show it."""


class Measured:
    """Usable samples of both sides, and what is measured of them, by the names of `METRICS`.

    Parameters
    ----------
    ours : Ensemble
        What is judged, without bad samples.
    theirs : Ensemble
        The reference, of the same graph.
    weights, reference : ndarray of float64, (A,) and (B,), optional
        As in `sample_weights`.
    seed : int
        Of the draws where there are too many samples.

    Attributes
    ----------
    rotatable : RotatableTorsions
    torsion_js : ndarray of float64, (T,)
        nats; empty before `torsions`.
    rmsf : tuple of ndarray of float64, (n,)
        nm, of both; empty before `fluctuations`, and where the molecule has fewer than three atoms.
    """

    def __init__(
        self, ours: Ensemble, theirs: Ensemble, weights: NDArray[np.float64] | None, reference: NDArray[np.float64] | None, seed: int
    ) -> None:
        self.ours, self.theirs, self.graph = ours, theirs, theirs.graph
        self.weights, self.seed = (weights, reference), seed
        self.rotatable = RotatableTorsions.of(self.graph)
        self.torsion_js = np.empty(0)
        self.rmsf = (np.empty(0), np.empty(0))

    def energies(self, temperature: float) -> dict[str, float | None]:
        """E-W2.

        Parameters
        ----------
        temperature : float
            K, for the unit kT.
        """
        distance = energy_w2(self.ours.energy, self.theirs.energy, *self.weights)
        return {
            "energy_w2_kj_per_mol": distance,
            "energy_w2_kt": distance / kT(temperature),
        }

    def properties(self, energies: bool, gaps: bool) -> dict[str, float | None]:
        """Errors of properties of the ensemble as a whole.

        Parameters
        ----------
        energies, gaps : bool
            Which: of the energies that both have, and of HOMO-LUMO gaps, which are evaluated.
        """
        energy = GFN2Energy(self.graph) if gaps else None
        mine, reference = (
            ensemble_properties(side.energy if energies else None, None if energy is None else energy.gaps(side.positions), weights)
            for side, weights in zip((self.ours, self.theirs), self.weights, strict=True)
        )
        return {f"{name}_error": value for name, value in dataclasses.asdict(mine.errors(reference)).items()}

    def torsions(self) -> dict[str, float | None]:
        """Of rotatable bonds, where there are any."""
        if not len(self.rotatable):
            return {}
        angles = self.rotatable.angles(self.ours.positions), self.rotatable.angles(self.theirs.positions)
        orders = self.rotatable.orders
        self.torsion_js = torsion_js(*angles, *self.weights, orders=orders)
        return {
            "torsion_js_mean": float(self.torsion_js.mean()),
            "torsion_js_worst": float(self.torsion_js.max()),
            "torus_w2": torus_w2(*angles, *self.weights, orders=orders, seed=self.seed),
        }

    def fluctuations(self) -> dict[str, float | None]:
        """Of heavy atoms, or of all where these are fewer than three."""
        heavy = self.graph.heavy_atoms
        atoms = heavy if len(heavy) >= 3 else np.arange(len(self.graph))
        pairwise = [
            mean_pairwise_rmsd(self.graph, side.positions, weights, seed=self.seed)
            for side, weights in zip((self.ours, self.theirs), self.weights, strict=True)
        ]
        values: dict[str, float | None] = {"pairwise_rmsd": pairwise[0], "reference_pairwise_rmsd": pairwise[1]}
        if len(atoms) < 3:
            return values
        aligned = Aligned.of(self.ours.positions[:, atoms], self.theirs.positions[:, atoms], *self.weights)
        self.rmsf = aligned.rmsf()
        return values | {"rmsf_correlation": correlation(*self.rmsf), "pca_w2": aligned.pca_w2(seed=self.seed)}

    def contacts(self) -> dict[str, float | None]:
        """Of alpha carbons, where there are several, from the first conformation of the reference on."""
        carbons = alpha_carbons(self.graph)
        if len(carbons) < 2:
            return {}
        ours, theirs = self.ours.positions[:, carbons], self.theirs.positions[:, carbons]
        return {"weak_contact_jaccard": weak_contact_jaccard(ours, theirs, theirs[0], *self.weights)}

    def distances(self) -> dict[str, float | None]:
        """Distributions of distances, where there are at least two."""
        if len(distance_pairs(self.graph)) < 2:
            return {}
        found = distance_mmd(self.graph, self.ours.positions, self.theirs.positions, *self.weights, seed=self.seed)
        return {"mmd_single": found.single, "mmd_pair": found.pair, "mmd_all": found.all}
