"""A learned energy of a molecule's conformations as a Force of OpenMM's, and as a level of theory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from torch import Tensor

from ..energies.levels import Level
from ..energies.systems.source import SystemSource
from ..errors import MoleculeError
from ..models.energy_field import EnergyField
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from ..units import NM_PER_ANGSTROM, in_md_units, kT
from .graph_force import TEMPERATURE, GraphForce, latest_sha256, molecule_text, python_force
from .topology_atoms import molecule_atoms

POTENTIAL = "confgf-potential"
"""The name of the shipped weights, and of the potential in openmmml."""


class LearnedPotential(GraphForce):
    """``-kT log p(x)``: p is the density of the molecule's conformers under the noise that the weights were trained at (`EnergyField`).

    The energy is a scalar, and forces are its gradient: it can be minimised and simulated. Its minima are conformers, its wells are as wide
    as the noise and not as those of a force field, and its zero means nothing: do not compare it among molecules.
    """

    network = EnergyField
    net: EnergyField

    def __init__(self, weights: str, sha256: str, molecule: str) -> None:
        super().__init__(weights, sha256, molecule)
        self._encoded = self.net.encode(self.batch)

    def compute(self, positions: Tensor, parameters: Any) -> tuple[float, NDArray[np.float64]]:
        """See `GraphForce`."""
        energies, scores = self.net.scores(self._encoded, positions[None, None] / NM_PER_ANGSTROM)
        thermal = kT(parameters[TEMPERATURE])
        return thermal * energies.item(), thermal / NM_PER_ANGSTROM * scores[0, 0].numpy()


def learned_force(
    graph: MolecularGraph,
    particles: NDArray[np.int64] | None = None,
    *,
    weights: str = POTENTIAL,
    temperature: Any = 298.15,
    periodic: bool = False,
) -> openmm.PythonForce:
    """The Force of a learned potential.

    Parameters
    ----------
    graph : MolecularGraph
        Of N atoms.
    particles : ndarray of int64, (N,), optional
        The particles that are its atoms, in its order; by default the first N.
    weights : str
        As in `GraphForce`, of an `EnergyField`.
    temperature : float or Quantity
        T in K of the factor kT; the default of the global parameter `TEMPERATURE`.
    periodic : bool
        Whether a periodic box may cut the molecule.

    Raises
    ------
    WeightsError, UnsupportedMoleculeError
        As in `GraphForce`.
    ValueError
        If the temperature is not finite and above 0 K.
    """
    kelvin = float(in_md_units(temperature))
    kT(kelvin)
    compute = LearnedPotential(weights, latest_sha256(weights), molecule_text(graph))
    return python_force(compute, np.arange(len(graph)) if particles is None else particles, {TEMPERATURE: kelvin}, periodic)


def learned_system(molecule: MoleculeLike, *, weights: str = POTENTIAL, temperature: Any = 298.15) -> openmm.System:
    """The System of one molecule in vacuum under a learned potential, without constraints.

    Parameters
    ----------
    molecule : MolecularGraph or whatever `as_graph` takes
        The particles have its atom order.
    weights, temperature
        As in `learned_force`.

    Raises
    ------
    WeightsError, UnsupportedMoleculeError, ValueError
        As in `learned_force`.
    """
    graph, system = as_graph(molecule), openmm.System()
    for number in graph.numbers.tolist():
        system.addParticle(app.Element.getByAtomicNumber(number).mass)
    system.addForce(learned_force(graph, weights=weights, temperature=temperature))
    return system


def potential_level(weights: str = POTENTIAL, **options: Any) -> Level:
    """A learned potential as a level of theory: for `relax`, `Level.minimize`, and wherever a force field is taken.

    Parameters
    ----------
    weights : str
        As in `learned_force`.
    **options
        Of `Level`: ``platform``, ``properties``, ``tolerance``.

    Examples
    --------
    >>> from openmm_confgf import generate, relax
    >>> relaxed = relax(generate("CCO", 1, generator="etkdg"), potential_level())
    >>> relaxed.provenance.generator, relaxed.counts()
    ('etkdg+confgf-potential', {'OK': 1})
    """
    return Level(SystemSource(weights, None, lambda graph: learned_system(graph, weights=weights)), **options)


def graph_and_particles(
    topology: app.Topology, atoms: Iterable[int] | None, molecule: MoleculeLike | None, positions: Any = None
) -> tuple[MolecularGraph, NDArray[np.int64]]:
    """The molecule that a potential is of, and the atoms of a Topology that its own are, in its order.

    Parameters
    ----------
    topology : openmm.app.Topology
    atoms : iterable of int, optional
        The atoms that the potential is of; by default all.
    molecule : MolecularGraph or whatever `as_graph` takes, optional
        By default what the Topology says, which has to know its bond orders, or to be of standard residues.
    positions : array_like or Quantity, (P, 3), optional
        Of all particles of the Topology, in nm: they tell bond orders where neither does, and which of atoms of the same kind is which by
        stereo.

    Raises
    ------
    MoleculeError
        If the atoms are not one complete molecule, or not the one that is given.
    """
    among = np.array([atom.index for atom in topology.atoms()] if atoms is None else list(atoms), np.int64)
    known = None if positions is None else np.asarray(in_md_units(positions), np.float64)
    if molecule is None:
        try:
            return _read_off(topology, among, known), np.sort(among)
        except MoleculeError as error:
            raise MoleculeError(f"{str(error).rstrip('.')}; or give molecule=, as a SMILES for instance.") from error
    graph, nowhere = as_graph(molecule), np.full((topology.getNumAtoms(), 3), np.nan)
    found = molecule_atoms(topology, graph, nowhere if known is None else known, among=among.tolist())
    if len(found) != len(among):
        raise MoleculeError(
            f"The potential is of {graph.name!r} alone, {len(found)} atoms, and {len(among)} are to be under it; use createMixedSystem, "
            "with the molecule's atoms."
        )
    return graph, found


def _read_off(topology: app.Topology, among: NDArray[np.int64], positions: NDArray[np.float64] | None) -> MolecularGraph:
    """The molecule that atoms of a Topology are, by what it says of itself, and by positions where there are any."""
    part = app.Modeller(topology, (np.zeros((topology.getNumAtoms(), 3)) if positions is None else positions) * unit.nanometer)
    chosen = set(among.tolist())
    part.delete([atom for atom in topology.atoms() if atom.index not in chosen])
    return MolecularGraph.from_topology(part.topology, None if positions is None else part.positions)
