"""The learned potential as openmmml asks for it; imported when one is created, since it needs openmmml."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openmm
from openmm import app
from openmmml.mlpotential import MLPotentialImpl

from ..molecule_like import MoleculeLike
from .learned_potential import graph_and_particles, learned_force


class ConfGFPotentialImpl(MLPotentialImpl):
    """Adds a `LearnedPotential` to a System.

    Parameters
    ----------
    name : str
        Of the weights.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def addForces(
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        molecule: MoleculeLike | None = None,
        positions: Any = None,
        temperature: Any = 298.15,
        **args: Any,
    ) -> None:
        """Add the force; called by ``createSystem`` and ``createMixedSystem`` of `openmmml.MLPotential`, which hand on what they are given.

        Parameters
        ----------
        topology : openmm.app.Topology
        system : openmm.System
            Gets the force.
        atoms : iterable of int, optional
            The atoms of the molecule; None for all.
        forceGroup : int
        molecule : MolecularGraph or whatever `as_graph` takes, optional
            Needed where the Topology knows no bond orders; its atoms may be in another order.
        positions : array_like or Quantity, (P, 3), optional
            Of all particles, in nm; instead of a molecule, or to tell stereo.
        temperature : float or Quantity
            K, of the factor kT.
        **args
            Of embeddings.

        Raises
        ------
        MoleculeError, WeightsError, UnsupportedMoleculeError
            As in `graph_and_particles` and `learned_force`.
        """
        graph, particles = graph_and_particles(topology, atoms, molecule, positions)
        periodic = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        force = learned_force(graph, particles, weights=self.name, temperature=temperature, periodic=periodic)
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getMLLongRange(self) -> bool:
        """Nothing of it is long-ranged: it sees one molecule."""
        return False
