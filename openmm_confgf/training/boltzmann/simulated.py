"""Frames of a molecule to learn from: given, or by replica exchange for a share of the minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ...dynamics.settings import MDSettings
from ...energies import ForceFieldLike
from ...ensemble import Ensemble
from ...errors import ConfGFError
from ...molecules.graph import MolecularGraph
from ...simulation import simulate
from ...writing import write_whole

LADDER = 5
"""Temperatures of the simulation, up to twice that of the target."""

REPLICAS = 64

_SHARE_OF_TIME = 0.25
"""Of the minutes: what the simulation may take."""

_FIRST = 4.0
"""ps after which the simulation's speed is known."""


def frames_of(
    molecule: MolecularGraph | Ensemble,
    given: Ensemble | None,
    directory: Path,
    forcefield: ForceFieldLike,
    temperature: float,
    minutes: float,
    seed: int,
    device: str,
    say: Callable[[str], None],
) -> Ensemble:
    """The frames that are given; or those of a temperature ladder, as long as its share of the minutes allows.

    The length of a simulation is kept for when the run is resumed.

    Parameters
    ----------
    molecule : MolecularGraph or Ensemble
        An ensemble tells where to start.
    given : Ensemble or None
        Of equilibrium at this temperature.
    directory : Path
        Gets ``md.h5`` and ``simulation.json``.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`, without constraints.
    temperature : float
        K.
    minutes : float
        Of the training.
    seed : int
    device : str
        As in `simulate`.
    say : callable
        Called with a line on each stage.

    Returns
    -------
    Ensemble
        Of the lowest temperature.

    Raises
    ------
    ConfGFError
        If the given ones are of another molecule.
    """
    if given is not None:
        graph = molecule.graph if isinstance(molecule, Ensemble) else molecule
        if not given.graph.same_as(graph):
            raise ConfGFError(
                f"The frames are of {given.graph.name!r}, or in another order of atoms than {graph.name!r}; give frames of this."
            )
        return given
    path, plan = directory / "md.h5", directory / "simulation.json"
    ladder = tuple(temperature * 2 ** (k / (LADDER - 1)) for k in range(LADDER))
    settings = MDSettings(temperature=temperature, ladder=ladder, replicas=REPLICAS, frame_interval=0.2, precision="single")
    if not plan.exists():
        say("simulating")
        times: list[float] = []

        def frame_is_there(done: int, total: int) -> None:
            times.append(time.perf_counter())

        simulate(molecule, path, forcefield, length=_FIRST, settings=settings, seed=seed, device=device, progress=frame_is_there)
        # from frame to frame: compiling and equilibration come once
        seconds = (times[-1] - times[0]) / (len(times) - 1) / settings.frame_interval
        length = max(2 * _FIRST, round(60 * minutes * _SHARE_OF_TIME / seconds))
        write_whole(plan, json.dumps({"ps": length}))
    length = json.loads(plan.read_text())["ps"]
    say(f"simulating {REPLICAS} replicas for {length:g} ps at {temperature:g} to {ladder[-1]:g} K")
    return simulate(molecule, path, forcefield, length=length, settings=settings, seed=seed, device=device)
