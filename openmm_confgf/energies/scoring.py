"""Energies of an Ensemble in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..molecule_like import check_ensemble
from ..molecules.checks import check_conformations
from ..status import Status
from .interface import EnergyResult
from .levels import LevelLike, level_of, target_of
from .relaxation import relax, retargeted


def score(
    ensemble: Ensemble,
    forcefield: LevelLike = "openff-2.2.1",
    *,
    minimize: bool = False,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Give each conformation its potential energy in a force field, or at another level of theory.

    All that can be evaluated are, whatever their status: a bad conformation keeps that, and has an energy beside it. Where the energy is
    not finite or cannot be had, the status says so: OK becomes NON_FINITE, and all become FAILED where the evaluation raised an error.
    What earlier evaluations said (these two) is said anew. Minimised ones are checked again, as in `relax`.

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
        With energies in kJ/mol; ``target`` tells the force field and the System's checksum, and keeps the temperature that the samples
        have, unless they were minimised. ``provenance.settings`` tells charges, platform, its properties, and whether it was minimised; and
        as ``"sampled"`` the target of before where that had a temperature and is another.

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
    if minimize:
        scored = relax(ensemble, level)
        used = scored.provenance.settings["relaxation"]
    else:
        result, used = level.evaluation(ensemble.graph, ensemble.positions)
        temperature = None if ensemble.target is None else ensemble.target.temperature
        scored = retargeted(ensemble, target_of(used, temperature)).replace(energy=result.energy, status=_status(ensemble, result))
    settings = {"minimized": minimize} | {key: value for key, value in used.items() if key not in ("forcefield", "system_sha256")}
    provenance = dataclasses.replace(ensemble.provenance, settings=scored.provenance.settings | settings)
    return scored.replace(provenance=provenance)


def _status(ensemble: Ensemble, result: EnergyResult) -> NDArray[np.int8]:
    """Statuses, (B,), after an evaluation of all rows."""
    status = ensemble.status.copy()
    again = np.isin(status, [Status.NON_FINITE, Status.FAILED])
    decided = again | (status == Status.OK) | (result.status == Status.FAILED)
    status[decided] = result.status[decided]
    again &= result.ok
    status[again] = check_conformations(ensemble.graph, ensemble.positions[again])
    return status
