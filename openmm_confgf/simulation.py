"""Simulations that are written as they go and can be taken up again: frames of equilibrium for training and for reference."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .energies import BatchedEnergy, SystemBuilder
from .ensemble import Ensemble
from .errors import ConfGFError, FileFormatError
from .files import check_writable, read_run, write_run
from .generators.langevin import ReplicaState
from .generators.md import MDSettings, MolecularDynamics, md_ensemble, minimised, minimised_starts
from .molecule import MolecularGraph
from .units import in_md_units

SAVE_EVERY = 120.0
"""Seconds between two times that the file is written."""


def simulate(
    molecule: MolecularGraph | Ensemble,
    path: str | Path,
    forcefield: str | SystemBuilder = "openff-2.2.1",
    *,
    length: Any = 1000.0,
    settings: MDSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    save_every: float = SAVE_EVERY,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    """Run molecular dynamics of many replicas, or take up a run where its file left it.

    The file holds the frames so far and the state that the run goes on from. The same call goes on after an interruption, and with a larger
    `length` after the end; on the same machine the frames are those of one run without a pause, bit for bit.

    Parameters
    ----------
    molecule : MolecularGraph or Ensemble
        A molecule starts from minimised ETKDG conformations, an ensemble from its own usable ones, minimised.
    path : str or Path
        An .h5 file, which MDTraj loads.
    forcefield : str or SystemBuilder
        As in `create_system`.
    length : float or Quantity
        Of each replica after equilibration, in ps.
    settings : MDSettings, optional
    seed : int
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    save_every : float
        Seconds between two times that the file is written; it is written at the end, and after Ctrl-C, too.
    progress : callable of (frames of each replica so far, in all), optional

    Returns
    -------
    Ensemble
        Frame t of replica r is sample ``t * replicas + r``. Energies are in kJ/mol, in double precision.

    Raises
    ------
    FileFormatError
        If the file cannot be written, or holds something else or a run with other settings.
    ForceFieldError, UnsupportedForceError
        As in `SystemBuilder` and `BatchedEnergy`.
    GenerationError
        If there is no conformation to start from.
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
    graph = molecule.graph if isinstance(molecule, Ensemble) else molecule
    builder = SystemBuilder(forcefield) if isinstance(forcefield, str) else forcefield
    told = settings.told(builder.forcefield)
    before = _read(path, graph, told, seed) if path.exists() else None
    system = builder.build(graph)
    dynamics = MolecularDynamics(system, settings, seed, device)
    energy = BatchedEnergy(system, device=device)
    if before is not None:
        ensemble, arrays = before
        run = _Run(graph, path, told, seed, dynamics.restore(**arrays), [ensemble.positions], [np.asarray(ensemble.energy)])
    elif isinstance(molecule, Ensemble):
        run = _Run(graph, path, told, seed, dynamics.start(minimised(molecule, system)))
    else:
        run = _Run(graph, path, told, seed, dynamics.start(minimised_starts(graph, system, settings.replicas, seed)))
    begun, saved = run.frames, time.monotonic()
    try:
        for done in range(begun, wanted):
            run.state, frames = dynamics.next_frames(run.state)
            run.positions.append(frames)
            # of one round at a time, so that a run in several parts has the same ones to the last bit
            run.energies.append(energy.evaluate(frames).energy)
            if progress is not None:
                progress(done + 1, wanted)
            if time.monotonic() - saved > save_every:
                run.save()
                saved = time.monotonic()
    finally:
        if run.frames > begun:
            run.save()
    return run.ensemble()


@dataclasses.dataclass
class _Run:
    """Frames so far with their energies, and the state that the run goes on from."""

    graph: MolecularGraph
    path: Path
    told: dict[str, Any]
    seed: int
    state: ReplicaState
    positions: list[NDArray[np.float64]] = dataclasses.field(default_factory=list)
    energies: list[NDArray[np.float64]] = dataclasses.field(default_factory=list)

    @property
    def frames(self) -> int:
        """Of each replica."""
        return sum(map(len, self.positions)) // int(self.told["replicas"])

    def ensemble(self) -> Ensemble:
        """All frames, with their energies."""
        return md_ensemble(self.graph, np.concatenate(self.positions), np.concatenate(self.energies), self.seed, self.told, self.state)

    def save(self) -> None:
        """Write everything."""
        arrays = {field.name: getattr(self.state, field.name) for field in dataclasses.fields(self.state)}
        arrays |= {name: arrays[name].cpu().numpy() for name in ("positions", "velocities")}
        write_run(self.ensemble(), arrays, self.path)


def _read(path: Path, graph: MolecularGraph, told: dict[str, Any], seed: int) -> tuple[Ensemble, dict[str, Any]]:
    """The frames and the state of an earlier run, once it is known to be one of the same."""
    ensemble, state = read_run(path)

    if ensemble.graph.smiles != graph.smiles or [a.GetAtomicNum() for a in ensemble.graph.mol.GetAtoms()] != graph.numbers.tolist():
        raise FileFormatError(f"{path} holds a simulation of {ensemble.graph.name!r}; name another output file.")
    before = ensemble.provenance.settings | {"seed": ensemble.provenance.seed}
    if other := sorted(name for name, value in (told | {"seed": seed}).items() if before.get(name) != value):
        given = ", ".join(f"{name} {before.get(name)}" for name in other)
        raise FileFormatError(f"{path} holds a run with {given}; give the same settings to go on with it, or name another output file.")
    return ensemble, state
