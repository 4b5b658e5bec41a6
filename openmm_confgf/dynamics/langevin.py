"""Langevin dynamics of many replicas at once, with replica exchange along a ladder of temperatures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..units import GAS_CONSTANT

EnergyAndForces = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Energies (R,) in kJ/mol and forces (3, N, R) in kJ/mol/nm of positions (3, N, R) in nm."""

_NOISE, _VELOCITIES, _EXCHANGE = range(3)
"""What random numbers are for: with the seed and the step they decide the numbers, so that a resumed run draws the same ones."""


@dataclasses.dataclass(frozen=True)
class ReplicaState:
    """Where the replicas are.

    Attributes
    ----------
    step : int
        Steps done.
    positions, velocities : Tensor, (3, N, R)
        nm and nm/ps. Replica ``r`` is at temperature ``r % K`` of the ladder.
    attempts, accepted : ndarray of int64, (K - 1,)
        Exchanges tried and made between neighbouring temperatures.
    """

    step: int
    positions: Tensor
    velocities: Tensor
    attempts: NDArray[np.int64]
    accepted: NDArray[np.int64]


class ReplicaLangevin:
    """The LangevinMiddle integrator (Zhang et al. 2019, doi:10.1021/acs.jpca.9b02771), as OpenMM's, without constraints.

    Each step is a kick ``v += F dt / m``, half a drift ``x += v dt / 2``, friction and noise
    ``v <- a v + sqrt((1 - a^2) kT / m) R`` with ``a = exp(-friction dt)``, and half a drift.

    Every `exchange_interval` steps neighbours on the ladder exchange their conformations with the probability
    ``min(1, exp[(1/kT_i - 1/kT_j)(U_i - U_j)])``, even and odd neighbours in turn, and velocities are scaled by the square root of the
    ratio of temperatures (Sugita & Okamoto 1999, doi:10.1016/S0009-2614(99)01123-9).

    Parameters
    ----------
    energy_and_forces : callable
        From positions (3, N, R) in nm to energies (R,) in kJ/mol and forces (3, N, R) in kJ/mol/nm.
    masses : array_like, (N,)
        Dalton.
    temperatures : sequence of float, (K,)
        The ladder in K, in increasing order.
    timestep : float
        ps.
    friction : float
        1/ps.
    seed : int
    exchange_interval : int
        Steps.
    recentre : bool
        Whether to bring each replica back to the origin at exchanges, for energies that do not depend on where it is: the drift of hundreds
        of nanoseconds would cost precision.
    """

    def __init__(
        self,
        energy_and_forces: EnergyAndForces,
        masses: Any,
        temperatures: Sequence[float],
        *,
        timestep: float = 0.001,
        friction: float = 1.0,
        seed: int = 0,
        exchange_interval: int = 100,
        recentre: bool = True,
    ) -> None:
        self._energy_and_forces = energy_and_forces
        self.masses = np.asarray(masses, np.float64)
        self.temperatures = tuple(temperatures)
        self.timestep, self.friction, self.seed = timestep, friction, seed
        self.exchange_interval, self.recentre = exchange_interval, recentre

    def start(self, positions: Tensor) -> ReplicaState:
        """Replicas at rest get velocities of their temperatures.

        Parameters
        ----------
        positions : Tensor, (3, N, R)
            nm; replica ``r`` is at temperature ``r % K`` of the ladder. Its type and device are those of the motion.

        Returns
        -------
        ReplicaState
            At step 0.

        Raises
        ------
        ValueError
            If R is not a multiple of the number of temperatures.
        """
        count, ladder = positions.shape[-1], len(self.temperatures)
        if count % ladder:
            raise ValueError(f"{count} replicas cannot be shared out among {ladder} temperatures; give a multiple.")
        velocities = self._thermal(positions) * self._normal(positions, 0, _VELOCITIES)
        none = np.zeros(ladder - 1, np.int64)
        return ReplicaState(0, positions, velocities, none, none)

    def run(self, state: ReplicaState, steps: int) -> ReplicaState:
        """So many steps further. The same steps in several calls give the same positions, bit for bit.

        Parameters
        ----------
        state : ReplicaState
            It is not changed.
        steps : int

        Returns
        -------
        ReplicaState
        """
        positions, velocities = state.positions, state.velocities
        attempts, accepted = state.attempts.copy(), state.accepted.copy()
        masses = torch.as_tensor(self.masses).to(positions)[:, None]
        kept = float(np.exp(-self.friction * self.timestep))
        noise_scale = (1 - kept**2) ** 0.5 * self._thermal(positions)
        for step in range(state.step, state.step + steps):
            energy, forces = self._energy_and_forces(positions)
            if step and step % self.exchange_interval == 0:
                if self.recentre:
                    positions = positions - positions.mean(1, keepdim=True)
                order, scale = self._exchange(step, energy, attempts, accepted)
                positions, forces = positions[..., order], forces[..., order]
                velocities = velocities[..., order] * scale.to(velocities)
            velocities = velocities + self.timestep * forces.to(positions) / masses
            positions = positions + 0.5 * self.timestep * velocities
            velocities = kept * velocities + noise_scale * self._normal(positions, step, _NOISE)
            positions = positions + 0.5 * self.timestep * velocities
        return ReplicaState(state.step + steps, positions, velocities, attempts, accepted)

    def kinetic_temperature(self, state: ReplicaState) -> NDArray[np.float64]:
        """What the velocities of each replica say of its temperature, ``sum m v^2 / (3 N k)``: the equipartition theorem.

        Parameters
        ----------
        state : ReplicaState

        Returns
        -------
        ndarray of float64, (R,)
            K.
        """
        masses = torch.as_tensor(self.masses).to(state.velocities)[:, None]
        twice = (masses * state.velocities**2).sum((0, 1)).double().cpu().numpy()
        return np.asarray(twice / (3 * len(self.masses) * GAS_CONSTANT))

    def _thermal(self, like: Tensor) -> Tensor:
        """Standard deviation of each velocity component, (N, R)."""
        kT = GAS_CONSTANT * torch.tensor(self.temperatures, dtype=torch.float64).repeat(like.shape[-1] // len(self.temperatures))
        return torch.sqrt(kT / torch.as_tensor(self.masses)[:, None]).to(like)

    def _exchange(self, step: int, energy: Tensor, attempts: NDArray[np.int64], accepted: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Which replica each one takes over, (R,), and what to scale its velocities by; counts attempts and acceptances."""
        ladder = len(self.temperatures)
        potential = energy.double().cpu().numpy().reshape(-1, ladder)
        beta = 1 / (GAS_CONSTANT * np.array(self.temperatures))
        order = np.arange(potential.size).reshape(-1, ladder)
        lower = np.arange(step // self.exchange_interval % 2, ladder - 1, 2)
        gain = (beta[lower] - beta[lower + 1]) * (potential[:, lower] - potential[:, lower + 1])
        drawn = np.random.default_rng([self.seed, step, _EXCHANGE]).random(gain.shape)
        # a replica without a finite energy compares false and stays where it is
        swapped = np.isfinite(gain) & (np.log(drawn) < gain)
        attempts[lower] += len(gain)
        accepted[lower] += swapped.sum(0)
        copies, pairs = np.nonzero(swapped)
        i, j = lower[pairs], lower[pairs] + 1
        order[copies, i], order[copies, j] = order[copies, j].copy(), order[copies, i].copy()
        source = order % ladder
        scale = np.sqrt(np.array(self.temperatures) / np.array(self.temperatures)[source])
        return torch.from_numpy(order.ravel()).to(energy.device), torch.from_numpy(scale.ravel())

    def _normal(self, like: Tensor, step: int, purpose: int) -> Tensor:
        """Standard normal numbers that depend on the seed, the step and the purpose alone."""
        number = int(np.random.SeedSequence([self.seed, step, purpose]).generate_state(1, np.uint64)[0] >> 1)
        return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=torch.Generator(like.device).manual_seed(number))
