"""Starting points for MD: diverse conformations of low energy, minimised, warmed up, and written as files that OpenMM alone can load."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..checks import check_conformations
from ..energies import ContextEnergy, SystemBuilder, minimize
from ..energies.context import platform_properties, resolve_platform
from ..ensemble import Ensemble, Status
from ..errors import GenerationError
from ..files import check_folder
from ..rmsd import diverse_low_energy
from ..units import GAS_CONSTANT, in_md_units

TIMESTEP = 0.001
"""ps; short enough for bonds to hydrogen without constraints."""

FRICTION = 1.0
"""1/ps."""

_STEPS_PER_READING = 10


@dataclasses.dataclass(frozen=True)
class Seed:
    """One starting point.

    Attributes
    ----------
    index : int
        Which conformation of the ensemble it was made from.
    state_xml : Path or None
        Positions, velocities and parameters after the run: ``Simulation.loadState`` takes it, on any platform. None where the status is
        not OK, as for the other files.
    system_xml : Path or None
        The System, for ``openmm.XmlSerializer``.
    pdb : Path or None
        Topology and positions after the run, for ``openmm.app.PDBFile``.
    minimized_energy : float
        Potential energy in kJ/mol after minimisation; +inf where that failed.
    final_energy : float
        Potential energy in kJ/mol after the run; +inf where the status is not OK.
    mean_temperature : float
        Mean kinetic temperature in K over the run; NaN without one.
    status : Status
        OK, or what went wrong on the way.
    """

    index: int
    state_xml: Path | None
    system_xml: Path | None
    pdb: Path | None
    minimized_energy: float
    final_energy: float
    mean_temperature: float
    status: Status


def seed_simulations(
    ensemble: Ensemble,
    directory: str | Path,
    forcefield: str | SystemBuilder = "openff-2.2.1",
    *,
    count: int = 8,
    run_ps: Any = 1.0,
    temperature: Any = 300.0,
    seed: int = 0,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> list[Seed]:
    """Start simulations from diverse conformations of low energy.

    The conformations are clustered by RMSD, and the lowest in energy of each cluster is minimised, given velocities and run for `run_ps`
    with ``LangevinMiddleIntegrator`` (1 fs, 1/ps). A minimised structure takes half of the velocities' energy, which friction gives
    back at 1/ps: for the full temperature at the start of production, run 3 ps or more. The files of one seed are
    ``seed-00-state.xml``, ``seed-00-system.xml`` and ``seed-00.pdb``; existing ones are replaced.

    Parameters
    ----------
    ensemble : Ensemble
        At least one sample must be OK; its own energies are not used.
    directory : str or Path
        Created where it does not exist.
    forcefield : str or SystemBuilder
        As in `create_system`.
    count : int
        How many at most; there are fewer where fewer conformations are usable.
    run_ps : float or Quantity
        Length of the run in ps; 0 draws velocities only.
    temperature : float or Quantity
        K.
    seed : int
        Decides velocities and noise, for each conformation independently of the others.
    platform, properties
        As in `ContextEnergy`.

    Returns
    -------
    list of Seed
        Lowest energy before minimisation first.

    Raises
    ------
    ValueError
        If the count or the temperature is not positive, the run's length or the seed is negative, or one of them is not finite.
    FileFormatError
        If the directory cannot be written.
    GenerationError
        If no conformation is usable.
    ForceFieldError, PlatformError
        As in `create_system` and `ContextEnergy`.
    """
    kelvin, length = float(in_md_units(temperature)), float(in_md_units(run_ps))
    if count < 1 or not 0 < kelvin < np.inf or not 0 <= length < np.inf or seed < 0:
        asked = f"count {count}, temperature {kelvin} K, run_ps {run_ps}, seed {seed}"
        raise ValueError(f"Seeds cannot be made with {asked}; give positive values (run_ps and seed may be 0).")
    n_steps = round(length / TIMESTEP)
    folder = Path(directory)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    graph = ensemble.graph
    builder = SystemBuilder(forcefield) if isinstance(forcefield, str) else forcefield
    system = builder.build(graph)
    with ContextEnergy(system, platform, properties) as evaluation:
        usable = np.flatnonzero(ensemble.ok)
        result = evaluation.evaluate(ensemble.positions[usable])
        usable = usable[result.ok]
        if not len(usable):
            raise GenerationError(f"{graph.name!r} has no usable conformation to start from; generate more of them.")
        picks = usable[diverse_low_energy(graph, ensemble.positions[usable], result.energy[result.ok], count)]
        relaxed = minimize(evaluation, ensemble.positions[picks])
    chosen = resolve_platform(platform, properties)
    integrator = openmm.LangevinMiddleIntegrator(kelvin, FRICTION, TIMESTEP)
    context = openmm.Context(system, integrator, chosen, platform_properties(chosen, properties))
    topology = graph.to_topology()
    seeds = []
    for rank, index in enumerate(picks):
        status = Status(relaxed.status[rank])
        failed = Seed(int(index), None, None, None, float(relaxed.energy[rank]), np.inf, np.nan, status)
        if status != Status.OK:
            seeds.append(failed)
            continue
        state, mean_temperature, status = _run(context, relaxed.positions[rank], kelvin, n_steps, _random_seeds(seed, int(index)))
        if state is not None:
            frame = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
            status = Status(check_conformations(graph, frame[None])[0])
        if state is None or status != Status.OK:
            seeds.append(dataclasses.replace(failed, mean_temperature=mean_temperature, status=status))
            continue
        stem = f"seed-{rank:02d}"
        started = dataclasses.replace(
            failed,
            state_xml=_write(folder / f"{stem}-state.xml", openmm.XmlSerializer.serialize(state)),
            system_xml=_write(folder / f"{stem}-system.xml", openmm.XmlSerializer.serialize(system)),
            pdb=_write(folder / f"{stem}.pdb", _as_pdb(topology, frame)),
            final_energy=state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
            mean_temperature=mean_temperature,
        )
        seeds.append(started)
    return seeds


def _run(
    context: openmm.Context, positions: NDArray[np.float64], kelvin: float, n_steps: int, random_seeds: tuple[int, int]
) -> tuple[openmm.State | None, float, Status]:
    """Velocities, dynamics, and the final State (None if it failed) with the mean kinetic temperature."""
    integrator = context.getIntegrator()
    integrator.setRandomNumberSeed(random_seeds[0])
    # takes the random number seed, and leaves behind whatever an earlier explosion did to the Context
    context.reinitialize()
    readings = []
    degrees = _degrees_of_freedom(context.getSystem())
    try:
        context.setPositions(positions)
        context.setVelocitiesToTemperature(kelvin, random_seeds[1])
        for done in range(0, n_steps, _STEPS_PER_READING):
            integrator.step(min(_STEPS_PER_READING, n_steps - done))
            kinetic = context.getState(energy=True).getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
            readings.append(2 * kinetic / (degrees * GAS_CONSTANT))
        state = context.getState(positions=True, velocities=True, parameters=True, energy=True)
    except openmm.OpenMMException:
        return None, np.nan, Status.FAILED
    mean_temperature = float(np.mean(readings)) if readings else np.nan
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return (state, mean_temperature, Status.OK) if np.isfinite(energy) else (None, mean_temperature, Status.NON_FINITE)


def _degrees_of_freedom(system: openmm.System) -> int:
    massive = sum(system.getParticleMass(i).value_in_unit(unit.dalton) > 0 for i in range(system.getNumParticles()))
    overall = 3 * any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    return max(1, 3 * massive - system.getNumConstraints() - overall)


def _random_seeds(seed: int, index: int) -> tuple[int, int]:
    """Two seeds for OpenMM (integrator, velocities), of 31 bits and not 0, which would mean "different each time"."""
    first, second = np.random.SeedSequence([seed, index]).generate_state(2) % (2**31 - 1) + 1
    return int(first), int(second)


def _as_pdb(topology: app.Topology, positions: NDArray[np.float64]) -> str:
    text = StringIO()
    app.PDBFile.writeFile(topology, positions * unit.nanometer, text, keepIds=True)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    """Write to a temporary name and rename, so that a file is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
    return path
