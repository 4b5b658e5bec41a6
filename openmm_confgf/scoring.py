"""Energies of an Ensemble in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .checks import check_conformations
from .energies import ContextEnergy, SystemBuilder
from .energies import minimize as minimize_positions
from .ensemble import Ensemble, Status


def score(
    ensemble: Ensemble,
    forcefield: str | SystemBuilder = "openff-2.2.1",
    *,
    minimize: bool = False,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Give each conformation its potential energy in a force field.

    Conformations that are already bad keep their status and are not evaluated. Minimised ones are checked again: they must still be the
    molecule that they were.

    Parameters
    ----------
    ensemble : Ensemble
    forcefield : str or SystemBuilder
        As in `create_system`; for many molecules, a `SystemBuilder` reads the force field once.
    minimize : bool
        Whether to bring each conformation to its nearest minimum first; a density ``log_q`` is then dropped, since it is of others.
    platform, properties
        As in `ContextEnergy`.

    Returns
    -------
    Ensemble
        With energies in kJ/mol; ``provenance.settings`` tells force field, platform, its properties, and whether it was minimised.

    Raises
    ------
    ForceFieldError
        If the force field is unknown or cannot type the molecule.
    PlatformError
        If the platform is not available.
    """
    builder = SystemBuilder(forcefield) if isinstance(forcefield, str) else forcefield
    usable = np.flatnonzero(ensemble.ok)
    positions, status = ensemble.positions.copy(), ensemble.status.copy()
    energy = np.full(len(ensemble), np.inf)
    with ContextEnergy(builder.build(ensemble.graph), platform, properties) as evaluation:
        settings = {
            "forcefield": builder.forcefield,
            "platform": evaluation.platform,
            "platform_properties": evaluation.properties,
            "minimized": minimize,
        }
        if minimize:
            relaxed = minimize_positions(evaluation, positions[usable])
            positions[usable], energy[usable], status[usable] = relaxed
            good = usable[status[usable] == Status.OK]
            status[good] = check_conformations(ensemble.graph, positions[good])
        else:
            result = evaluation.evaluate(positions[usable])
            energy[usable], status[usable] = result.energy, result.status
    provenance = dataclasses.replace(ensemble.provenance, settings=ensemble.provenance.settings | settings)
    return ensemble.replace(
        positions=positions,
        energy=energy,
        status=status,
        log_q=None if minimize else ensemble.log_q,
        provenance=provenance,
    )
