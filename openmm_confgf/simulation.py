"""Simulations that are written as they go and can be taken up again: frames of equilibrium for training and for reference."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .devices import Device, device_name
from .dynamics.langevin import ReplicaState
from .dynamics.molecular_dynamics import MolecularDynamics
from .dynamics.settings import MDSettings
from .energies import BatchedEnergy, ForceFieldLike
from .energies.systems.source import system_source
from .ensemble import Ensemble, Target
from .errors import ConfGFError, FileFormatError, GenerationError
from .files import check_writable, read_run, write_run
from .generators.md import md_ensemble, minimised, minimised_starts
from .molecule_like import MoleculeLike, as_graph
from .molecules.graph import MolecularGraph
from .units import in_md_units

SAVE_EVERY = 120.0
"""Seconds between two times that the file is written."""


def simulate(
    molecule: MoleculeLike | Ensemble,
    path: str | Path,
    forcefield: ForceFieldLike = "openff-2.2.1",
    *,
    length: Any = 1000.0,
    settings: MDSettings | None = None,
    seed: int = 0,
    device: Device = "auto",
    save_every: float = SAVE_EVERY,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    """Run molecular dynamics of many replicas, or take up a run where its file left it.

    The file holds the frames so far and the state that the run goes on from. The same call goes on after an interruption, and with a larger
    `length` after the end; on the CPU of one machine the frames are those of one run without a pause, bit for bit.

    Parameters
    ----------
    molecule : Ensemble, MolecularGraph, or what else `as_graph` takes
        A molecule starts from minimised ETKDG conformations, an ensemble from its own usable ones, minimised. A run that goes on takes its
        atoms from the file.
    path : str or Path
        An .h5 file, which MDTraj loads.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`: a name as in `create_system`, a System of your own ...
    length : float or Quantity
        Of each replica after equilibration, in ps.
    settings : MDSettings, optional
    seed : int
    device : str, int or torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` or 1 for the second CUDA device.
    save_every : float
        Seconds between two times that the file is written; it is written at the end, and after Ctrl-C, too.
    progress : callable of (frames of each replica so far, in all), optional

    Returns
    -------
    Ensemble
        Frame t of replica r is sample ``t * replicas + r``. Energies are in kJ/mol, in double precision. A frame whose status is not OK is
        one of equilibrium as well, and has its energy: averages take all that are finite.

    Raises
    ------
    FileFormatError
        If the file cannot be written, or holds something else or a run with other settings.
    WrongTypeError, ForceFieldError, UnsupportedForceError
        As in `as_graph`, `system_source` and `BatchedEnergy`.
    MoleculeError
        If the conformations that it starts from are of several diastereomers.
    GenerationError
        If there is no conformation to start from, or all replicas explode.
    ConfGFError
        If the length is not positive, or the seed is negative.
    """
    path, settings, length = Path(path), settings or MDSettings(), float(in_md_units(length))
    if not 0 < length < np.inf or seed < 0:
        raise ConfGFError(f"A simulation of {length:g} ps with seed {seed} cannot be run; give a positive length and a seed of at least 0.")
    wanted = round(length / settings.frame_interval)
    if not wanted:
        raise ConfGFError(f"The simulation of {length:g} ps is shorter than the interval between its frames; make it longer.")
    if check_writable(path) != ".h5":
        raise FileFormatError(f"{path} cannot hold a simulation; give a file that ends in .h5.")
    device = device_name(device)
    graph = molecule.graph if isinstance(molecule, Ensemble) else as_graph(molecule)
    source = system_source(forcefield)
    system = source.build(graph)
    used = settings.as_settings() | {"charges": source.charges}
    target = source.target(system, settings.temperature)
    before = _read(path, graph, used, target, seed) if path.exists() else None
    dynamics = MolecularDynamics(system, settings, seed, device)
    energy = BatchedEnergy(system, device=device)
    if before is not None:
        run = _Run(graph, path, used, target, seed, (dynamics.restore(**before.state), 1), [before.positions], [before.energies])
    elif isinstance(molecule, Ensemble):
        run = _Run(graph, path, used, target, seed, (dynamics.start(minimised(molecule, system)), 0))
    else:
        run = _Run(graph, path, used, target, seed, (dynamics.start(minimised_starts(graph, system, settings.replicas, seed)), 0))
    begun, pause, saved = run.frames, save_every, time.monotonic()
    try:
        for done in range(begun, wanted):
            state, frames = dynamics.next_frames(run.state)
            # of one round at a time, so that a run in several parts has the same ones to the last bit
            run.add(state, frames, energy.evaluate(frames).energy)
            if progress is not None:
                progress(done + 1, wanted)
            if time.monotonic() - saved > pause:
                started = time.monotonic()
                run.save()
                saved = time.monotonic()
                # everything is written each time: take a twentieth of the time at most
                pause = max(save_every, 20 * (saved - started))
    finally:
        if run.frames > begun:
            run.save()
    return run.ensemble()


@dataclasses.dataclass
class _Run:
    """Rounds of frames so far with their energies, and how far it got: the state after so many rounds, set in one step.

    What an interruption left behind a round that was not finished is not part of the run.
    """

    graph: MolecularGraph
    path: Path
    used: dict[str, Any]
    target: Target
    seed: int
    progress: tuple[ReplicaState, int]
    _positions: list[NDArray[np.float64]] = dataclasses.field(default_factory=list)
    _energies: list[NDArray[np.float64]] = dataclasses.field(default_factory=list)

    @property
    def state(self) -> ReplicaState:
        """Where the replicas are."""
        return self.progress[0]

    @property
    def frames(self) -> int:
        """Of each replica."""
        return sum(map(len, self._positions[: self.progress[1]])) // int(self.used["replicas"])

    def add(self, state: ReplicaState, positions: NDArray[np.float64], energies: NDArray[np.float64]) -> None:
        """One more round.

        Raises
        ------
        GenerationError
            If no replica is left.
        """
        if not np.isfinite(energies).any():
            raise GenerationError("All replicas of the simulation exploded; shorten the timestep, or start from other conformations.")
        rounds = self.progress[1]
        self._positions[rounds:], self._energies[rounds:] = [positions], [energies]
        self.progress = state, rounds + 1

    def ensemble(self) -> Ensemble:
        """All frames, with their energies."""
        positions, energies = np.concatenate(self._positions[: self.progress[1]]), np.concatenate(self._energies[: self.progress[1]])
        return md_ensemble(self.graph, positions, energies, self.seed, self.used, self.target, self.state)

    def save(self) -> None:
        """Write everything."""
        arrays = {field.name: getattr(self.state, field.name) for field in dataclasses.fields(self.state)}
        arrays |= {name: arrays[name].cpu().numpy() for name in ("positions", "velocities")}
        write_run(self.ensemble(), arrays, self.path)


@dataclasses.dataclass(frozen=True)
class _Earlier:
    """What the file of an earlier run holds."""

    positions: NDArray[np.float64]
    energies: NDArray[np.float64]
    state: dict[str, Any]


def _read(path: Path, graph: MolecularGraph, used: dict[str, Any], target: Target, seed: int) -> _Earlier:
    """The frames and the state of an earlier run, once it is known to be one of the same."""
    ensemble, state = read_run(path)
    # earlier versions kept the energies of all frames there, since their ensembles had them of usable ones only
    energies = state.pop("energies", ensemble.energy)
    if energies is None or set(state) != {field.name for field in dataclasses.fields(ReplicaState)}:
        raise FileFormatError(f"{path} holds no simulation that could go on; name another output file.")
    if not ensemble.graph.same_as(graph):
        raise FileFormatError(f"{path} holds a simulation of {ensemble.graph.name!r} or of another atom order; name another output file.")
    # where charges come from decides nothing that the System's checksum does not, and earlier versions did not tell it
    before = ensemble.provenance.settings | {"seed": ensemble.provenance.seed, "charges": used["charges"]}
    before |= dataclasses.asdict(ensemble.target or Target())
    wanted = used | {"seed": seed} | dataclasses.asdict(target)
    if other := sorted(name for name, value in wanted.items() if before.get(name) != value):
        given = ", ".join(f"{name} {before.get(name)}" for name in other)
        raise FileFormatError(f"{path} holds a run with {given}; give the same settings to go on with it, or name another output file.")
    return _Earlier(ensemble.positions, energies, state)
