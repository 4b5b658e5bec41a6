"""Bringing the conformations of an Ensemble to the nearest minimum at a level of theory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ensemble import Ensemble, Target
from ..molecule_like import check_ensemble
from ..molecules.checks import check_conformations
from ..status import Status
from .levels import LevelLike, level_of, target_of


def relax(
    ensemble: Ensemble,
    forcefield: LevelLike = "mmff94s",
    *,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Bring each conformation that is OK to its nearest minimum in a force field; the others keep their row and status.

    Minima are checked again: they must still be the molecule that they were. A density ``log_q`` is dropped, since it is of others.

    Parameters
    ----------
    ensemble : Ensemble
    forcefield : str, Level, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `Level`: ``"mmff94s"`` (RDKit's), ``"mmff"`` (the same, and UFF for molecules that MMFF94s has no parameters for),
        ``"gfn2"``, a name as in `create_system`, a System of your own ... For many molecules, a `Level` reads a force field once.
    platform, properties
        As in `Level`, whose own they are where one is given.

    Returns
    -------
    Ensemble
        With energies in kJ/mol, of the force field that ``target`` names: of all that was minimised, whatever came of it, and +inf in the
        rows that were not. ``provenance.generator`` becomes ``"<generator>+<force field>"``, and ``provenance.settings["relaxation"]``
        tells what was used.

    Raises
    ------
    WrongTypeError
        If an argument is of a type that is not taken.
    ForceFieldError
        If the force field is unknown or has no parameters for the molecule, or the System is not the molecule's.
    PlatformError
        If the platform is not available.

    Examples
    --------
    >>> from openmm_confgf import generate
    >>> relaxed = relax(generate("CCO", 3, generator="etkdg"))
    >>> relaxed.provenance.generator, relaxed.counts()
    ('etkdg+mmff94s', {'OK': 3})
    """
    check_ensemble(ensemble, "relax")
    usable = np.flatnonzero(ensemble.ok)
    level = level_of(forcefield, platform, properties)
    relaxed, used = level.relaxation(ensemble.graph, ensemble.positions[usable])
    positions, status, energy = ensemble.positions.copy(), ensemble.status.copy(), np.full(len(ensemble), np.inf)
    positions[usable], energy[usable], status[usable] = relaxed
    good = usable[status[usable] == Status.OK]
    status[good] = check_conformations(ensemble.graph, positions[good])
    moved = retargeted(ensemble, target_of(used))
    given = moved.provenance
    provenance = dataclasses.replace(given, generator=f"{given.generator}+{level.name}", settings=given.settings | {"relaxation": used})
    return moved.replace(positions=positions, energy=energy, status=status, log_q=None, provenance=provenance)


def retargeted(ensemble: Ensemble, target: Target) -> Ensemble:
    """The ensemble with another target; what its samples were drawn from, which is one with a temperature, stays in the settings.

    Parameters
    ----------
    ensemble : Ensemble
    target : Target
    """
    before, given = ensemble.target, ensemble.provenance
    if before is not None and before.temperature is not None and before != target:
        given = dataclasses.replace(given, settings={"sampled": dataclasses.asdict(before)} | given.settings)
    return ensemble.replace(target=target, provenance=given)
