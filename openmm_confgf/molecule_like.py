"""What is taken for a molecule: SMILES, RDKit and OpenFF molecules, OpenMM Topologies, and graphs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase

from .ensemble import Ensemble
from .errors import MoleculeError, WrongTypeError, type_text
from .molecules.graph import MolecularGraph

MoleculeLike = MolecularGraph | str | Chem.Mol | Any
"""What `as_graph` takes; the classes of OpenFF and OpenMM have no types for a checker to see."""

_TAKEN = (
    "a SMILES, an RDKit Mol, an OpenFF Molecule, an OpenMM Topology (or PDBFile, PDBxFile or Modeller, whose positions tell bond orders), "
    "or a MolecularGraph"
)


def as_graph(molecule: MoleculeLike, name: str | None = None) -> MolecularGraph:
    """The molecule that an object stands for.

    Parameters
    ----------
    molecule : MolecularGraph, str, rdkit.Chem.Mol, openff.toolkit.Molecule, openmm.app.Topology, PDBFile, PDBxFile or Modeller
        A string is a SMILES. Hydrogens that an RDKit molecule lacks are added, as those of a SMILES are, after its own atoms; its
        conformers only tell the stereo that its tags do not. A Topology by itself must tell its bond orders or be of standard residues;
        an object that has positions too may be of anything.
    name : str, optional
        Instead of the molecule's own.

    Raises
    ------
    WrongTypeError
        If it is none of these.
    MoleculeError
        If it is not one complete molecule.

    Examples
    --------
    >>> len(as_graph(Chem.MolFromSmiles("CCO"))), as_graph("CCO", name="ethanol").name
    (9, 'ethanol')
    """
    if isinstance(molecule, MolecularGraph):
        return molecule if name is None else MolecularGraph(molecule.mol, name)
    if isinstance(molecule, str):
        if Path(molecule).suffix and Path(molecule).is_file():
            raise MoleculeError(f"{molecule!r} is a file and not a SMILES; read_molecules and read_ensembles read it.")
        return MolecularGraph.from_smiles(str(molecule), name)
    if isinstance(molecule, Chem.Mol):
        if any(atom.HasQuery() for atom in molecule.GetAtoms()):
            raise MoleculeError("The RDKit molecule is a query (SMARTS), which stands for many; make it from a SMILES or a file.")
        return MolecularGraph.from_rdkit(_with_hydrogens(molecule), name)
    if molecule is None:
        raise MoleculeError("The molecule is None, which RDKit returns where it cannot read one; check its SMILES or its record.")
    if _is_openff(molecule):
        graph = MolecularGraph.from_openff(molecule)
        return graph if name is None else MolecularGraph(graph.mol, name)
    topology, positions = _topology_and_positions(molecule)
    if topology is not None:
        return MolecularGraph.from_topology(topology, positions, name)
    cure = "give its graph" if isinstance(molecule, Ensemble) else f"give {_TAKEN}"
    raise WrongTypeError(f"{type_text(molecule)} is not taken for a molecule; {cure}.")


def is_several(molecules: Any) -> bool:
    """Whether an object is a list, or anything else to go through one by one, of molecules.

    Parameters
    ----------
    molecules : object
        A string, bytes, a dict, an Ensemble and whatever `as_graph` takes are not several.
    """
    return (
        isinstance(molecules, Iterable) and not isinstance(molecules, (str, bytes, dict, Chem.Mol, Ensemble)) and not _is_openff(molecules)
    )


def check_ensemble(ensemble: Any, function: str) -> None:
    """Make sure that an argument is an Ensemble.

    Parameters
    ----------
    ensemble : object
    function : str
        The name of the function that takes it, for the message.

    Raises
    ------
    WrongTypeError
        If it is not; the message says how to get one.
    """
    if not isinstance(ensemble, Ensemble):
        raise WrongTypeError(
            f"{function} takes an Ensemble, not {type_text(ensemble)}; generate, read_ensembles and Ensemble.from_rdkit make one."
        )


def _with_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    complete = Chem.Mol(mol)
    with rdBase.BlockLogs():
        # what cannot be sanitised is named by from_rdkit
        if not Chem.SanitizeMol(Chem.Mol(mol), catchErrors=True):
            complete.UpdatePropertyCache()
            return Chem.AddHs(complete, addCoords=complete.GetNumConformers() > 0)
    return complete


def _is_openff(molecule: Any) -> bool:
    """Told by name, so that the OpenFF toolkit, which loads for seconds, is imported only where it is in use."""
    return any(kind.__module__.startswith("openff.toolkit") and kind.__name__ == "Molecule" for kind in type(molecule).__mro__)


def _topology_and_positions(molecule: Any) -> tuple[Any, Any]:
    from openmm import app

    if isinstance(molecule, app.Topology):
        return molecule, None
    if isinstance(molecule, (app.PDBFile, app.PDBxFile, app.Modeller)):
        return molecule.topology, molecule.positions
    return None, None
