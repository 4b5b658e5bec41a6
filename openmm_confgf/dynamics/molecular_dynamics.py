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
        """Replicas on these conformations, in turn, with velocities of their temperatures; then equilibrated.

        Parameters
        ----------
        positions : ndarray of float64, (S, N, 3)
            nm. They should be near minima: a clash throws its replica apart.

        Returns
        -------
        ReplicaState
            Each replica of the settings is one ladder of replicas here, all of them on the same conformation.
        """
        ladder = len(self.settings.ladder)
        chosen = np.repeat(np.arange(self.settings.replicas) % len(positions), ladder)
        state = self.integrator.start(self._tensor(positions[chosen].transpose(2, 1, 0)))
        return self.integrator.run(state, self.settings.steps(self.settings.equilibration))

    def next_frames(self, state: ReplicaState) -> tuple[ReplicaState, NDArray[np.float64]]:
        """One frame interval further.

        Parameters
        ----------
        state : ReplicaState
            It is not changed.

        Returns
        -------
        state : ReplicaState
        frames : ndarray of float64, (replicas, N, 3)
            nm, of the replicas at the target temperature; about the origin where the energy does not depend on where they are.
        """
        state = self.integrator.run(state, self.settings.steps(self.settings.frame_interval))
        frames = state.positions[..., :: len(self.settings.ladder)].permute(2, 1, 0).double().cpu().numpy()
        return state, frames - frames.mean(1, keepdims=True) if self.integrator.recentre else frames

    def restore(self, step: Any, positions: Any, velocities: Any, attempts: Any, accepted: Any) -> ReplicaState:
        """A state from the arrays of an earlier one.

        Parameters
        ----------
        step : int
        positions, velocities : array_like, (3, N, R)
            nm and nm/ps.
        attempts, accepted : array_like of int, (K - 1,)
            As in `ReplicaState`.

        Returns
        -------
        ReplicaState
            On this device, in the type of the settings' precision.
        """
        return ReplicaState(int(step), self._tensor(positions), self._tensor(velocities), np.array(attempts), np.array(accepted))

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.device, self._type)
