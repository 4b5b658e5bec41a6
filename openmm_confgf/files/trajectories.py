"""Frames of a molecule from the trajectory of another program, read by MDTraj."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from ..ensemble import Ensemble, Provenance
from ..errors import FileFormatError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.matching import atom_orders, skeleton
from ..status import Status
from ..units import NM_PER_ANGSTROM
from ..version import __version__

_LOOKED_AT = 10
"""Frames whose bonds are tried."""

_MOST_MATCHES = 2000
"""Mappings of one frame that are tried: only stereo prefers one."""


def read_trajectory(path: str | Path, graph: MolecularGraph) -> Ensemble:
    """Frames of a molecule, in its order of atoms.

    A file that names its elements (.h5, .pdb) may have them in another order: they are matched by bonds and stereo, and the provenance says
    so. Formats without names must have the molecule's order.

    Parameters
    ----------
    path : str or Path
        In any format that MDTraj reads.
    graph : MolecularGraph
        The molecule; it gives formats without names their topology.

    Returns
    -------
    Ensemble
        Positions in nm; its provenance names the file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, has a box, other atoms, an order of them that cannot be matched, or a frame that is not finite.
    """
    import mdtraj

    path, topology = Path(path), mdtraj.Topology.from_openmm(graph.to_topology())
    try:
        found = mdtraj.load(str(path)) if path.suffix in (".h5", ".pdb") else mdtraj.load(str(path), top=topology)
    except Exception as error:  # each of MDTraj's readers raises its own
        raise FileFormatError(f"{path} cannot be read as frames of {graph.name!r} ({str(error).splitlines()[0]}).") from error
    if found.unitcell_lengths is not None and found.unitcell_lengths.any():
        raise FileFormatError(f"{path} has box vectors, and a Boltzmann generator samples one molecule without a box; give such frames.")
    numbers = [atom.element.atomic_number for atom in found.topology.atoms if atom.element is not None]
    if sorted(numbers) != sorted(graph.numbers.tolist()):
        raise FileFormatError(f"{path} has other atoms than {graph.name!r}; give frames of it.")
    positions, settings = found.xyz.astype(np.float64), {}
    if bad := int((~np.isfinite(positions).all(axis=(1, 2))).sum()):
        raise FileFormatError(f"{path} has {bad} of {len(positions)} frames that are not finite; leave them out.")
    if numbers != graph.numbers.tolist() or _wrong(graph, positions) > len(positions) // 2:
        order = _order(graph, numbers, positions)
        if order is not None:
            positions, settings = positions[:, order], {"atoms": "matched by bonds and stereo"}
        elif numbers != graph.numbers.tolist():
            raise FileFormatError(f"The bonds of {path} are not those of {graph.name!r}; give frames of it.")
    if (wrong := _wrong(graph, positions)) > len(positions) // 2:
        raise FileFormatError(f"{wrong} of {len(positions)} frames of {path} are not {graph.name!r} by their bonds; give frames of it.")
    return Ensemble(graph, positions, Provenance(f"trajectory {path.name}", __version__, None, settings=settings))


def _wrong(graph: MolecularGraph, positions: NDArray[np.float64]) -> int:
    return int((check_conformations(graph, positions) != Status.OK).sum())


def _order(graph: MolecularGraph, numbers: list[int], positions: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The atom of the file, (N,), that each atom of the molecule is; None where the bonds of no frame that is looked at match."""
    ours, theirs = skeleton(graph.bonds, graph.numbers, graph.numbers), np.array(numbers)
    for frame in positions[:: max(1, len(positions) // _LOOKED_AT)]:
        orders = atom_orders(ours, skeleton(_bonds(numbers, frame), theirs, theirs))
        for order in itertools.islice(orders, _MOST_MATCHES):
            if _wrong(graph, frame[None, order]) == 0:
                return order
    return None


def _bonds(numbers: list[int], frame: NDArray[np.float64]) -> NDArray[np.int64]:
    mol = Chem.RWMol()
    for number in numbers:
        mol.AddAtom(Chem.Atom(number))
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(frame / NM_PER_ANGSTROM)
    mol.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(mol)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return np.array(bonds, np.int64).reshape(-1, 2)
