"""ConfGF's score as a force on a molecule in a System, with the noise as a parameter of the Context: annealing inside OpenMM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from torch import Tensor

from ..energies.systems.match import check_particles
from ..errors import ForceFieldError
from ..models.field import PairField
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from ..units import NM_PER_ANGSTROM, in_md_units, kT
from .graph_force import TEMPERATURE, GraphForce, latest_sha256, molecule_text, python_force

SIGMA = "confgf_sigma"
"""The global parameter of a pseudo-force: the noise in nm."""


class PseudoForce(GraphForce):
    """``kT (D(x, sigma) - x) / sigma^2``, kT times the score of the density of conformers under the noise sigma, by a `PairField`.

    The energy that it tells is always 0, since the field is no gradient of one.
    """

    network = PairField
    net: PairField

    def __init__(self, weights: str, sha256: str, molecule: str) -> None:
        super().__init__(weights, sha256, molecule)
        self._encoded = self.net.encode(self.batch)

    def compute(self, positions: Tensor, parameters: Any) -> tuple[float, NDArray[np.float64]]:
        """See `GraphForce`."""
        sigma = parameters[SIGMA] / NM_PER_ANGSTROM
        if not 0 < sigma < math.inf:
            raise ValueError(f"the parameter {SIGMA} is {parameters[SIGMA]} nm; set a finite one above 0")
        x = positions[None, None] / NM_PER_ANGSTROM
        denoised = self.net(self._encoded, x, x.new_full((1, 1), sigma), self.batch.hands[:, None])
        score = (denoised - x)[0, 0] / sigma**2
        return 0.0, kT(parameters[TEMPERATURE]) / NM_PER_ANGSTROM * score.numpy()


def add_pseudo_force(
    system: openmm.System,
    molecule: MoleculeLike,
    sigma: Any = 0.02,
    *,
    atoms: Sequence[int] | None = None,
    temperature: Any = 298.15,
    weights: str = "confgf",
) -> openmm.PythonForce:
    """Add ConfGF's pseudo-force on a molecule to a System.

    It carries no energy: the field of a denoiser is no gradient of anything, and what it adds to the potential energy is 0. So
    LocalEnergyMinimizer does nothing with it, silently; Monte Carlo moves do not see it; energies are not conserved. Run it with a
    Langevin integrator, whose friction takes up what it does, and lower the parameter ``confgf_sigma`` (nm) of the Context as you go: at
    0.1 it makes the molecule whole, at 0.005 a sharp conformer. For an energy, take `learned_force`.

    Parameters
    ----------
    system : openmm.System
        Gets the force.
    molecule : MolecularGraph or whatever `as_graph` takes
        Of N atoms.
    sigma : float or Quantity
        The noise in nm; the default of the global parameter ``confgf_sigma``.
    atoms : sequence of int, optional
        The particles that are the molecule's atoms, in its order; by default the first N.
    temperature : float or Quantity
        T in K of the factor kT that makes a force of the score; the default of the global parameter ``confgf_temperature``. A Langevin
        integrator at this temperature keeps the noised density.
    weights : str
        As in `GraphForce`, of a `PairField`: ``"confgf"``, or ``"confgf-noise-eba"``.

    Returns
    -------
    openmm.PythonForce
        As it is in the System.

    Raises
    ------
    ForceFieldError
        If the particles are not the molecule's atoms; the message names both orders.
    WeightsError, UnsupportedMoleculeError
        As in `GraphForce`.
    ValueError
        If sigma or the temperature is not finite and above 0.

    Examples
    --------
    >>> system = openmm.System()
    >>> for mass in 3 * [12.011] + 8 * [1.008]:
    ...     _ = system.addParticle(mass)
    >>> force = add_pseudo_force(system, "CCC", sigma=0.03)
    >>> dict(force.getGlobalParameters())
    {'confgf_sigma': 0.03, 'confgf_temperature': 298.15}
    """
    graph, noise, kelvin = as_graph(molecule), float(in_md_units(sigma)), float(in_md_units(temperature))
    kT(kelvin)
    if not 0 < noise < math.inf:
        raise ValueError(f"sigma is {noise} nm; give a finite one above 0.")
    particles = np.asarray(range(len(graph)) if atoms is None else atoms, np.int64)
    _check_atoms(system, particles, graph)
    compute = PseudoForce(weights, latest_sha256(weights), molecule_text(graph))
    force = python_force(compute, particles, {SIGMA: noise, TEMPERATURE: kelvin}, system.usesPeriodicBoundaryConditions())
    return system.getForce(system.addForce(force))


def _check_atoms(system: openmm.System, particles: NDArray[np.int64], graph: MolecularGraph) -> None:
    """Refuse particles that are not the molecule's atoms in its order, by their number and masses."""
    count = system.getNumParticles()
    if len(particles) != len(graph) or len(set(particles.tolist())) != len(graph) or not ((0 <= particles) & (particles < count)).all():
        raise ForceFieldError(
            f"{len(particles)} particles of a System of {count} are to be the {len(graph)} atoms of {graph.name!r}; give atoms= as many, "
            "each once."
        )
    chosen = openmm.System()
    for particle in particles.tolist():
        chosen.addParticle(system.getParticleMass(particle))
    check_particles(chosen, graph, "The System")
