"""Conformations as States of a Simulation, for replica exchange and whatever else starts from several points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..ensemble import Ensemble
from ..errors import ConfGFError, GenerationError, MoleculeError, WrongTypeError, type_text
from ..files import check_folder
from ..molecule_like import check_ensemble
from ..reweighting import reweight
from ..units import in_md_units
from ..writing import write_whole
from .thermostat import thermostat_temperature
from .topology_atoms import molecule_atoms, particles_besides

_KEPT = {"positions": True, "velocities": True, "parameters": True, "integratorParameters": True}
"""What `openmm.app.ReplicaExchangeSampler` keeps of a replica."""


def states(
    ensemble: Ensemble, simulation: app.Simulation, n: int | None = None, seed: int = 0, *, temperature: Any = None
) -> list[openmm.State]:
    """States of a Simulation of the molecule at the conformations of an ensemble, with velocities.

    An ensemble with ``log_q`` and energies is resampled by its Boltzmann weights at the temperature (`reweight`, which warns where they
    are not to be trusted): the States are then equilibrium samples of the System that its energies are of. Of any other, the usable
    conformations are taken in turn, the lowest in energy first. Constraints are applied, virtual sites computed, and velocities drawn.
    ``sampler.replicaConformation`` of an `openmm.app.ReplicaExchangeSampler` takes the list as it is, with one State for each of its
    states.

    Parameters
    ----------
    ensemble : Ensemble
    simulation : openmm.app.Simulation
        Its Topology is the molecule alone, its atoms in any order; `place_conformer` is for those with a solvent. It is left as it was,
        if it has positions.
    n : int, optional
        How many; by default as many as there are conformations that can be taken. Where more are asked for, conformations come again, with
        other velocities.
    seed : int
        Decides which are resampled, and the velocities.
    temperature : float or Quantity, optional
        K; that of the integrator, or of an AndersenThermostat, by default.

    Returns
    -------
    list of openmm.State
        With positions, velocities, and the parameters of Context and integrator; steps and time are those of the Simulation.

    Raises
    ------
    WrongTypeError, MoleculeError
        If it is no Ensemble; if the Topology is not this molecule, in any order.
    ConfGFError
        If there is no temperature, n is less than 1, or the seed is negative; or as in `reweight`.
    GenerationError
        If no conformation is usable, or one has no finite energy in the Simulation.
    """
    check_ensemble(ensemble, "states")
    kelvin = thermostat_temperature(simulation) if temperature is None else float(in_md_units(temperature))
    if kelvin is None:
        raise ConfGFError("The integrator keeps no temperature, so that velocities cannot be drawn; give temperature=.")
    if (n is not None and n < 1) or seed < 0 or not 0 < kelvin < np.inf:
        raise ConfGFError(f"{n} States with seed {seed} at {kelvin:g} K cannot be made; give at least 1, 0 and above 0 K.")
    frames = _chosen(ensemble, n, seed, kelvin)
    atoms, before = _all_atoms(simulation, ensemble), _kept(simulation.context)
    try:
        return [_state(simulation, atoms, frame, kelvin, seed, k) for k, frame in enumerate(frames)]
    finally:
        if before is not None:
            simulation.context.setState(before)


def write_states(made: Sequence[openmm.State], folder: str | Path) -> list[Path]:
    """Write States as XML, ``state-000.xml`` and on, which ``simulation.loadState`` takes on any platform.

    Parameters
    ----------
    made : sequence of openmm.State
    folder : str or Path
        Made where it does not exist; files of these names are replaced.

    Raises
    ------
    FileFormatError
        If they cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    digits = max(3, len(str(len(made) - 1)))
    return [write_whole(folder / f"state-{k:0{digits}d}.xml", openmm.XmlSerializer.serialize(state)) for k, state in enumerate(made)]


