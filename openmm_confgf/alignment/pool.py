"""Pools: conformations of one molecule with the energies that they are to be taught."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from ..energies import Energy, Level
from ..energies.relaxation import relax
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..version import __version__
from .model import AlignableModel

SPREAD = 1e-3
"""kJ/mol: energies that differ by less say nothing of which conformation is preferred."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """What is known of one molecule.

    Attributes
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (S, N, 3)
        nm.
    energies : ndarray of float64, (S,)
        kJ/mol; +inf where there is none.
    model_energies : ndarray of float64, (S,), optional
        Of the model for which the pool was made, as it then was, in nats.
    """

    graph: MolecularGraph
    positions: NDArray[np.float64]
    energies: NDArray[np.float64]
    model_energies: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        finite = self.energies[np.isfinite(self.energies)]
        if len(finite) < 2:
            raise ConfGFError(f"{self.graph.name!r} has {len(finite)} conformations with an energy, which tell no preference; draw more.")
        if np.ptp(finite) < SPREAD:
            raise ConfGFError(f"All {len(finite)} conformations of {self.graph.name!r} have the same energy, which tells no preference.")

    @classmethod
    def of_minima(cls, graph: MolecularGraph, positions: NDArray[np.float64], level: Level) -> Pool:
        """Bring conformations to their minima; what is none, or becomes none, of the molecule is left out.

        Parameters
        ----------
        graph : MolecularGraph
        positions : ndarray, (S, N, 3)
            nm.
        level : Level

        Raises
        ------
        ForceFieldError
            If the level has no parameters for the molecule.
        ConfGFError
            If too few are left, or all have one energy.
        """
        drawn = Ensemble(graph, positions, Provenance("aligned", __version__), check_conformations(graph, positions))
        relaxed = relax(drawn, level)
        assert relaxed.energy is not None
        return cls(graph, relaxed.positions[relaxed.ok], relaxed.energy[relaxed.ok])

    @classmethod
    def of_samples(cls, graph: MolecularGraph, positions: NDArray[np.float64], energy: Energy) -> Pool:
        """Take conformations as they are; those with broken bonds or of another hand are left out, clashes are not.

        Parameters
        ----------
        graph : MolecularGraph
        positions : ndarray, (S, N, 3)
            nm.
        energy : Energy

        Raises
        ------
        ConfGFError
            If too few are left, or all have one energy.
        """
        status = check_conformations(graph, positions)
        kept = positions[~np.isin(status, [Status.NON_FINITE, Status.WRONG_GRAPH, Status.WRONG_STEREO])]
        return cls(graph, kept, energy.evaluate(kept).energy)

    def known_to(self, model: AlignableModel, seed: int) -> Pool:
        """Those whose energy in the model is finite, together with these energies.

        Parameters
        ----------
        model : AlignableModel
        seed : int

        Raises
        ------
        ConfGFError
            If there is none, or too few are left, or all have one energy.
        """
        with torch.no_grad():
            told = model.model_energies(self.graph, self.positions, seed=seed).double().cpu().numpy()
        known = np.isfinite(told)
        if not known.any():
            raise ConfGFError(f"The model's energies of {self.graph.name!r} are not finite; look at what its loss gives for this molecule.")
        return Pool(self.graph, self.positions[known], self.energies[known], told[known])

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """What is kept of it, by the names of its attributes."""
        found = {"positions": self.positions, "energies": self.energies, "model_energies": self.model_energies}
        return {name: values for name, values in found.items() if values is not None}

    def __len__(self) -> int:
        return len(self.energies)
