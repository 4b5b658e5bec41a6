"""What an `AutoregressiveDensity` is told of a molecule: its placement, and the force field's parameters for each step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ...energies.systems.parameters import MoleculeParameters, read_parameters
from ...models.features import featurise, pair_index
from ...models.placement_arrays import NUMBERS
from ...models.placement_batch import PlacementBatch
from ...molecules.graph import MolecularGraph
from ...molecules.placement import Placement, Step
from ...units import kT

_STRAIGHT = 0.05
"""Radians: how close to 0 or pi an equilibrium angle may come; internal coordinates end there."""


def placement_batch(graph: MolecularGraph, placement: Placement, system: Any, temperature: float) -> PlacementBatch:
    """The network's inputs for one molecule, force field and temperature.

    Parameters
    ----------
    graph : MolecularGraph
    placement : Placement
        Of the graph.
    system : openmm.System
    temperature : float
        K.

    Returns
    -------
    PlacementBatch
        In float32, but for the ends of domains.
    """
    parameters, features, steps, n = read_parameters(graph, system), featurise(graph), placement.steps, len(graph)
    order, thermal = placement.order, kT(temperature)
    place = {int(atom): k for k, atom in enumerate(order)}
    i, j = pair_index(n).T
    pairs = np.zeros((n, n, features.pairs.shape[1]), np.int64)
    pairs[i, j] = pairs[j, i] = features.pairs
    length, second, between = (np.tile([1.0, 1.0], (n, 1)) for _ in range(3))
    for k, step in enumerate(steps):
        if k > 0:
            length[k] = _width(parameters.bonds[step.atom, step.parent], thermal)
        if k > 1:
            second[k] = _width(
                parameters.bonds[step.atom, step.second] if step.closes else parameters.angles[step.atom, step.parent, step.second], thermal
            )
            if not step.closes:
                second[k, 0] = np.clip(second[k, 0], _STRAIGHT, math.pi - _STRAIGHT)
        if step.beside:
            between[k] = _width(parameters.angles[step.atom, step.parent, step.third], thermal)
    orders = {fold.leader: fold.order for fold in placement.folds}
    numbers = np.stack(
        [_numbers(step, orders.get(k, 1), parameters, thermal, length[k], second[k], between[k]) for k, step in enumerate(steps)]
    )

    def real(values: Any) -> torch.Tensor:
        return torch.tensor(np.array(values), dtype=torch.float32)

    frames = [[place.get(atom, 0) for atom in (step.parent, step.second, step.third)] for step in steps]
    return PlacementBatch(
        atoms=torch.tensor(features.atoms[order].astype(np.int64)),
        pairs=torch.tensor(pairs[np.ix_(order, order)]),
        numbers=real(numbers),
        frames=torch.tensor(frames),
        closes=torch.tensor([step.closes for step in steps]),
        beside=torch.tensor([step.beside for step in steps]),
        torsion=torch.tensor([step.third >= 0 and not (step.closes or step.beside or step.ring) for step in steps]),
        # exact, so that a domain is neither empty nor left by what was drawn in it
        start=torch.tensor([step.start for step in steps], dtype=torch.float64),
        width=torch.tensor([step.width for step in steps], dtype=torch.float64),
        leaders=torch.tensor([step.leader for step in steps]),
        orders=torch.tensor([orders.get(k, 1) for k in range(n)]),
        length=real(length),
        second=real(second),
        between=real(between),
    )


def _width(harmonic: tuple[float, float], thermal: float) -> tuple[float, float]:
    """Equilibrium, and the standard deviation of a harmonic oscillator."""
    equilibrium, stiffness = harmonic
    return equilibrium, math.sqrt(thermal / stiffness)


def _numbers(step: Step, order: int, parameters: MoleculeParameters, thermal: float, *pairs: np.ndarray[Any, Any]) -> list[float]:
    terms = parameters.torsions.get((step.atom, step.parent, step.second, step.third), [])
    series = [sum(k * math.cos(phase) for n, phase, k in terms if n == wanted) / thermal for wanted in (1, 2, 3)]
    half = step.width < 4
    found = [
        parameters.charge[step.atom],
        parameters.sigma[step.atom] / 0.3,
        math.sqrt(parameters.epsilon[step.atom]),
        math.log(thermal / kT(300)),
        *(value for centre, width in pairs for value in (centre, math.log(width))),
        *(step.closes, step.beside, step.ring, step.third >= 0, step.leader >= 0, order == 2, order == 3),
        *(half and step.start == 0, half and step.start > 0, half and step.start < 0),
        *series,
    ]
    return [float(value) for value in found] + [0.0] * (NUMBERS - len(found))