def sampler_states(source: Ensemble | openmm.State | Sequence[openmm.State], n: int | None = None, seed: int = 0) -> list[Any]:
    """What the samplers of openmmtools start from: ``MultiStateSampler.create(..., sampler_states=...)``, which take no State.

    Parameters
    ----------
    source : Ensemble, openmm.State or sequence of openmm.State
        Of an ensemble, conformations are chosen as in `states`, at the temperature of its target; they have no velocities, and the
        ensemble's order of atoms. `states` makes States with velocities, in the order of a Topology.
    n, seed
        Of an ensemble, as in `states`; States are taken as they are.

    Returns
    -------
    list of openmmtools.states.SamplerState

    Raises
    ------
    ConfGFError
        If openmmtools is not installed, or a State has no positions; or as in `reweight`.
    WrongTypeError
        If the source is something else.
    GenerationError
        If no conformation of the ensemble is usable.
    """
    given = [source] if isinstance(source, openmm.State) else source
    if not isinstance(given, Ensemble):
        wrong = given if not isinstance(given, Sequence) else next((one for one in given if not isinstance(one, openmm.State)), None)
        if wrong is not None:
            raise WrongTypeError(f"sampler_states takes an Ensemble, or one or several openmm.State, not {type_text(wrong)}.")
    try:
        from openmmtools.states import SamplerState
    except ImportError as error:
        raise ConfGFError("openmmtools is not installed; install it (conda install -c conda-forge openmmtools).") from error
    if isinstance(given, Ensemble):
        return [SamplerState(frame * unit.nanometer) for frame in _chosen(given, n, seed, None)]
    made = []
    for state in given:
        has = state.getDataTypes()
        if not has & openmm.State.Positions:
            raise ConfGFError("A State has no positions; take it with context.getState(positions=True, velocities=True).")
        velocities = state.getVelocities(asNumpy=True) if has & openmm.State.Velocities else None
        made.append(SamplerState(state.getPositions(asNumpy=True), velocities, state.getPeriodicBoxVectors()))
    return made


def _kept(context: openmm.Context) -> openmm.State | None:
    """The State that a Context has; None before its positions are set."""
    try:
        return context.getState(**_KEPT)
    except openmm.OpenMMException:
        return None


def _chosen(ensemble: Ensemble, n: int | None, seed: int, kelvin: float | None) -> NDArray[np.float64]:
    """The conformations that are started from, (n, N, 3) in nm."""
    if ensemble.log_q is not None and ensemble.energy is not None:
        return reweight(ensemble, kelvin).resample(n, seed).positions
    frames = ensemble.ranked().positions
    if not len(frames):
        raise GenerationError(f"{ensemble.graph.name!r} has no usable conformation to start from; generate more of them.")
    return frames[np.arange(len(frames) if n is None else n) % len(frames)]


def _all_atoms(simulation: app.Simulation, ensemble: Ensemble) -> NDArray[np.int64]:
    """The particle of each atom, (N,), where the Topology has no other atoms."""
    positions = np.full((simulation.system.getNumParticles(), 3), np.nan)
    atoms = molecule_atoms(simulation.topology, ensemble.graph, positions)
    if others := particles_besides(simulation.system, atoms):
        raise MoleculeError(
            f"The System has {others} particles besides {ensemble.graph.name!r}; place_conformer puts a conformer among other molecules."
        )
    return atoms


def _state(
    simulation: app.Simulation, atoms: NDArray[np.int64], frame: NDArray[np.float64], kelvin: float, seed: int, k: int
) -> openmm.State:
    context = simulation.context
    positions = np.zeros((simulation.system.getNumParticles(), 3))
    positions[atoms] = frame
    context.setPositions(positions)
    context.applyConstraints(simulation.integrator.getConstraintTolerance())
    context.computeVirtualSites()
    # of 31 bits and not 0, which would mean "different each time"
    context.setVelocitiesToTemperature(kelvin, int(np.random.SeedSequence([seed, k]).generate_state(1)[0] % (2**31 - 1)) + 1)
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    if not np.isfinite(energy):
        raise GenerationError(f"Conformation {k} of those chosen has no finite energy in the Simulation; relax the ensemble first.")
    return context.getState(**_KEPT)
