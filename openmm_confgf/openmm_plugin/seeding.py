"""Starting points for MD: diverse conformations of low energy, minimised, warmed up, and written as files that OpenMM alone can load."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..energies import ContextEnergy, ForceFieldLike, Minimized, minimize
from ..energies.context import platform_properties, resolve_platform
from ..energies.systems.constrained import Constraints, check_constraints, constrained
from ..energies.systems.source import system_source
from ..ensemble import Ensemble
from ..errors import GenerationError
from ..molecule_like import check_ensemble
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import diverse_low_energy
from ..molecules.stereoisomers import check_one_diastereomer, stereoisomers
from ..status import Status
from ..units import GAS_CONSTANT, in_md_units
from ..version import __version__
from .seed_folder import SeedFolder, check_seed_folder

TIMESTEP = 0.001
"""ps; short enough for bonds to hydrogen without constraints. `timestep_of` tells when it can be longer."""

_HEAVY_HYDROGEN = 3.0
"""Da; with it and constrained bonds, 4 fs are stable (Hopkins et al. 2015, doi:10.1021/ct5010406)."""

_CONSTRAINT_TOLERANCE = 1e-6

FRICTION = 1.0
"""1/ps."""

_STEPS_PER_READING = 10

_LOAD = """\
import json, openmm
from openmm import app, unit
seed = next(seed["files"] for seed in json.load(open("manifest.json"))["seeds"] if seed["files"])
pdb = app.PDBFile(seed["pdb"]["name"])
system = openmm.XmlSerializer.deserialize(open(seed["system"]["name"]).read())
integrator = openmm.LangevinMiddleIntegrator({temperature:g} * unit.kelvin, {friction:g} / unit.picosecond, {timestep:g} * unit.picoseconds)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.loadState(seed["state"]["name"])
simulation.step(1000)
"""


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
    forcefield: ForceFieldLike = "openff-2.2.1",
    *,
    count: int = 8,
    run_ps: Any = 1.0,
    temperature: Any = 300.0,
    seed: int = 0,
    constraints: Constraints | Any | None = None,
    hydrogen_mass: Any = None,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> list[Seed]:
    """Start simulations from diverse conformations of low energy.

    The conformations are clustered by RMSD, and the lowest in energy of each cluster is minimised, given velocities and run for `run_ps`
    with ``LangevinMiddleIntegrator`` (Zhang et al. 2019, doi:10.1021/acs.jpca.9b02771) at a friction of 1/ps, with the timestep of
    `timestep_of`. A minimised structure takes half of the velocities' energy, which friction gives back at 1/ps: for the full temperature
    at the start of production, run 3 ps or more. The files of one seed are ``seed-00-state.xml``, ``seed-00-system.xml`` and
    ``seed-00.pdb``; ``manifest.json`` lists the seeds whose files are complete, with their energies and what they were made from, and says
    how to load them. The same call replaces its own seeds.

    Parameters
    ----------
    ensemble : Ensemble
        At least one sample must be OK, and all that are must be one compound or its mirror image: where stereo is left open, give those of
        `Ensemble.by_stereoisomer`. Its own energies are not used.
    directory : str or Path
        Created where it does not exist; it must not hold other seeds.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`: a name as in `create_system`, a System of your own ...
    count : int
        How many at most; there are fewer where fewer conformations are usable.
    run_ps : float or Quantity
        Length of the run in ps; 0 draws velocities only.
    temperature : float or Quantity
        K.
    seed : int
        Decides velocities and noise, for each conformation independently of the others.
    constraints : {"HBonds", "AllBonds"}, optional
        Or ``app.HBonds``, ``app.AllBonds``. For the run and the System that is written; conformations are chosen and minimised without.
    hydrogen_mass : float or Quantity, optional
        Da; hydrogens of the run and the System that is written get it from the atoms that they are bonded to. With 3 and ``"HBonds"``
        simulations go on at 4 fs.
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
    MoleculeError
        If the conformations are of several diastereomers.
    FileFormatError
        If the directory holds other seeds or cannot be written; on a full disk, the seeds before are kept.
    GenerationError
        If no conformation is usable.
    WrongTypeError, ConfGFError, ForceFieldError, PlatformError
        As in `system_source`, `constrained` and `ContextEnergy`.
    """
    check_ensemble(ensemble, "seed_simulations")
    call = seed_call(
        ensemble, count=count, run_ps=run_ps, temperature=temperature, seed=seed, constraints=constraints, hydrogen_mass=hydrogen_mass
    )
    folder, graph = Path(directory), ensemble.graph
    check_seed_folder(folder, call)
    usable = np.flatnonzero(ensemble.ok)
    check_one_diastereomer(graph, ensemble.positions[usable], "a set of seeds")
    source = system_source(forcefield)
    system = source.build(graph)
    moving = constrained(system, graph, call["constraints"], call["hydrogen_mass"])
    system_settings = source.settings(moving)
    writer = SeedFolder(folder, call | system_settings, _about(graph, call))
    with ContextEnergy(system, platform, properties) as evaluation:
        result = evaluation.evaluate(ensemble.positions[usable])
        usable = usable[result.ok]
        if not len(usable):
            raise GenerationError(f"{graph.name!r} has no usable conformation to start from; generate more of them.")
        picks = usable[diverse_low_energy(graph, ensemble.positions[usable], result.energy[result.ok], count)]
        relaxed = minimize(evaluation, ensemble.positions[picks])
    isomers = stereoisomers(graph, ensemble.positions[picks])
    chosen = resolve_platform(platform, properties)
    integrator = openmm.LangevinMiddleIntegrator(call["temperature"], FRICTION, timestep_of(call))
    integrator.setConstraintTolerance(_CONSTRAINT_TOLERANCE)
    context = openmm.Context(moving, integrator, chosen, platform_properties(chosen, properties))
    seeds = []
    for rank, index in enumerate(picks.tolist()):
        made, state = _seed(context, graph, relaxed, rank, index, call)
        files = {} if state is None else _files(rank, state, graph, moving)
        written = writer.add(_entry(rank, made, isomers[rank]), files)
        paths = dict(zip(files, written, strict=True))
        seeds.append(dataclasses.replace(made, state_xml=paths.get("state"), system_xml=paths.get("system"), pdb=paths.get("pdb")))
    writer.complete()
    return seeds


def seed_call(
    ensemble: Ensemble, *, count: int, run_ps: Any, temperature: Any, seed: int, constraints: str | None, hydrogen_mass: Any
) -> dict[str, Any]:
    """What decides the seeds of an ensemble besides the force field, in JSON's types and OpenMM's units, once it is known to be possible.

    Parameters
    ----------
    ensemble : Ensemble
        Its usable conformations are in the result by their checksum.
    count, run_ps, temperature, seed, constraints, hydrogen_mass
        As in `seed_simulations`.

    Returns
    -------
    dict
        The SMILES as ``molecule``, ``conformations`` (their number) and ``conformations_sha256``, and the arguments by their names: the
        length of the run in ps, the temperature in K, the hydrogen mass in Da or None.

    Raises
    ------
    ValueError
        If the count or the temperature is not positive, the run's length or the seed is negative, or one of them is not finite.
    ConfGFError
        If the constraints or the hydrogen mass are none that can be.
    """
    kelvin, length = float(in_md_units(temperature)), float(in_md_units(run_ps))
    if count < 1 or not 0 < kelvin < np.inf or not 0 <= length < np.inf or seed < 0:
        asked = f"count {count}, temperature {kelvin} K, run_ps {run_ps}, seed {seed}"
        raise ValueError(f"Seeds cannot be made with {asked}; give positive values (run_ps and seed may be 0).")
    constraints = None if constraints is None else str(constraints)  # app.HBonds, too
    mass = check_constraints(constraints, hydrogen_mass)
    samples = np.ascontiguousarray(ensemble.positions[ensemble.ok])
    return {
        "molecule": ensemble.graph.smiles,
        "conformations": len(samples),
        "conformations_sha256": hashlib.sha256(ensemble.graph.numbers.tobytes() + samples.tobytes()).hexdigest(),
        "count": count,
        "run_ps": length,
        "temperature": kelvin,
        "seed": seed,
        "constraints": constraints,
        "hydrogen_mass": mass,
    }


def timestep_of(call: Mapping[str, Any]) -> float:
    """The timestep in ps that constraints and hydrogen mass allow: 1 fs, 2 fs with one of them, 4 fs with both (3 Da or more).

    Parameters
    ----------
    call : mapping
        What `seed_call` gave, of which ``constraints`` and ``hydrogen_mass`` (Da) are read.

    Examples
    --------
    >>> timestep_of({"constraints": "HBonds", "hydrogen_mass": 3.0})
    0.004
    """
    heavy = (call["hydrogen_mass"] or 0) >= _HEAVY_HYDROGEN
    return TIMESTEP * (4 if heavy and call["constraints"] else 2 if heavy or call["constraints"] else 1)


def _seed(
    context: openmm.Context, graph: MolecularGraph, relaxed: Minimized, rank: int, index: int, call: Mapping[str, Any]
) -> tuple[Seed, openmm.State | None]:
    """A seed before its files are written, and its State after the run; none where it failed."""
    status = Status(relaxed.status[rank])
    failed = Seed(index, None, None, None, float(relaxed.energy[rank]), np.inf, np.nan, status)
    if status != Status.OK:
        return failed, None
    n_steps = round(call["run_ps"] / timestep_of(call))
    state, mean_temperature, status = _run(
        context, relaxed.positions[rank], call["temperature"], n_steps, _random_seeds(call["seed"], index)
    )
    if state is not None:
        status = Status(check_conformations(graph, _frame(state)[None])[0])
    if state is None or status != Status.OK:
        return dataclasses.replace(failed, mean_temperature=mean_temperature, status=status), None
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return dataclasses.replace(failed, final_energy=energy, mean_temperature=mean_temperature), state


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
        context.applyConstraints(_CONSTRAINT_TOLERANCE)
        context.setVelocitiesToTemperature(kelvin, random_seeds[1])
        for done in range(0, n_steps, _STEPS_PER_READING):
            integrator.step(min(_STEPS_PER_READING, n_steps - done))
            kinetic = context.getState(energy=True).getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
            readings.append(2 * kinetic / (degrees * GAS_CONSTANT))
        context.applyVelocityConstraints(_CONSTRAINT_TOLERANCE)  # those of a step belong to its start
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


def _frame(state: openmm.State) -> NDArray[np.float64]:
    return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


def _files(rank: int, state: openmm.State, graph: MolecularGraph, system: openmm.System) -> dict[str, tuple[str, str]]:
    """Names and texts of the files of a seed, by what they hold."""
    text = StringIO()
    app.PDBFile.writeFile(graph.to_topology(), _frame(state) * unit.nanometer, text, keepIds=True)
    stem = f"seed-{rank:02d}"
    return {
        "state": (f"{stem}-state.xml", openmm.XmlSerializer.serialize(state)),
        "system": (f"{stem}-system.xml", openmm.XmlSerializer.serialize(system)),
        "pdb": (f"{stem}.pdb", text.getvalue()),
    }


def _entry(rank: int, seed: Seed, stereoisomer: str) -> dict[str, Any]:
    """What the manifest says of a seed; energies in kJ/mol."""
    numbers = {name: getattr(seed, name) for name in ("minimized_energy", "final_energy", "mean_temperature")}
    finite = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
    return {"rank": rank, "conformation": seed.index, "stereoisomer": stereoisomer, "status": seed.status.name, **finite}


def _about(graph: MolecularGraph, call: Mapping[str, Any]) -> dict[str, Any]:
    """The head of the manifest."""
    timestep = timestep_of(call)
    return {
        "what": "starting points for molecular dynamics with OpenMM; energies in kJ/mol, temperatures in K, times in ps, masses in Da",
        "made_by": f"openmm_confgf {__version__}",
        "openmm": openmm.__version__,
        "name": graph.name,
        "smiles": graph.smiles,
        "timestep": timestep,
        "friction": FRICTION,
        "load": _LOAD.format(temperature=call["temperature"], friction=FRICTION, timestep=timestep).splitlines(),
    }
