"""A molecule that an alignment did not learn from, before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..energies import Level
from ..errors import ConfGFError
from ..evaluation import BasinPopulations, Basins, basin_populations, boltzmann_weights, energy_w2
from ..generators.density import worth
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import distinct_minima
from .density import DensityModel
from .model import AlignableModel
from .pool import Pool
from .settings import AlignmentRun

_SEED = 1_000_003
"""Of the samples that are compared, which are none of the training's."""


@dataclasses.dataclass(frozen=True, eq=False)
class FoundMinima:
    """All minima that were found of a molecule, in Boltzmann's populations: what samples that fall to minima are compared with.

    Attributes
    ----------
    energies : ndarray of float64, (M,)
        kJ/mol, each minimum once.
    weights : ndarray of float64, (M,)
        They sum to one.
    basins : Basins
    """

    energies: NDArray[np.float64]
    weights: NDArray[np.float64]
    basins: Basins

    @classmethod
    def of(cls, graph: MolecularGraph, positions: NDArray[np.float64], energies: NDArray[np.float64], temperature: float) -> FoundMinima:
        """Those among conformations that were minimised.

        Parameters
        ----------
        graph : MolecularGraph
        positions : ndarray, (B, N, 3)
            nm.
        energies : ndarray, (B,)
            kJ/mol.
        temperature : float
            K.
        """
        distinct = distinct_minima(graph, positions, energies)
        known = energies[distinct]
        return cls(known, boltzmann_weights(known, temperature), Basins.of(graph, positions[distinct], known, temperature))

    def energy_w2(self, energies: NDArray[np.float64]) -> float:
        """`evaluation.energy_w2` of samples (B,) from these minima, in kJ/mol."""
        return energy_w2(energies, self.energies, reference_weights=self.weights)

    def populations(self, positions: NDArray[np.float64]) -> BasinPopulations:
        """`evaluation.basin_populations` of samples (B, N, 3) in nm."""
        return basin_populations(self.basins.assign(positions), self.basins.populations)


@dataclasses.dataclass(frozen=True)
class BeforeAfter:
    """What samples of one molecule are worth before and after.

    Attributes
    ----------
    molecule : str
    before, after : dict
        Of a density: ``ess_fraction`` and ``k_hat`` of fresh samples. Else of the minima that samples fall to: ``energy_w2`` (kJ/mol) and
        ``basin_js`` (nats) from the Boltzmann distribution over all minima that were found, and ``usable``, the share that is the molecule.
    """

    molecule: str
    before: dict[str, Any]
    after: dict[str, Any]


def compared(before: AlignableModel, after: AlignableModel, pool: Pool, level: Level, run: AlignmentRun, count: int) -> BeforeAfter | None:
    """Draw from both.

    Parameters
    ----------
    before, after : AlignableModel
    pool : Pool
        Its minima are part of the reference.
    level : Level
    run : AlignmentRun
    count : int
        Samples of each.

    Returns
    -------
    BeforeAfter or None
        None where there is nothing to compare.
    """
    graph = pool.graph
    if isinstance(before, DensityModel) and isinstance(after, DensityModel):
        return BeforeAfter(graph.name, _worth(before, graph, count), _worth(after, graph, count))
    try:
        drawn = [Pool.of_minima(graph, model.sample(graph, count, seed=run.seed + _SEED), level) for model in (before, after)]
        known = pool if run.minimised else Pool.of_minima(graph, pool.positions, level)
    except ConfGFError:
        return None
    together = (known, *drawn)
    minima = FoundMinima.of(
        graph, np.concatenate([one.positions for one in together]), np.concatenate([one.energies for one in together]), run.temperature
    )
    was, became = (
        {
            "energy_w2": minima.energy_w2(one.energies),
            "basin_js": minima.populations(one.positions).js,
            "usable": len(one) / count,
        }
        for one in drawn
    )
    return BeforeAfter(graph.name, was, became)


def known_values(comparisons: Sequence[BeforeAfter], key: str) -> list[tuple[float, float]]:
    """A value before and after, of the molecules that have it both times.

    Parameters
    ----------
    comparisons : sequence of BeforeAfter
    key : str
        Of `BeforeAfter.before`.
    """
    pairs = [(one.before.get(key), one.after.get(key)) for one in comparisons]
    return [(before, after) for before, after in pairs if before is not None and after is not None]


def _worth(model: DensityModel, graph: MolecularGraph, count: int) -> dict[str, Any]:
    prepared = model.prepare(graph)
    positions, log_q = prepared.draw(model.generator.network, _SEED, 0, count)
    return worth(log_q, prepared.energy.evaluate(positions).energy, check_conformations(graph, positions), prepared.temperature)
