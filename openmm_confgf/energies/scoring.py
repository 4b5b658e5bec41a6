"""Energies of an Ensemble in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ensemble import Ensemble
from ..molecule_like import check_ensemble
from .levels import LevelLike, level_of
from .relaxation import relax


def score(
    ensemble: Ensemble,
    forcefield: LevelLike = "openff-2.2.1",
    *,
    minimize: bool = False,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Give each conformation its potential energy in a force field, or at another level of theory.

    Conformations that are already bad keep their status and are not evaluated. Minimised ones are checked again, as in `relax`.

    Parameters
    ----------
    ensemble : Ensemble
    forcefield : str, Level, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `Level`: a name as in `create_system`, ``"mmff94s"``, ``"mmff"`` or ``"gfn2"``; for many molecules, a `Level` reads a force
        field once. The particles of a System of your own must be the molecule's atoms in its order.
    minimize : bool
        Whether to bring each conformation to its nearest minimum first; a density ``log_q`` is then dropped, since it is of others.
    platform, properties
        As in `Level`, whose own they are where one is given.

    Returns
    -------
    Ensemble
        With energies in kJ/mol; ``provenance.settings`` tells force field, charges, the System's checksum, platform, its properties, and
        whether it was minimised.

    Raises
    ------
    WrongTypeError
        If an argument is of a type that is not taken.
    ForceFieldError
        If the force field is unknown or cannot type the molecule, or the System is not the molecule's.
    PlatformError
        If the platform is not available.
    """
    check_ensemble(ensemble, "score")
    level = level_of(forcefield, platform, properties)
    settings: dict[str, Any] = {"minimized": minimize}
    if minimize:
        scored = relax(ensemble, level)
        settings |= scored.provenance.settings["relaxation"]
    else:
        usable = np.flatnonzero(ensemble.ok)
        energy, status = np.full(len(ensemble), np.inf), ensemble.status.copy()
        result, used = level.evaluation(ensemble.graph, ensemble.positions[usable])
        settings |= used
        energy[usable], status[usable] = result.energy, result.status
        scored = ensemble.replace(energy=energy, status=status)
    provenance = dataclasses.replace(ensemble.provenance, settings=ensemble.provenance.settings | settings)
    return scored.replace(provenance=provenance)
