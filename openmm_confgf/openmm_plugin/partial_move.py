"""PartialMove: Monte Carlo moves that draw a part of a molecule again, a side chain or a tail, whatever is around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..devices import Device, resolve_device
from ..errors import ConfGFError, UnsupportedForceError
from ..generators.boltzmann import BoltzmannGenerator
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.checks import check_conformations
from ..status import Status
from ..units import kT
from .thermostat import wanted_temperature


class PartialMove:
    """Some atoms of a molecule are drawn again given all others, so that it profits in a box of solvent or in a binding site.

    Candidates come from the conditional density of a `BoltzmannGenerator`, and one of them, or the conformation as it is, is taken with a
    probability in proportion to ``exp(-u(x)) / q(x)``: iterated sampling importance resampling (Andrieu, Lee & Vihola 2018,
    doi:10.3150/17-BEJ1010), which keeps the target exact. u is the energy of the whole System in kT. The generator knows the molecule
    alone; what is around it decides by its energy. Velocities of redrawn atoms are drawn anew from Maxwell's distribution.

    Parameters
    ----------
    simulation : openmm.app.Simulation
        Of the molecule, alone or with others, in a box or not.
    generator : BoltzmannGenerator
    molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule or MolecularGraph
        Of N atoms.
    atoms : sequence of int
        Of the molecule, from 0, that are drawn again; what hangs on them joins them.
    particles : sequence of int, optional
        The System's particle of each atom of the molecule, (N,). Default: the first N.
    temperature : float or Quantity, optional
        K. Default: that of the integrator.
    candidates : int
        Of a move; each costs an energy of the System.
    seed : int
    device : str, int or torch.device
        Of the generator.

    Attributes
    ----------
    atoms : ndarray of int64
        All that are drawn again.
    attempted, accepted : int

    Raises
    ------
    ConfGFError
        If the atoms cannot be drawn given the others, or no temperature is known.
    UnsupportedForceError
        If they are constrained.
    """

    def __init__(
        self,
        simulation: app.Simulation,
        generator: BoltzmannGenerator,
        molecule: MoleculeLike,
        atoms: Sequence[int],
        *,
        particles: Sequence[int] | None = None,
        temperature: Any = None,
        candidates: int = 16,
        seed: int = 0,
        device: Device = "auto",
    ) -> None:
        self.graph = as_graph(molecule)
        self.simulation, self.generator, self.candidates = simulation, generator, candidates
        self._device = resolve_device(device)
        self._prepared = generator.prepare(self.graph, self._device)
        self._particles = np.arange(len(self.graph)) if particles is None else np.asarray(particles, np.int64)
        count = simulation.system.getNumParticles()
        if self._particles.shape != (len(self.graph),) or not ((self._particles >= 0) & (self._particles < count)).all():
            raise ConfGFError(f"{self.graph.name!r} has {len(self.graph)} atoms; give the particle of each, from 0 to {count - 1}.")
        self._redrawn = self._with_what_hangs_on(atoms)
        self.atoms = np.flatnonzero(self._redrawn)
        self._refuse_constraints()
        self.temperature = wanted_temperature(simulation, temperature)
        self.attempted = self.accepted = 0
        self._rng = np.random.default_rng([seed, 2])
        masses = [simulation.system.getParticleMass(int(p)).value_in_unit(unit.dalton) for p in self._particles[self.atoms]]
        self._speeds = np.sqrt(kT(self.temperature) / np.array(masses))[:, None]

    @property
    def acceptance(self) -> float:
        """The share of the moves that changed something; NaN before the first."""
        return self.accepted / self.attempted if self.attempted else math.nan

    def apply(self) -> bool:
        """Attempt one move of the Simulation.

        Returns
        -------
        bool
            Whether a candidate was taken.
        """
        context = self.simulation.context
        state = context.getState(getPositions=True, getVelocities=True)
        whole = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        uniform = self._rng.random((self.candidates, len(self.graph), 6))
        network = self.generator.network.to(self._device)
        frames, log_q = self._prepared.redraw(network, whole[self._particles], self._redrawn, uniform)
        other = check_conformations(self.graph, frames[1:]) == Status.WRONG_STEREO
        log_q[1:][other] = np.inf  # no weight
        log_w = np.array([-self._reduced(whole, frame) if np.isfinite(q) else -np.inf for frame, q in zip(frames, log_q, strict=True)])
        log_w -= np.where(np.isfinite(log_q), log_q, 0.0)
        self.attempted += 1
        chosen = 0
        if np.isfinite(log_w).any():
            weights = np.exp(log_w - log_w.max())
            chosen = int(self._rng.choice(len(weights), p=weights / weights.sum()))
        self._set(whole, frames[chosen] if chosen else whole[self._particles])
        if not chosen:
            return False
        velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        velocities[self._particles[self.atoms]] = self._speeds * self._rng.standard_normal((len(self.atoms), 3))
        context.setVelocities(velocities)
        self.accepted += 1
        return True

    def _set(self, whole: NDArray[np.float64], frame: NDArray[np.float64]) -> None:
        moved = whole.copy()
        moved[self._particles] = frame
        self.simulation.context.setPositions(moved)
        self.simulation.context.computeVirtualSites()

    def _reduced(self, whole: NDArray[np.float64], frame: NDArray[np.float64]) -> float:
        """The energy of the System in kT; +inf where it is not finite."""
        self._set(whole, frame)
        try:
            energy = self.simulation.context.getState(getEnergy=True).getPotentialEnergy()
        except openmm.OpenMMException:  # what some forces say of atoms on top of each other
            return math.inf
        value = float(energy.value_in_unit(unit.kilojoule_per_mole)) / kT(self.temperature)
        return value if math.isfinite(value) else math.inf

    def _with_what_hangs_on(self, atoms: Sequence[int]) -> NDArray[np.bool_]:
        """The atoms, and all that are placed with one of them as a parent or second one."""
        steps, n = self._prepared.placement.steps, len(self.graph)
        if not len(atoms) or not all(0 <= atom < n for atom in atoms):
            raise ConfGFError(f"Give atoms of {self.graph.name!r} that are drawn again, from 0 to {n - 1}.")
        redrawn = np.zeros(n, bool)
        redrawn[list(atoms)] = True
        for step in steps:
            redrawn[step.atom] |= step.parent >= 0 and bool(redrawn[step.parent])
        first = [step.atom for step in steps[:3]]
        if redrawn[first].any():
            raise ConfGFError(
                f"The atoms {', '.join(map(str, first))} of {self.graph.name!r} are placed first and stay; draw the other side of a bond."
            )
        return redrawn

    def _refuse_constraints(self) -> None:
        system, moved = self.simulation.system, set(self._particles[self.atoms].tolist())
        for k in range(system.getNumConstraints()):
            if moved.intersection(system.getConstraintParameters(k)[:2]):
                raise UnsupportedForceError(
                    "Atoms that are drawn again are constrained, and the density is of free ones; create the System without constraints of "
                    "the molecule (constraints=None)."
                )
