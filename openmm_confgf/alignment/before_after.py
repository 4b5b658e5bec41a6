"""A molecule that an alignment did not learn from, before and after."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..energies import Level
from ..errors import ConfGFError
from ..evaluation import Basins, basin_populations, boltzmann_weights, energy_w2
from ..generators.equilibrium import worth
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import distinct_minima
from .density import DensityModel
from .model import AlignableModel
from .pool import Pool
from .settings import AlignmentRun

_SAME_SHAPE, _SAME_ENERGY = 0.0125, 0.4
"""nm and kJ/mol within which two minima are one."""

_SEED = 1_000_003
"""Of the samples that are compared, which are none of the training's."""


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
    minima, energies = (np.concatenate([getattr(one, name) for one in (known, *drawn)]) for name in ("positions", "energies"))
    distinct = distinct_minima(graph, minima, energies, _SAME_SHAPE, _SAME_ENERGY)
    minima, energies = minima[distinct], energies[distinct]
    basins, weights = Basins.of(graph, minima, energies, run.temperature), boltzmann_weights(energies, run.temperature)
    before_, after_ = (
        {
            "energy_w2": energy_w2(one.energies, energies, reference_weights=weights),
            "basin_js": basin_populations(basins.assign(one.positions), basins.populations).js,
            "usable": len(one) / count,
        }
        for one in drawn
    )
    return BeforeAfter(graph.name, before_, after_)


def _worth(model: DensityModel, graph: MolecularGraph, count: int) -> dict[str, Any]:
    prepared = model.prepare(graph)
    positions, log_q = prepared.draw(model.generator.network, _SEED, 0, count)
    return worth(log_q, prepared.energy.evaluate(positions).energy, prepared.temperature)
