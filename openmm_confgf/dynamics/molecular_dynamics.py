"""A System in motion: replicas on `BatchedEnergy` that yield frames of equilibrium."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..energies import BatchedEnergy
from ..errors import ConfGFError
from ..units import in_md_units
from .langevin import ReplicaLangevin, ReplicaState
from .settings import PRECISIONS, MDSettings


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
        self._type, force_type = PRECISIONS[settings.precision]
        energy = BatchedEnergy(system, device=device, dtype=force_type, compiled=settings.compiled, for_reweighting=True)
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
