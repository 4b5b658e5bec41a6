"""GeneratorMove: Monte Carlo moves of a running Simulation to fresh samples of a generator with an exact density."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..devices import Device
from ..energies import BatchedEnergy, ContextEnergy, Energy
from ..energies.batched.read_system import refuse_constraints, system_hash
from ..energies.systems.match import check_particles
from ..ensemble import Ensemble, Target
from ..errors import ConfGFError, UnsupportedForceError
from ..generators.base import Generator
from ..generators.density import DensityGenerator
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..units import kT
from .thermostat import wanted_temperature


class GeneratorMove:
    """Independence Metropolis-Hastings: the molecule jumps to a sample of a generator, with the probability that keeps the target exact.

    A proposal x' is drawn from the density q whatever x is, and accepted with ``min(1, exp(u(x) - u(x') + log q(x) - log q(x')))``
    (Hastings 1970, doi:10.1093/biomet/57.1.97), u being the energy in kT. The centre of the molecule stays where it is, which leaves the
    target unchanged given the centre; velocities of an accepted sample are drawn anew from Maxwell's distribution. A generator that is far
    from the target is seldom accepted, and never wrong. Proposals come from a pool that is drawn and evaluated in one batch.

    Parameters
    ----------
    simulation : openmm.app.Simulation
        Of the molecule alone, without box, constraints and virtual sites.
    generator : Generator
        A `DensityGenerator`: ``"boltzmann"``, ``"tbg"``, `HarmonicGenerator` or one of your own.
    molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule or MolecularGraph, optional
        In the atom order of the System. Default: what the Simulation's Topology tells.
    temperature : float or Quantity, optional
        K. Default: that of the integrator.
    pool : int
        Samples that are drawn at once.
    seed : int
    device : str, int or torch.device
        Of the generator.

    Attributes
    ----------
    attempted, accepted : int

    Raises
    ------
    ConfGFError
        If the generator has no density, or no temperature is known.
    UnsupportedForceError
        If the System is periodic, or has constraints.
    ForceFieldError
        If its particles are not the molecule's atoms, in its order.
    """

    def __init__(
        self,
        simulation: app.Simulation,
        generator: Generator,
        molecule: MoleculeLike | None = None,
        *,
        temperature: Any = None,
        pool: int = 1000,
        seed: int = 0,
        device: Device = "auto",
    ) -> None:
        system = simulation.system
        self.generator = check_density(generator)
        self.graph = as_graph(simulation.topology if molecule is None else molecule)
        check_moved_system(system, self.graph)
        self.temperature = wanted_temperature(simulation, temperature)
        self.simulation, self.device = simulation, device
        self.attempted = self.accepted = 0
        self._size, self._seed, self._refills = pool, seed, 0
        self._rng = np.random.default_rng([seed, 1])
        self._energy = _energy_of(system)
        self._pool: list[tuple[NDArray[np.float64], float]] = []
        self._current: tuple[NDArray[np.float64], float] | None = None

    @property
    def acceptance(self) -> float:
        """The share of the moves that were accepted; NaN before the first."""
        return self.accepted / self.attempted if self.attempted else math.nan

    def apply(self) -> bool:
        """Attempt one move of the Simulation.

        Returns
        -------
        bool
            Whether it was accepted; positions and velocities are then new, and nothing changes otherwise.
        """
        context = self.simulation.context
        positions = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        before = self._log_weight(positions)
        frame, after = self._proposal()
        self.attempted += 1
        if not math.log(self._rng.random()) < after - before:
            return False
        proposed = frame - frame.mean(axis=0) + positions.mean(axis=0)
        context.setPositions(proposed * unit.nanometer)
        context.setVelocitiesToTemperature(self.temperature * unit.kelvin, int(self._rng.integers(1, 2**31 - 1)))
        # as the Context gives them back, so that a move after no MD knows them
        kept = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        self._current = kept, after
        self.accepted += 1
        return True

    def _log_weight(self, positions: NDArray[np.float64]) -> float:
        """``-u - log q`` of where the Simulation is; what q has no density for is left at once."""
        if self._current is not None and np.array_equal(self._current[0], positions):
            return self._current[1]
        reduced = self._energy.evaluate(positions).energy[0] / kT(self.temperature)
        log_q = self.generator.log_prob(self.graph, positions, device=self.device)[0]
        found = float(-reduced - log_q)
        self._current = positions, found
        return found

    def _proposal(self) -> tuple[NDArray[np.float64], float]:
        """A sample that was not proposed yet, and its ``-u - log q``: -inf, so that it is never accepted, where there is no density, or
        another stereoisomer.
        """
        if not self._pool:
            drawn = self._drawn()
            assert drawn.log_q is not None
            reduced = self._energy.evaluate(drawn.positions).energy / kT(self.temperature)
            possible = np.isfinite(drawn.log_q) & (drawn.status != Status.WRONG_STEREO)
            log_w = np.where(possible, -reduced - drawn.log_q, -np.inf)
            self._pool = list(zip(drawn.positions, log_w.tolist(), strict=True))
        return self._pool.pop()

    def _drawn(self) -> Ensemble:
        drawn = self.generator.sample(self.graph, self._size, seed=self._seed + self._refills, device=self.device)
        if not self._refills:
            self._warn_of_target(drawn.target)
        self._refills += 1
        return drawn

    def _warn_of_target(self, target: Target | None) -> None:
        if target is None or target.system_sha256 is None:
            return
        other = [] if target.system_sha256 == system_hash(self.simulation.system) else ["System"]
        if target.temperature is not None and not math.isclose(target.temperature, self.temperature, rel_tol=1e-6):
            other.append("temperature")
        if other:
            warnings.warn(
                f"The generator samples another {' and '.join(other)} than the Simulation; averages stay right, the acceptance tells.",
                stacklevel=5,
            )


@dataclasses.dataclass(frozen=True, eq=False)
class MixedRun:
    """Molecular dynamics with Monte Carlo moves between.

    Attributes
    ----------
    positions : ndarray of float64, (F, N, 3)
        nm, after each cycle.
    accepted : ndarray of bool, (F,)
        Whether the move of the cycle was.
    graph : MolecularGraph
    force_evaluations : int
        Steps of MD, and energies of the moves.
    """

    positions: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    graph: MolecularGraph
    force_evaluations: int

    def round_trips(self, basin: NDArray[np.int64], first: int = 0, second: int = 1) -> int:
        """How often the run goes from one basin to another and back.

        Parameters
        ----------
        basin : ndarray of int64, (F,)
            Of each frame; frames in other basins than the two do not count.
        first, second : int

        Examples
        --------
        >>> run = MixedRun(np.zeros((6, 1, 3)), np.ones(6, bool), None, 0)
        >>> run.round_trips(np.array([0, 1, 2, 0, 1, 0]))
        2
        """
        visited = [int(b) for b in basin if b in (first, second)]
        changes = sum(a != b for a, b in itertools.pairwise(visited))
        return changes // 2


def run_with_moves(move: GeneratorMove, cycles: int, steps: int = 500) -> MixedRun:
    """Alternate molecular dynamics and moves; the Simulation's reporters report as ever.

    Parameters
    ----------
    move : GeneratorMove
    cycles : int
        F, each of `steps` of MD and then a move.
    steps : int
        0 for moves alone.

    Returns
    -------
    MixedRun

    Raises
    ------
    ConfGFError
        If there is no cycle.
    """
    if cycles < 1 or steps < 0:
        raise ConfGFError(f"{cycles} cycles of {steps} steps are no run; give at least 1 cycle.")
    frames, accepted = np.empty((cycles, len(move.graph), 3)), np.empty(cycles, bool)
    for k in range(cycles):
        if steps:
            move.simulation.step(steps)
        accepted[k] = move.apply()
        state = move.simulation.context.getState(getPositions=True)
        frames[k] = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return MixedRun(frames, accepted, move.graph, cycles * (steps + 2))


def check_density(generator: Generator) -> DensityGenerator:
    """The generator, once it is known to have a density.

    Parameters
    ----------
    generator : Generator

    Raises
    ------
    ConfGFError
        If it has none.
    """
    if not isinstance(generator, DensityGenerator):
        raise ConfGFError(
            f"The generator {generator.name!r} has no density, which a move is accepted by; use boltzmann, tbg, or another "
            "DensityGenerator."
        )
    return generator


def check_moved_system(system: openmm.System, graph: MolecularGraph) -> None:
    """Make sure that a System is one whose molecule can be moved as a whole.

    Parameters
    ----------
    system : openmm.System
    graph : MolecularGraph

    Raises
    ------
    UnsupportedForceError
        If it is periodic, or has constraints.
    ForceFieldError
        If its particles are not the molecule's atoms, in its order.
    """
    if system.usesPeriodicBoundaryConditions():
        raise UnsupportedForceError("The System is periodic; moves of a whole molecule take it alone, without a box and solvent.")
    refuse_constraints(system)
    check_particles(system, graph, "The System")


def _energy_of(system: openmm.System) -> Energy:
    """In batches where that is possible; the same for where the Simulation is and for what is proposed."""
    try:
        return BatchedEnergy(system)
    except UnsupportedForceError:
        return ContextEnergy(system)
