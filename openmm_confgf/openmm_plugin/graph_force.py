"""GraphForce: what a PythonForce of this package computes, which is pickled as weights' name, their sha256 and the molecule, no more."""

from __future__ import annotations

import abc
import dataclasses
import importlib.metadata
from typing import Any, ClassVar

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import unit
from packaging.version import Version
from rdkit import Chem
from rdkit.Chem import rdMolInterchange
from torch import nn

from ..errors import MoleculeError, PlatformError, UnsupportedMoleculeError, WeightsError
from ..generators.network.loaded import LoadedNetwork
from ..models.features import GraphBatch, collate, featurise
from ..models.weights import load_weights
from ..molecules.graph import MolecularGraph
from .topology_atoms import made_whole

TEMPERATURE = "confgf_temperature"
"""The global parameter that all forces of this package have: T in K of the kT that energies and scores are multiplied by."""

OLDEST = "8.6"
"""Version of OpenMM whose PythonForces can be on some particles."""


class GraphForce(abc.ABC):
    """Computes forces on one molecule from a network; called by a PythonForce, whose particles are the molecule's atoms in its order.

    The network runs in float64 on the CPU, whatever the platform: one small molecule gains nothing elsewhere. `read_system` restores it
    from a System's XML.

    Parameters
    ----------
    weights : str
        Name of shipped weights, or the path of a ``.safetensors`` file that has its card beside it.
    sha256 : str
        Of the weights; they are refused where it is another.
    molecule : str
        The molecule as RDKit's JSON, which keeps the order of its atoms (`molecule_text`).

    Raises
    ------
    WeightsError
        If the weights cannot be used, or are others than those that the sha256 is of.
    UnsupportedMoleculeError
        If they never saw such molecules.
    MoleculeError
        If the text is no molecule.
    """

    network: ClassVar[type[nn.Module]]
    """The architecture of the weights."""

    def __init__(self, weights: str, sha256: str, molecule: str) -> None:
        net, card = load_weights(weights)
        if not isinstance(net, self.network):
            raise WeightsError(
                f"The weights {weights} are those of a {card.architecture}, and a {type(self).__name__} runs a {self.network.__name__}; "
                "give others."
            )
        if card.sha256 != sha256:
            raise WeightsError(
                f"The weights {weights!r} have the sha256 {card.sha256[:12]}..., and the force was made with {sha256[:12]}...; "
                "take the version of openmm-confgf that made it, or make the force again."
            )
        self.weights, self.sha256, self.molecule = weights, sha256, molecule
        self.graph = graph_of(molecule)
        try:
            LoadedNetwork(net, card).check_supported(self.graph)
        except UnsupportedMoleculeError as error:
            raise UnsupportedMoleculeError(f"{str(error).partition(';')[0]}; take a force field for it.") from error
        self.net = net.double()
        self._bonds = self.graph.bonds.tolist()
        self.batch = in_double(collate([featurise(self.graph)]))

    def __reduce__(self) -> tuple[type[GraphForce], tuple[str, str, str]]:
        return type(self), (self.weights, self.sha256, self.molecule)

    def __call__(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        """Energy and forces of a State; called by OpenMM.

        Parameters
        ----------
        state : openmm.State
            Of the molecule's atoms.

        Returns
        -------
        float
            kJ/mol.
        ndarray of float64, (N, 3)
            kJ/mol/nm.
        """
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        try:
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        except openmm.OpenMMException:  # the State of a force that is not periodic has none
            box = None
        try:
            with torch.no_grad():
                return self.compute(torch.from_numpy(made_whole(positions, self._bonds, box)), state.getParameters())
        except Exception as error:  # OpenMM keeps the text alone
            raise RuntimeError(f"openmm_confgf, {type(self).__name__} of {self.graph.name!r}: {error}") from error

    @abc.abstractmethod
    def compute(self, positions: torch.Tensor, parameters: Any) -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm.

        Parameters
        ----------
        positions : Tensor of float64, (N, 3)
            nm, in one piece.
        parameters : mapping of str to float
            The Context's.
        """


def latest_sha256(weights: str) -> str:
    """The sha256 of weights as they are here.

    Parameters
    ----------
    weights : str
        As `GraphForce` takes them.

    Raises
    ------
    WeightsError
        If they have no card.
    """
    return load_weights(weights)[1].sha256


def molecule_text(graph: MolecularGraph) -> str:
    """A molecule as text that keeps its atom order, bond orders and stereo.

    Parameters
    ----------
    graph : MolecularGraph
    """
    mol = Chem.Mol(graph.mol)
    mol.SetProp("_Name", graph.name)
    return rdMolInterchange.MolToJSON(mol)


def graph_of(molecule: str) -> MolecularGraph:
    """The molecule of such a text.

    Parameters
    ----------
    molecule : str

    Raises
    ------
    MoleculeError
        If it is none.
    """
    try:
        (mol,) = rdMolInterchange.JSONToMols(molecule)
    except (RuntimeError, ValueError) as error:
        raise MoleculeError(f"The molecule of a force is no molecule in RDKit's JSON ({error}); make the force again.") from error
    return MolecularGraph.from_rdkit(mol, mol.GetProp("_Name") if mol.HasProp("_Name") else None)


def in_double(batch: GraphBatch) -> GraphBatch:
    """A batch whose real numbers are float64.

    Parameters
    ----------
    batch : GraphBatch
    """
    return dataclasses.replace(batch, bounds=batch.bounds.double(), hands=batch.hands.double())


def python_force(compute: GraphForce, particles: NDArray[np.int64], parameters: dict[str, float], periodic: bool) -> openmm.PythonForce:
    """The Force that calls a `GraphForce`.

    Parameters
    ----------
    compute : GraphForce
    particles : ndarray of int64, (N,)
        The molecule's atoms, in its order.
    parameters : dict of str to float
        Global parameters and their defaults.
    periodic : bool
        Whether the molecule may be cut by a periodic box.

    Raises
    ------
    PlatformError
        If OpenMM is older than 8.6, whose PythonForces know no particles.
    """
    if Version(found := importlib.metadata.version("openmm")) < Version(OLDEST):
        raise PlatformError(f"Forces of a network need OpenMM {OLDEST}, and this is {found}; update it: pip install -U openmm.")
    force = openmm.PythonForce(compute, parameters)
    force.setName(type(compute).__name__)
    force.setParticles(particles.tolist())
    force.setUsesPeriodicBoundaryConditions(periodic)
    return force
