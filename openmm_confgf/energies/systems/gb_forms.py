"""The two forms in which OpenMM writes down the OBC2 implicit solvent, and a System in each of them."""

from __future__ import annotations

import copy
import math
import re

import openmm
from openmm import unit
from openmm.app.internal.customgbforces import GBSAOBC2Force

from ..batched.gb import DIELECTRIC_OFFSET

_ACE_TENSION = 28.3919551 / (4 * math.pi)
"""Surface tension (kJ/mol/nm^2) in the energy term of OpenMM's GBSAOBC2Force; `GBSAOBCForce` has the same by default."""

_DIELECTRICS = re.compile(r"solventDielectric=([^;]+); soluteDielectric=([^;]+);")


def gb_forms(system: openmm.System) -> dict[str | None, openmm.System]:
    """A System with its implicit solvent in every form that is equivalent.

    OBC2 without a cutoff and without salt is written as a GBSAOBCForce (by ``amber99_obc.xml``), for which OpenMM has its own code on
    every platform, or as a CustomGBForce (by ``implicit/obc2.xml``), which is interpreted. Their energies agree to some 1e-7 of the
    polarisation energy, by which their Coulomb constants differ.

    Parameters
    ----------
    system : openmm.System
        It is not changed.

    Returns
    -------
    dict of openmm.System
        By ``"GBSAOBCForce"`` and ``"CustomGBForce"``, one of which is the System itself; the other one is missing where the solvent cannot
        be written so. None is the only key of a System without such a force.
    """
    for index, force in enumerate(system.getForces()):
        if isinstance(force, openmm.GBSAOBCForce):
            return _both("GBSAOBCForce", system, "CustomGBForce", index, _as_custom_gb(force))
        if isinstance(force, openmm.CustomGBForce):
            return _both("CustomGBForce", system, "GBSAOBCForce", index, _as_gbsaobc(force))
    return {None: system}


def _both(form: str, system: openmm.System, other: str, index: int, force: openmm.Force | None) -> dict[str | None, openmm.System]:
    if force is None:
        return {form: system}
    swapped = copy.deepcopy(system)
    swapped.removeForce(index)
    force.setForceGroup(system.getForce(index).getForceGroup())
    swapped.addForce(force)
    return {form: system, other: swapped}


def _as_custom_gb(force: openmm.GBSAOBCForce) -> openmm.CustomGBForce | None:
    tension = force.getSurfaceAreaEnergy().value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff or not (
        tension == 0 or math.isclose(tension, _ACE_TENSION, rel_tol=1e-6)
    ):
        return None
    custom = GBSAOBC2Force(force.getSolventDielectric(), force.getSoluteDielectric(), SA="ACE" if tension else None)
    for i in range(force.getNumParticles()):
        charge, radius, scale = force.getParticleParameters(i)
        custom.addParticle([charge.value_in_unit(unit.elementary_charge), radius.value_in_unit(unit.nanometer), scale])
    custom.finalize()
    return custom


def _as_gbsaobc(custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce | None:
    text = "".join(custom.getEnergyTermParameters(i)[0] for i in range(custom.getNumEnergyTerms()))
    found = _DIELECTRICS.search(text)
    if custom.getNonbondedMethod() != openmm.CustomGBForce.NoCutoff or found is None:
        return None
    solvent, solute = map(float, found.groups())
    for area in ("ACE", None):
        if _program(custom) == _program(GBSAOBC2Force(solvent, solute, SA=area)):
            break
    else:
        return None
    force = openmm.GBSAOBCForce()
    force.setSolventDielectric(solvent)
    force.setSoluteDielectric(solute)
    force.setSurfaceAreaEnergy(_ACE_TENSION if area else 0.0)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled = custom.getParticleParameters(i)
        force.addParticle(charge, offset_radius + DIELECTRIC_OFFSET, scaled / offset_radius)
    return force


def _program(force: openmm.CustomGBForce) -> list[list[object]]:
    """What the force computes from its particles' parameters."""
    return [
        [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())],
        [tuple(force.getComputedValueParameters(i)) for i in range(force.getNumComputedValues())],
        [tuple(force.getEnergyTermParameters(i)) for i in range(force.getNumEnergyTerms())],
    ]
