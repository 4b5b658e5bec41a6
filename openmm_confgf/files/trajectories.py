"""Frames of a molecule from the trajectory of another program, read by MDTraj."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..ensemble import Ensemble, Provenance
from ..errors import FileFormatError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..version import __version__


def read_trajectory(path: str | Path, graph: MolecularGraph) -> Ensemble:
    """Frames whose atoms are those of a molecule, in its order.

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
        If the file cannot be read, has a box, other atoms or another order of them, or a frame that is not finite.
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
    if numbers != graph.numbers.tolist():
        raise FileFormatError(f"{path} has other atoms than {graph.name!r}, or another order of them; give frames in its order.")
    positions = found.xyz.astype(np.float64)
    if bad := int((~np.isfinite(positions).all(axis=(1, 2))).sum()):
        raise FileFormatError(f"{path} has {bad} of {len(positions)} frames that are not finite; leave them out.")
    if (wrong := int((check_conformations(graph, positions) != 0).sum())) > len(positions) // 2:
        raise FileFormatError(f"{wrong} of {len(positions)} frames of {path} are not {graph.name!r} by their bonds; give frames of it.")
    return Ensemble(graph, positions, Provenance(f"trajectory {path.name}", __version__, None))
