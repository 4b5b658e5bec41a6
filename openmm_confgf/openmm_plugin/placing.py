"""A conformer of a ligand in a System that has more than the ligand: superposed, put in place, and the clashes relaxed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from scipy.spatial.transform import Rotation

from ..energies.context import platform_properties, resolve_platform
from ..ensemble import Ensemble
from ..errors import ConfGFError, GenerationError
from ..molecule_like import check_ensemble
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..units import in_md_units, positions_in_nm
from .topology_atoms import made_whole, molecule_atoms, nearest_image

_CONSTRAINT_TOLERANCE = 1e-6

_HOLD = 1e4
"""kJ/mol/nm^2, of the springs on what is held in place: an atom is 0.01 nm away where it is pushed with 100 kJ/mol/nm."""

_FORCE_TOLERANCE = 10.0
_ITERATIONS = 200
"""Of each minimisation: clashes are gone after some tens, and dynamics follow."""

_HEAVIEST_HYDROGEN = 4.1
"""Da; with masses moved to hydrogen, too."""

_LARGEST_FORCE = 1e4
"""kJ/mol/nm on an atom of the conformer, above which a clash is left: thermal motion has some thousand."""

_CONTACT = 0.25
"""nm between a solvent molecule's atoms and the conformer's heavy atoms, under which it makes room."""

_MOST_MOVES = 10

_MOST_OF_SOLVENT = 10
"""Particles of a molecule that may make room: water, ions and small solvents."""


def place_conformer(
    conformer: Ensemble,
    topology: app.Topology,
    positions: Any,
    system: openmm.System,
    *,
    at: Any = None,
    atoms: Sequence[int] | None = None,
    relax: Literal["all", "molecule"] = "all",
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Put a conformer in the place of the ligand of a solvated System, or of a complex.

    It is superposed on the heavy atoms of the ligand that is there (Kabsch 1976, doi:10.1107/S0567739476001873; all atoms where there are
    fewer than three heavy ones), or moved with its centre to a point. There, water and other small molecules that would overlap with it
    change places with the ligand: they go where it was. Clashes are relaxed by minimisation, with springs of 10^4 kJ/mol/nm^2: first with
    the conformer held, so that what is around it gives way, then with everything free. The positions satisfy the System's constraints to
    1e-6, and its virtual sites are where their atoms put them.

    Parameters
    ----------
    conformer : Ensemble
        Of one conformation: ``ensemble[3]``.
    topology : openmm.app.Topology
        With the ligand, in any order of its atoms.
    positions : array_like or Quantity, (P, 3)
        Of all particles, in nm.
    system : openmm.System
        Of the Topology. It is not changed.
    at : array_like or Quantity, (3,), optional
        Where the centre of the conformer's atoms is to be, in nm; its orientation is kept.
    atoms : sequence of int, optional
        Indices of the ligand's atoms in the Topology, where it has several such molecules.
    relax : {"all", "molecule"}
        ``"molecule"`` holds all other heavy atoms in their places, and only the conformer gives way.
    platform, properties
        As in `ContextEnergy`.

    Returns
    -------
    ndarray of float64, (P, 3)
        nm, for ``simulation.context.setPositions``. In a periodic box the ligand is whole.

    Raises
    ------
    WrongTypeError, MoleculeError
        If it is no Ensemble; if the Topology has no such ligand or several, as in `molecule_atoms`.
    ConfGFError
        If the ensemble has more than one conformation or one that is not OK, the numbers of particles disagree, or the ligand has Drude
        particles.
    ValueError
        If the positions or the point have another shape or are not finite.
    GenerationError
        If the clashes cannot be relaxed, or the ligand does not survive it.
    """
    check_ensemble(conformer, "place_conformer")
    graph, frame = conformer.graph, _checked(conformer)
    before = positions_in_nm(positions)
    n = system.getNumParticles()
    if topology.getNumAtoms() != n or before.shape != (n, 3):
        raise ConfGFError(
            f"The Topology has {topology.getNumAtoms()} atoms, the positions have shape {before.shape}, and the System has {n} particles; "
            "give those of one model, extra particles included (Modeller.addExtraParticles)."
        )
    if not np.isfinite(before).all():
        raise ValueError("The positions are not all finite; give those of a model that has been minimised.")
    if relax not in ("all", "molecule"):
        raise ConfGFError(f"relax={relax!r} is not known; give 'all' or 'molecule'.")
    box = np.array(in_md_units(system.getDefaultPeriodicBoxVectors())) if system.usesPeriodicBoundaryConditions() else None
    ligand = molecule_atoms(topology, graph, before, among=atoms)
    _refuse_drude(topology, system, ligand)
    there = made_whole(before[ligand], graph.bonds.tolist(), box)
    placed = before.copy()
    if at is None:
        placed[ligand] = superposed(frame, there, graph)
    else:
        point = np.asarray(in_md_units(at), np.float64)
        if point.shape != (3,) or not np.isfinite(point).all():
            raise ValueError(f"{at} is no point; give three finite numbers in nm.")
        placed[ligand] = frame - frame.mean(0) + point
        _make_room(topology, placed, ligand, placed[ligand][graph.heavy_atoms], there.mean(0) - point, box)
    return _relaxed(system, graph, ligand, placed, relax, platform, properties)


