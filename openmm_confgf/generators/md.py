"""Equilibrium conformations by molecular dynamics: many replicas at once on `BatchedEnergy`, on a ladder of temperatures if wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..checks import check_conformations
from ..energies import BatchedEnergy, ContextEnergy, ForceFieldLike, minimize, system_source
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, GenerationError
from ..molecule import MolecularGraph
from ..stereoisomers import check_one_diastereomer, stereo_settings
from ..units import in_md_units
from ._base import Generator, check_request
from .etkdg import embed_etkdg
from .langevin import ReplicaLangevin, ReplicaState

MAX_STARTS = 32
"""Conformations that are embedded and minimised to start from; more replicas than that share them."""

_PRECISIONS = {"single": (torch.float32, torch.float32), "mixed": (torch.float64, torch.float32), "double": (torch.float64, torch.float64)}
"""Types of the replicas' positions, and of their forces, under OpenMM's names."""


@dataclasses.dataclass(frozen=True)
class MDSettings:
    """What decides a simulation besides the molecule, its force field and the seed. Numbers may be Quantities.

    Attributes
    ----------
    temperature : float
        K; frames are of this temperature.
    ladder : tuple of float
        Temperatures of replica exchange in K, in increasing order, the first of them `temperature`; by default that alone. Each replica
        is then one such ladder.
    replicas : int
    timestep : float
        ps. Nothing is constrained: hydrogens allow 1 fs, or 2 fs with their masses tripled.
    friction : float
        1/ps.
    frame_interval : float
        ps between frames.
    equilibration : float
        ps before the first frame.
    exchange_interval : float
        ps between attempts of exchange.
    precision : str
        ``"single"``, ``"mixed"`` (forces in single precision, motion in double) or ``"double"``, as OpenMM names them.
    compiled : bool
        As in `BatchedEnergy`.

    Raises
    ------
    ConfGFError
        If a number is out of range.
    """

    temperature: float = 300.0
    ladder: tuple[float, ...] = ()
    replicas: int = 16
    timestep: float = 0.001
    friction: float = 1.0
    frame_interval: float = 1.0
    equilibration: float = 20.0
    exchange_interval: float = 0.1
    precision: Literal["single", "mixed", "double"] = "mixed"
    compiled: bool = True

    def __post_init__(self) -> None:
        for name in ("temperature", "timestep", "friction", "frame_interval", "equilibration", "exchange_interval"):
            object.__setattr__(self, name, float(in_md_units(getattr(self, name))))
        object.__setattr__(self, "ladder", tuple(float(t) for t in in_md_units(list(self.ladder))) or (self.temperature,))
        lengths = (*self.ladder, self.temperature, self.timestep, self.friction, self.frame_interval, self.exchange_interval)
        if not all(0 < value < math.inf for value in lengths) or not 0 <= self.equilibration < math.inf:
            raise ConfGFError("Temperatures, timestep, friction and intervals of a simulation must be finite and above 0.")
        if self.ladder[0] != self.temperature or any(low >= high for low, high in zip(self.ladder, self.ladder[1:], strict=False)):
            raise ConfGFError(
                f"The ladder {self.ladder} does not rise from {self.temperature:g} K; begin it with the temperature of the frames."
            )
        if self.replicas < 1:
            raise ConfGFError(f"{self.replicas} replicas were asked for; ask for at least 1.")
        if self.precision not in _PRECISIONS:
            raise ConfGFError(f"The precision {self.precision!r} is unknown; give {', '.join(_PRECISIONS)}.")
        if self.steps(self.frame_interval) < 1 or self.steps(self.exchange_interval) < 1:
            raise ConfGFError(f"An interval is shorter than the timestep of {self.timestep:g} ps; make it longer.")
        self.steps(self.equilibration)

    def steps(self, length: float) -> int:
        """How many steps a time in ps takes.

        Raises
        ------
        ConfGFError
            If it takes no whole number of them.
        """
        steps = round(length / self.timestep)
        if steps and not math.isclose(steps * self.timestep, length, rel_tol=1e-6):
            raise ConfGFError(f"{length:g} ps are no whole number of timesteps of {self.timestep:g} ps; give a multiple.")
        return steps

    def told(self) -> dict[str, Any]:
        """All of it, for `Provenance.settings`."""
        return dataclasses.asdict(self) | {"ladder": list(self.ladder)}


class MolecularDynamics:
    """A simulation of one System that yields frames of equilibrium at one temperature.

    Parameters
    ----------
    system : openmm.System
        Without constraints, of the forces that `BatchedEnergy` takes.
    settings : MDSettings
    seed : int
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    UnsupportedForceError
        If the System cannot be taken.
    ConfGFError
        If a particle has no mass.
    """

    def __init__(self, system: Any, settings: MDSettings, seed: int = 0, device: str = "auto") -> None:
        self.settings = settings
        self._type, force_type = _PRECISIONS[settings.precision]
        energy = BatchedEnergy(system, device=device, dtype=force_type, compiled=settings.compiled, for_weights=True)
        self.device, potential = energy.device, energy.potential
        masses = [in_md_units(system.getParticleMass(k)) for k in range(system.getNumParticles())]
        if not all(mass > 0 for mass in masses):
            raise ConfGFError("The System has particles without mass, which this integrator would move; give all of them a mass.")

        def energy_and_forces(positions: Tensor) -> tuple[Tensor, Tensor]:
            energies, forces = potential.evaluate(positions.to(force_type), True)
            assert forces is not None
            return energies[0], forces

        self.integrator = ReplicaLangevin(
            energy_and_forces,
            masses,
            settings.ladder,
            timestep=settings.timestep,
            friction=settings.friction,
            seed=seed,
            exchange_interval=settings.steps(settings.exchange_interval),
            recentre=potential.translation_invariant,
        )

    def start(self, positions: NDArray[np.float64]) -> ReplicaState:
        """Replicas on these conformations (S, N, 3), in turn, with velocities of their temperatures; then equilibrated.

        They should be near minima: a clash throws its replica apart.
        """
        ladder = len(self.settings.ladder)
        chosen = np.repeat(np.arange(self.settings.replicas) % len(positions), ladder)
        state = self.integrator.start(self._tensor(positions[chosen].transpose(2, 1, 0)))
        return self.integrator.run(state, self.settings.steps(self.settings.equilibration))

    def next_frames(self, state: ReplicaState) -> tuple[ReplicaState, NDArray[np.float64]]:
        """The state one frame interval later, and its frames at the target temperature, (replicas, N, 3) in nm."""
        state = self.integrator.run(state, self.settings.steps(self.settings.frame_interval))
        frames = state.positions[..., :: len(self.settings.ladder)].permute(2, 1, 0).double().cpu().numpy()
        return state, frames - frames.mean(1, keepdims=True) if self.integrator.recentre else frames

    def restore(self, step: Any, positions: Any, velocities: Any, attempts: Any, accepted: Any) -> ReplicaState:
        """A state from the arrays of an earlier one."""
        return ReplicaState(int(step), self._tensor(positions), self._tensor(velocities), np.array(attempts), np.array(accepted))

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.device, self._type)


class MDGenerator(Generator):
    """Frames of replicas that start from minimised ETKDG conformations (``"md"``).

    The frames of one replica are correlated, and replicas that do not cross a barrier keep the populations of their starts:
    ``Provenance.settings`` holds `r_hat` of the energy, which must be close to 1, and the acceptance of exchanges.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`.
    settings : MDSettings, optional

    Raises
    ------
    WrongTypeError, ForceFieldError
        As in `system_source`.
    """

    name = "md"

    def __init__(self, forcefield: ForceFieldLike = "openff-2.2.1", settings: MDSettings | None = None) -> None:
        self.source = system_source(forcefield)
        self.settings = settings or MDSettings()

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`, in the order of the molecules. Frame t of replica r is sample ``t * replicas + r``."""
        return self._sample_each(molecules, check_request(molecules, n, seed), seed, device)

    def _sample_each(
        self, molecules: Sequence[MolecularGraph], counts: list[int], seed: int, device: str
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                system = self.source.build(graph)
                dynamics = MolecularDynamics(system, self.settings, seed, device)
                state = dynamics.start(minimised_starts(graph, system, self.settings.replicas, seed))
                rounds = []
                for _ in range(math.ceil(count / self.settings.replicas)):
                    state, frames = dynamics.next_frames(state)
                    rounds.append(frames)
                frames = np.concatenate(rounds)
                energy = BatchedEnergy(system, device=device).evaluate(frames).energy
                told = self.settings.told() | self.source.told(system)
                yield index, md_ensemble(graph, frames, energy, seed, told, state).select(np.arange(count))
            except ConfGFError as error:
                yield index, error


def minimised_starts(graph: MolecularGraph, system: Any, replicas: int, seed: int) -> NDArray[np.float64]:
    """Up to `MAX_STARTS` ETKDG conformations, each at its nearest minimum, (S, N, 3) in nm.

    Raises
    ------
    GenerationError
        If there is none.
    """
    return minimised(embed_etkdg(graph, min(replicas, MAX_STARTS), seed), system)


def minimised(ensemble: Ensemble, system: Any) -> NDArray[np.float64]:
    """The usable conformations of an ensemble, minimised, (S, N, 3) in nm; those that cannot be evaluated are left out.

    Raises
    ------
    MoleculeError
        If they are of several diastereomers: frames of different compounds are no equilibrium.
    GenerationError
        If none is left.
    """
    check_one_diastereomer(ensemble.graph, ensemble.positions[ensemble.ok], "a simulation")
    with ContextEnergy(system) as context:
        relaxed = minimize(context, ensemble.positions[ensemble.ok])
    found = relaxed.positions[np.isfinite(relaxed.energy)]
    if not len(found):
        raise GenerationError(f"{ensemble.graph.name!r} has no conformation that a simulation can start from; give other ones.")
    return found


def md_ensemble(
    graph: MolecularGraph, frames: NDArray[np.float64], energy: NDArray[np.float64], seed: int, told: dict[str, Any], state: ReplicaState
) -> Ensemble:
    """Frames (T * replicas, N, 3), time by time, with their statuses, and diagnostics beside the settings.

    Parameters
    ----------
    graph : MolecularGraph
    frames : ndarray, (T * replicas, N, 3)
        nm.
    energy : ndarray, (T * replicas,)
        kJ/mol.
    seed : int
    told : dict
        `MDSettings.told` and `SystemSource.told`.
    state : ReplicaState
        At the end.
    """
    diagnostics = {
        "picoseconds": round(state.step * told["timestep"], 9),
        "exchange_acceptance": [float(rate) for rate in state.accepted / np.maximum(state.attempts, 1)],
        "r_hat_energy": r_hat(energy.reshape(-1, told["replicas"]).T),
    }
    provenance = Provenance("md", __version__, seed, settings=told | diagnostics | stereo_settings(graph))
    return Ensemble(graph, frames, provenance, check_conformations(graph, frames), energy)


def r_hat(chains: NDArray[np.float64]) -> float:
    """Split R-hat of chains (C, T): 1 where the halves of all chains agree in their mean, above 1.01 where they do not yet.

    ``sqrt([(n - 1) / n W + B / n] / W)`` of the variances within and between half chains of length n (Gelman et al. 2013, section 11.4).
    NaN for fewer than four frames each.
    """
    half = chains.shape[1] // 2
    if half < 2:
        return math.nan
    halves = np.concatenate([chains[:, :half], chains[:, -half:]])
    within = halves.var(1, ddof=1).mean()
    between = half * halves.mean(1).var(ddof=1)
    return float(np.sqrt(((half - 1) / half * within + between / half) / within))
