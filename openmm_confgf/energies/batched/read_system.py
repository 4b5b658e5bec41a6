"""Systems to `Term` modules; every force that cannot be taken is named before any work."""

from __future__ import annotations

import collections
import copy
import dataclasses
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import openmm

from ...errors import UnsupportedForceError
from ...units import in_md_units
from . import custom, standard
from .custom_gb import CustomGBTerm
from .pair_list import EXCEPTION, EXCLUDED, PairList
from .term import PlacedForce, Term

_WITHOUT_ENERGY = (
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)
_READERS: dict[type, Callable[..., Term | None]] = {
    openmm.HarmonicBondForce: standard.harmonic_bonds,
    openmm.HarmonicAngleForce: standard.harmonic_angles,
    openmm.PeriodicTorsionForce: standard.periodic_torsions,
    openmm.RBTorsionForce: standard.rb_torsions,
    openmm.CMAPTorsionForce: standard.cmap_torsions,
    openmm.CustomBondForce: custom.custom_bonds,
    openmm.CustomAngleForce: custom.custom_angles,
    openmm.CustomTorsionForce: custom.custom_torsions,
    openmm.CustomExternalForce: custom.custom_external,
    openmm.CustomNonbondedForce: custom.custom_nonbonded,
}
_READERS_WITH_PAIRS: dict[type, Callable[..., Term]] = {
    openmm.NonbondedForce: standard.nonbonded,
    openmm.GBSAOBCForce: standard.GBSAOBCTerm,
    openmm.CustomGBForce: CustomGBTerm,
}
_KINDS = (*_READERS, *_READERS_WITH_PAIRS)
SUPPORTED = tuple(kind.__name__ for kind in _KINDS)
"""The forces that `BatchedEnergy` evaluates."""

_OF_ALL_ATOMS = (openmm.CustomNonbondedForce, *_READERS_WITH_PAIRS)

_ALTERNATIVE = "use ContextEnergy, or fallback='context'"
_INTERACTIONS = {
    *("Particles", "Bonds", "Angles", "Torsions", "Maps", "Exceptions", "Exclusions", "InteractionGroups"),
    *("ParticleOffsets", "ExceptionOffsets"),
}


@dataclasses.dataclass(frozen=True)
class NamedTerm:
    """A term, and where it comes from.

    Attributes
    ----------
    name : str
        Of the force that it was read from.
    group : int
        The force's group.
    term : Term
    molecules : tuple of int
        The molecules whose atoms it counts through.
    """

    name: str
    group: int
    term: Term
    molecules: tuple[int, ...]


def check_supported(system: openmm.System, for_reweighting: bool = False) -> None:
    """Make sure that every force of a System can be evaluated here.

    Parameters
    ----------
    system : openmm.System
    for_reweighting : bool
        Whether the energies will weigh samples: then constraints are refused as well.

    Raises
    ------
    UnsupportedForceError
        Names the first force, or other feature, that cannot be taken, and the alternative.
    """
    for force in _with_energy(system):
        name = _label(force)
        if force.usesPeriodicBoundaryConditions():
            raise UnsupportedForceError(f"{name} is periodic, and BatchedEnergy takes molecules without a box; {_ALTERNATIVE}.")
        if not isinstance(force, _KINDS):
            raise UnsupportedForceError(f"BatchedEnergy has no {name}; {_ALTERNATIVE}.")
        if isinstance(force, _OF_ALL_ATOMS) and force.getNumParticles() != system.getNumParticles():
            raise UnsupportedForceError(
                f"{name} has {force.getNumParticles()} particles where the System has {system.getNumParticles()}; mend the System."
            )
    if any(system.isVirtualSite(k) for k in range(system.getNumParticles())):
        raise UnsupportedForceError(f"The System has virtual sites, which BatchedEnergy does not place; {_ALTERNATIVE}.")
    if for_reweighting:
        refuse_constraints(system)


def refuse_constraints(system: openmm.System) -> None:
    """Make sure that a System leaves its atoms free: the density of constrained ones is another than that of weights.

    Parameters
    ----------
    system : openmm.System

    Raises
    ------
    UnsupportedForceError
        If it has constraints.
    """
    if count := system.getNumConstraints():
        raise UnsupportedForceError(
            f"The System has {count} constraints, and weights of its samples would be wrong; create it with constraints=None and "
            "rigidWater=False."
        )


def system_hash(system: openmm.System) -> str:
    """A checksum of everything in a System, OpenMM's version included: the SHA-256 of its XML, in hexadecimal.

    Parameters
    ----------
    system : openmm.System
    """
    return hashlib.sha256(openmm.XmlSerializer.serialize(system).encode()).hexdigest()


def check_parameters(given: Mapping[str, float] | None, known: Mapping[str, float]) -> None:
    """Make sure that all global parameters that are given are known.

    Parameters
    ----------
    given : mapping of str to float, or None
    known : mapping of str to float
        Those of the System.

    Raises
    ------
    ValueError
        If one is not known; the message names those that are.
    """
    if unknown := set(given or {}) - set(known):
        names = ", ".join(sorted(known)) or "none"
        raise ValueError(f"The System has no global parameter {', '.join(sorted(unknown))}; it has: {names}.")


