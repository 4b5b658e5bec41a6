"""Short Langevin-like moves that keep the Boltzmann distribution exactly: hybrid (Hamiltonian) Monte Carlo of many replicas at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..energies import BatchedEnergy
from ..threads import each_on_a_core
from ..units import GAS_CONSTANT, in_md_units
from .langevin import EnergyAndForces

_AT_ONCE = {"cpu": 256, "cuda": 4096}
"""Replicas that move together: on a core as many as its cache holds, on a GPU so many that more are no faster."""


def hamiltonian_monte_carlo(
    energy_and_forces: EnergyAndForces,
    positions: Tensor,
    masses: Any,
    temperature: float,
    *,
    moves: int,
    steps: int = 20,
    timestep: float = 0.001,
    seed: int = 0,
) -> tuple[Tensor, Tensor, float]:
    """Moves of up to `steps` steps of velocity Verlet from thermal velocities, each accepted with ``min(1, exp(-dH / kT))``.

    Duane, Kennedy, Pendleton & Roweth 1987, doi:10.1016/0370-2693(87)91197-X. The timestep decides how often moves are
    accepted; unlike that of Langevin dynamics, it has no part in what is sampled. With one step it is the Metropolis-adjusted Langevin
    algorithm, scaled by masses. How many steps a move has is drawn anew from 1 to `steps`, so that no vibration comes back to where it was
    in every move (Mackenzie 1989, doi:10.1016/0370-2693(89)91709-3).

    Parameters
    ----------
    energy_and_forces : callable
        From positions (3, N, R) in nm to energies (R,) in kJ/mol and forces (3, N, R) in kJ/mol/nm.
    positions : Tensor, (3, N, R)
        nm, in float64: differences of energies decide.
    masses : array_like, (N,)
        Dalton.
    temperature : float
        K.
    moves : int
        Trials.
    steps : int
        The most of each.
    timestep : float
        ps.
    seed : int

    Returns
    -------
    positions : Tensor, (3, N, R)
        nm.
    energies : Tensor, (R,)
        kJ/mol, of these.
    acceptance : float
        Share of trials that were accepted; NaN where there was none.
    """
    random = torch.Generator(positions.device).manual_seed(seed)
    mass, thermal = torch.as_tensor(np.asarray(masses, np.float64)).to(positions)[:, None], GAS_CONSTANT * temperature
    energies, forces = energy_and_forces(positions)
    accepted = 0
    for _ in range(moves):
        velocities = (thermal / mass).sqrt() * torch.randn(
            positions.shape, generator=random, dtype=positions.dtype, device=positions.device
        )
        before = energies + 0.5 * (mass * velocities**2).sum((0, 1))
        moved, energy, force = positions, energies, forces
        for _ in range(int(torch.randint(1, steps + 1, (), generator=random, device=positions.device))):
            velocities = velocities + 0.5 * timestep * force / mass
            moved = moved + timestep * velocities
            energy, force = energy_and_forces(moved)
            velocities = velocities + 0.5 * timestep * force / mass
        gain = (before - energy - 0.5 * (mass * velocities**2).sum((0, 1))) / thermal
        chance = torch.rand(gain.shape, generator=random, dtype=gain.dtype, device=gain.device)
        # a trial without a finite energy compares false, and is rejected
        taken = chance.log() < gain
        positions, energies, forces = (
            torch.where(taken, new, old) for new, old in ((moved, positions), (energy, energies), (force, forces))
        )
        accepted += int(taken.sum())
    trials = moves * positions.shape[-1]
    return positions, energies, accepted / trials if trials else float("nan")


def move_conformations(
    energy: BatchedEnergy,
    positions: NDArray[np.float64],
    temperature: float,
    *,
    moves: int,
    steps: int = 20,
    timestep: float = 0.001,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Conformations moved by `hamiltonian_monte_carlo` on the energies of a System, a few hundred at once on each core.

    Parameters
    ----------
    energy : BatchedEnergy
    positions : ndarray, (R, N, 3)
        nm.
    temperature, moves, steps, timestep, seed
        As there.

    Returns
    -------
    positions : ndarray, (R, N, 3)
        nm, their means at 0.
    energies : ndarray, (R,)
        kJ/mol, of these.
    acceptance : float
    """
    masses = [in_md_units(energy.system.getParticleMass(k)) for k in range(energy.system.getNumParticles())]
    replicas = torch.from_numpy(np.ascontiguousarray(positions.transpose(2, 1, 0)))

    def energy_and_forces(here: Tensor) -> tuple[Tensor, Tensor]:
        energies, forces = energy.potential.evaluate(here, True)
        assert forces is not None
        return energies[0], forces

    def move(part: tuple[int, Tensor]) -> tuple[Tensor, Tensor, float]:
        number, start = part
        # no two parts have the same random numbers
        stream = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        moved, energies, acceptance = hamiltonian_monte_carlo(
            energy_and_forces, start.to(energy.device), masses, temperature, moves=moves, steps=steps, timestep=timestep, seed=stream
        )
        return (moved - moved.mean(1, keepdim=True)).permute(2, 1, 0).cpu(), energies.cpu(), acceptance * start.shape[-1]

    parts = list(enumerate(replicas.split(_AT_ONCE[energy.device.type], -1)))
    # torch compiles in one thread only
    found = each_on_a_core(move, parts, energy.device, most=1 if energy.potential.compiled else None)
    frames, energies, accepted = zip(*found, strict=True)
    return torch.cat(frames).numpy(), torch.cat(energies).numpy(), sum(accepted) / len(positions) if len(positions) else float("nan")
