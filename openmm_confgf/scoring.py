"""Energies of an Ensemble in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .energies import ContextEnergy, SystemBuilder
from .ensemble import Ensemble
from .relaxation import relax


def score(
    ensemble: Ensemble,
    forcefield: str | SystemBuilder = "openff-2.2.1",
    *,
    minimize: bool = False,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Give each conformation its potential energy in a force field.

    Conformations that are already bad keep their status and are not evaluated. Minimised ones are checked again, as in `relax`.

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
    settings: dict[str, Any] = {"minimized": minimize}
    if minimize:
        scored = relax(ensemble, builder, platform=platform, properties=properties)
        settings |= scored.provenance.settings["relaxation"]
    else:
        usable = np.flatnonzero(ensemble.ok)
        energy, status = np.full(len(ensemble), np.inf), ensemble.status.copy()
        with ContextEnergy(builder.build(ensemble.graph), platform, properties) as evaluation:
            result = evaluation.evaluate(ensemble.positions[usable])
            settings |= {"forcefield": builder.forcefield, "platform": evaluation.platform, "platform_properties": evaluation.properties}
        energy[usable], status[usable] = result.energy, result.status
        scored = ensemble.replace(energy=energy, status=status)
    provenance = dataclasses.replace(ensemble.provenance, settings=ensemble.provenance.settings | settings)
    return scored.replace(provenance=provenance)