def superposed(frame: NDArray[np.float64], onto: NDArray[np.float64], graph: MolecularGraph) -> NDArray[np.float64]:
    """A conformation turned and moved onto another one of the same molecule, by its heavy atoms.

    Parameters
    ----------
    frame, onto : ndarray of float64, (N, 3)
        nm.
    graph : MolecularGraph

    Returns
    -------
    ndarray of float64, (N, 3)
    """
    matched = graph.heavy_atoms if len(graph.heavy_atoms) > 2 else np.arange(len(graph))
    centre, goal = frame[matched].mean(0), onto[matched].mean(0)
    if len(matched) < 2:
        return frame - centre + goal
    turn, _ = Rotation.align_vectors(onto[matched] - goal, frame[matched] - centre)
    return np.asarray(turn.apply(frame - centre)) + goal


def _checked(conformer: Ensemble) -> NDArray[np.float64]:
    if len(conformer) != 1:
        raise ConfGFError(f"The ensemble has {len(conformer)} conformations; give one of them, such as ensemble[0].")
    if not conformer.ok[0]:
        raise ConfGFError(f"The conformation has the status {Status(conformer.status[0]).name}; give one that is OK.")
    return conformer.positions[0]


def _refuse_drude(topology: app.Topology, system: openmm.System, ligand: NDArray[np.int64]) -> None:
    own = set(ligand.tolist())
    residues = {atom.residue.index for atom in topology.atoms() if atom.index in own}
    extra = [atom.index for atom in topology.atoms() if atom.residue.index in residues and atom.element is None]
    if any(not system.isVirtualSite(k) for k in extra):
        raise ConfGFError("The ligand has particles besides its atoms that are no virtual sites (Drude); they cannot be placed with it.")


def _make_room(
    topology: app.Topology,
    placed: NDArray[np.float64],
    ligand: NDArray[np.int64],
    heavy: NDArray[np.float64],
    away: NDArray[np.float64],
    box: NDArray[np.float64] | None,
) -> None:
    """Move the solvent molecules that overlap with the conformer to where the ligand was; `placed` is changed."""
    own = set(ligand.tolist())
    for residue in topology.residues():
        members = [atom.index for atom in residue.atoms()]
        if len(members) <= _MOST_OF_SOLVENT and not own.intersection(members) and not any(True for _ in residue.external_bonds()):
            if _nearest(placed[members], heavy, box) < _CONTACT:
                _carried(placed, members, heavy, away, box)


def _carried(
    placed: NDArray[np.float64], members: list[int], heavy: NDArray[np.float64], away: NDArray[np.float64], box: NDArray[np.float64] | None
) -> None:
    """Move a molecule by the ligand's own way back, again and again until it is out of the conformer."""
    for _ in range(_MOST_MOVES):
        placed[members] += away
        if _nearest(placed[members], heavy, box) >= _CONTACT:
            break