def read_systems(systems: Sequence[openmm.System], parameters: Mapping[str, float] | None = None) -> list[NamedTerm]:
    """The forces of Systems: those that differ in their interactions only become one term, which counts the atoms of their Systems through.

    Parameters
    ----------
    systems : sequence of openmm.System
        All of which have passed `check_supported`.
    parameters : mapping of str to float, optional
        Global parameters at other values than their defaults, as ``Context.setParameter`` would set them.

    Returns
    -------
    list of NamedTerm
        In the order of the first System's forces.

    Raises
    ------
    UnsupportedForceError
        For expressions that cannot be evaluated, and for Systems that OpenMM refuses.
    ValueError
        If a parameter is not one of the Systems.
    """
    defaults = [_global_parameters(system) for system in systems]
    check_parameters(parameters, {name: value for values in defaults for name, value in values.items()})
    groups: dict[Any, list[PlacedForce]] = {}
    for molecule, system in enumerate(systems):
        values = defaults[molecule] | {name: float(in_md_units(value)) for name, value in (parameters or {}).items()}
        seen: collections.Counter[Any] = collections.Counter()
        for force in _with_energy(system):
            settings = _settings(force), *((name, values[name]) for name in _names_of_globals(force))
            seen[settings] += 1
            placed = groups.setdefault((settings, seen[settings]), [])
            first_atom = placed[-1].first_atom + placed[-1].n_atoms if placed else 0
            placed.append(PlacedForce(force, molecule, first_atom, system.getNumParticles(), values))
    pair_lists = _PairLists(groups.values())
    found = []
    for placed in groups.values():
        force, term = placed[0].force, _read(placed, len(systems), pair_lists)
        if term is not None:
            found.append(NamedTerm(force.getName(), force.getForceGroup(), term, _molecules(placed)))
    for system in systems:
        _refuse_what_openmm_refuses(system)
    return found


def _refuse_what_openmm_refuses(system: openmm.System) -> None:
    """Atoms that do not exist, excluded pairs of one force and not of another, defaults that disagree ..."""
    bare = copy.deepcopy(system)
    for k in reversed(range(bare.getNumForces())):
        if isinstance(bare.getForce(k), _WITHOUT_ENERGY):  # a barostat, say, which would want a box
            bare.removeForce(k)
    try:
        openmm.Context(bare, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    except openmm.OpenMMException as error:
        raise UnsupportedForceError(f"OpenMM refuses this System ({error}), in a ContextEnergy as well; mend it.") from error


def _read(placed: Sequence[PlacedForce], molecules: int, pair_lists: _PairLists) -> Term | None:
    kind = next(kind for kind in _KINDS if isinstance(placed[0].force, kind))
    if kind in _READERS:
        return _READERS[kind](placed, molecules)
    return _READERS_WITH_PAIRS[kind](placed, molecules, pair_lists.of(placed))


class _PairLists:
    """One `PairList` for all forces of the same molecules; a second NonbondedForce has exceptions, and so a list, of its own."""

    def __init__(self, groups: Iterable[Sequence[PlacedForce]]) -> None:
        self._nonbonded: dict[tuple[int, ...], Sequence[PlacedForce]] = {}
        self._with_excluded: set[tuple[int, ...]] = set()
        self._made: dict[tuple[int, ...], PairList] = {}
        for placed in groups:
            molecules = _molecules(placed)
            if isinstance(placed[0].force, openmm.NonbondedForce):
                self._nonbonded.setdefault(molecules, placed)
            elif isinstance(placed[0].force, tuple(_READERS_WITH_PAIRS)):
                self._with_excluded.add(molecules)

    def of(self, placed: Sequence[PlacedForce]) -> PairList:
        """The pairs for a force."""
        molecules = _molecules(placed)
        first = self._nonbonded.get(molecules, placed)
        if isinstance(placed[0].force, openmm.NonbondedForce) and first is not placed:
            return PairList(placed, self._kinds(placed), with_excluded=False)
        if molecules not in self._made:
            self._made[molecules] = PairList(placed, self._kinds(first), molecules in self._with_excluded)
        return self._made[molecules]

    def _kinds(self, placed: Sequence[PlacedForce]) -> dict[tuple[int, int], int]:
        if not isinstance(placed[0].force, openmm.NonbondedForce):
            return {}
        special = standard.exceptions(placed)
        return {pair: EXCEPTION if charge_product or epsilon else EXCLUDED for pair, (charge_product, _, epsilon) in special.items()}


def _molecules(placed: Sequence[PlacedForce]) -> tuple[int, ...]:
    return tuple(one.molecule for one in placed)


def _with_energy(system: openmm.System) -> list[openmm.Force]:
    """The forces that may have an energy; a NonbondedForce whose direct space is left out has none without a box."""
    return [
        force
        for force in system.getForces()
        if not isinstance(force, _WITHOUT_ENERGY) and not (isinstance(force, openmm.NonbondedForce) and not force.getIncludeDirectSpace())
    ]


def _label(force: openmm.Force) -> str:
    kind = type(force).__name__
    return kind if force.getName() == kind else f"{kind} ({force.getName()})"


def _settings(force: openmm.Force) -> bytes:
    """All of a force but its interactions: two forces that agree in it can be evaluated as one."""
    root = ET.fromstring(openmm.XmlSerializer.serialize(force))
    for child in list(root):
        if child.tag in _INTERACTIONS:
            root.remove(child)
    return ET.tostring(root)


def _global_parameters(system: openmm.System) -> dict[str, float]:
    """Default values, by name; a Context refuses forces that disagree."""
    names = [(force, k, name) for force in _with_energy(system) for k, name in enumerate(_names_of_globals(force))]
    return {name: force.getGlobalParameterDefaultValue(k) for force, k, name in names}


def _names_of_globals(force: Any) -> list[str]:
    count = force.getNumGlobalParameters() if hasattr(force, "getNumGlobalParameters") else 0
    return [force.getGlobalParameterName(k) for k in range(count)]
