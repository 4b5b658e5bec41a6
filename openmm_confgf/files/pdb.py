"""PDB files: one molecule, one MODEL per conformation. Coordinates keep 0.001 A, bond orders are lost."""

from __future__ import annotations

from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from openmm import app, unit

from .. import __version__
from ..checks import check_conformations
from ..ensemble import Ensemble, Provenance
from ..errors import FileFormatError, MoleculeError
from ..geometry import dihedrals, signed_volumes
from ..molecule import MolecularGraph
from ..units import positions_in_nm
from ._stereo import with_stereo_only_at


def read_pdb(path: Path) -> tuple[MolecularGraph, NDArray[np.float64]]:
    """The molecule and its positions in nm, (B, N, 3).

    Raises
    ------
    FileFormatError
        If it is no PDB file.
    MoleculeError
        If it is not one complete molecule, or its bonds cannot be told.
    """
    try:
        content = app.PDBFile(str(path))
    except Exception as error:  # OpenMM's parser raises what its statements raise: IndexError, ValueError, Exception ...
        raise FileFormatError(f"{path} is no PDB file that OpenMM can read: {error}.") from error
    if not content.topology.getNumAtoms():
        raise FileFormatError(f"{path} has no ATOM or HETATM records; give a PDB file of one molecule.")
    models = [positions_in_nm(content.getPositions(asNumpy=True, frame=k)) for k in range(content.getNumFrames())]
    for number, model in enumerate(models, start=1):
        if len(model) != len(models[0]):
            raise FileFormatError(
                f"MODEL 1 of {path} has {len(models[0])} atoms, and its MODEL {number} has {len(model)}; give all of them the same atoms."
            )
    frames = np.array(models)
    try:
        graph = MolecularGraph.from_topology(content.topology, frames[0], path.stem)
    except MoleculeError as error:
        raise type(error)(f"{path}: {error}") from error
    return _with_common_stereo(graph, frames), frames


def _with_common_stereo(graph: MolecularGraph, frames: NDArray[np.float64]) -> MolecularGraph:
    """Leave open the stereo that differs between the models, which the molecule did not specify when they were made."""
    positions, centres, double_bonds = (torch.from_numpy(a) for a in (frames, graph.stereocentres, graph.stereobonds))
    same_hand = (signed_volumes(positions, centres[:, :4]) * centres[:, 4] > 0).all(0)
    same_side = (torch.cos(dihedrals(positions, double_bonds[:, :4])) * double_bonds[:, 4] > 0).all(0)
    if same_hand.all() and same_side.all():
        return graph
    kept_bonds = {frozenset(pair) for pair in double_bonds[same_side, 1:3].tolist()}
    return with_stereo_only_at(graph, centres[same_hand, 0].tolist(), kept_bonds)


def read_pdb_ensemble(path: Path) -> Ensemble:
    """The conformations of a PDB file, with their status from `check_conformations`."""
    graph, frames = read_pdb(path)
    return Ensemble(graph, frames, Provenance(path.name, __version__), check_conformations(graph, frames))


def write_pdb(ensemble: Ensemble, stream: BinaryIO) -> None:
    """The usable samples, one MODEL each."""
    topology = ensemble.graph.to_topology()
    text = TextIOWrapper(stream, encoding="utf-8", newline="\n")
    try:
        app.PDBFile.writeHeader(topology, text)
        for number, frame in enumerate(ensemble.positions[ensemble.ok], start=1):
            app.PDBFile.writeModel(topology, frame * unit.nanometer, text, modelIndex=number, keepIds=True)
        app.PDBFile.writeFooter(topology, text)
    finally:
        text.detach()