def _nearest(some: NDArray[np.float64], others: NDArray[np.float64], box: NDArray[np.float64] | None) -> float:
    """The least distance in nm between two sets of atoms."""
    apart = some[:, None] - others
    return float(np.linalg.norm(apart if box is None else nearest_image(apart, box), axis=-1).min())


def _relaxed(
    system: openmm.System,
    graph: MolecularGraph,
    ligand: NDArray[np.int64],
    placed: NDArray[np.float64],
    relax: str,
    platform: str,
    properties: Mapping[str, Any] | None,
) -> NDArray[np.float64]:
    """The positions after minimisation, with constraints and virtual sites as they have to be."""
    others = np.setdiff1d(_heavy_particles(system), ligand)
    held = copy.deepcopy(system)
    springs = _springs(held.usesPeriodicBoundaryConditions())
    for particle, group in [(k, 0) for k in ligand.tolist()] + [(k, 1) for k in others.tolist()]:
        springs.addParticle(particle, [*placed[particle], group])
    held.addForce(springs)
    chosen = resolve_platform(platform, properties)
    integrator = openmm.VerletIntegrator(0.001)
    integrator.setConstraintTolerance(_CONSTRAINT_TOLERANCE)
    context = openmm.Context(held, integrator, chosen, platform_properties(chosen, properties))
    try:
        context.setPositions(placed)
        context.applyConstraints(_CONSTRAINT_TOLERANCE)
        context.computeVirtualSites()
        for of_ligand, of_others in ((_HOLD, 0.0), (0.0, 0.0)) if relax == "all" else ((0.0, _HOLD),):
            context.setParameter("hold_ligand", of_ligand)
            context.setParameter("hold_others", of_others)
            openmm.LocalEnergyMinimizer.minimize(context, _FORCE_TOLERANCE, _ITERATIONS)
        context.applyConstraints(_CONSTRAINT_TOLERANCE)
        context.computeVirtualSites()
        context.setParameter("hold_others", 0.0)
        state = context.getState(positions=True, energy=True, forces=True)
    except openmm.OpenMMException as error:
        raise GenerationError(f"The conformer cannot be relaxed where it was put ({error}); put it elsewhere, or take another.") from error
    found = np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), np.float64)
    status = Status(check_conformations(graph, found[ligand])[0])
    largest = np.linalg.norm(np.array(in_md_units(state.getForces(asNumpy=True)))[ligand], axis=1).max()
    # NaN is no less than the bound
    if status != Status.OK or not (largest < _LARGEST_FORCE and np.isfinite(in_md_units(state.getPotentialEnergy()))):
        raise GenerationError(
            f"The conformer does not fit where it was put: it ends {status.name}, with forces up to {largest:.3g} kJ/mol/nm; put it "
            "elsewhere, take another, or let all atoms give way (relax='all')."
        )
    return found


def _springs(periodic: bool) -> openmm.CustomExternalForce:
    """Harmonic springs to given points, on the ligand (group 0) and on others (group 1), switched by context parameters."""
    distance = "periodicdistance(x, y, z, x0, y0, z0)^2" if periodic else "(x - x0)^2 + (y - y0)^2 + (z - z0)^2"
    springs = openmm.CustomExternalForce(f"(hold_ligand + (hold_others - hold_ligand) * other) / 2 * ({distance})")
    for name in ("hold_ligand", "hold_others"):
        springs.addGlobalParameter(name, 0.0)
    for name in ("x0", "y0", "z0", "other"):
        springs.addPerParticleParameter(name)
    return springs


def _heavy_particles(system: openmm.System) -> NDArray[np.int64]:
    """Particles heavier than hydrogen: neither virtual sites nor those that constraints and angles hold already."""
    masses = [system.getParticleMass(k).value_in_unit(unit.dalton) for k in range(system.getNumParticles())]
    return np.flatnonzero(np.array(masses) > _HEAVIEST_HYDROGEN)
