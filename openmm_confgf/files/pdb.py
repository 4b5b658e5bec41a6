"""PDB files: one molecule, one MODEL per conformation. Coordinates keep 0.001 A; bond orders are in repeated CONECT records."""

from __future__ import annotations

import re
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

from ..ensemble import Ensemble, Provenance
from ..errors import MoleculeError
from ..molecules.checks import check_conformations, stereo_against_specified
from ..molecules.graph import MolecularGraph
from ..molecules.topology import rdkit_from_topology, topology_from_rdkit
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from .pdb_records import ISOTOPE, PDBRecords, read_records
from .pdb_topology import pairs_told_by_names, topology_of_records
from .stereo import with_stereo_only_at

_ESCAPE = re.compile(r"\\(?=[xuU])")
_ESCAPED = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def read_pdb(path: Path) -> tuple[MolecularGraph, NDArray[np.float64]]:
    """The molecule of a PDB file and its positions; all ATOM and HETATM records in their order.

    Bond orders are those of repeated CONECT records or of standard residues, and perceived otherwise, with the charges of columns 79-80.
    If the file gives the charge of an atom outside of standard residues, the other such atoms have none.

    Parameters
    ----------
    path : Path
        Not compressed.

    Returns
    -------
    graph : MolecularGraph
        With the stereo that all models have.
    positions : ndarray of float64, (B, N, 3)
        nm, of each model.

    Raises
    ------
    FileFormatError
        If it is no PDB file.
    MoleculeError
        If it is not one complete molecule, or its bonds cannot be told.
    """
    records = read_records(path)
    frames = records.frames * NM_PER_ANGSTROM
    try:
        topology = topology_of_records(records)
        mol = rdkit_from_topology(topology, frames[0])
        for index, mass in records.isotopes.items():
            mol.GetAtomWithIdx(index).SetIsotope(mass)
        graph = MolecularGraph.from_rdkit(mol, _name(records) or path.stem)
    except MoleculeError as error:
        raise type(error)(f"{path}: {error}") from error
    return _with_common_stereo(graph, frames), frames


def _name(records: PDBRecords) -> str:
    return _ESCAPED.sub(lambda match: match.group().encode("ascii").decode("unicode_escape"), records.name)


def _with_common_stereo(graph: MolecularGraph, frames: NDArray[np.float64]) -> MolecularGraph:
    """Leave open the stereo that differs between the models, which the molecule did not specify when they were made."""
    hands, sides = stereo_against_specified(graph, frames)
    same_hand, same_side = (hands > 0).all(0), sides.all(0)
    if same_hand.all() and same_side.all():
        return graph
    kept_bonds = {frozenset(pair) for pair in graph.stereobonds[same_side, 1:3].tolist()}
    return with_stereo_only_at(graph, graph.stereocentres[same_hand, 0].tolist(), kept_bonds)


def read_pdb_ensemble(path: Path) -> Ensemble:
    """The conformations of a PDB file, with their status from `check_conformations`.

    Parameters
    ----------
    path : Path
        Not compressed.

    Raises
    ------
    FileFormatError, MoleculeError
        As `read_pdb`.
    """
    graph, frames = read_pdb(path)
    return Ensemble(graph, frames, Provenance(path.name, __version__), check_conformations(graph, frames))


def write_pdb(ensemble: Ensemble, stream: BinaryIO) -> None:
    """The usable samples, one MODEL each (or none around a single one), so that `read_pdb` gives the same molecule back.

    Bonds that the names of standard residues do not tell are CONECT records, listed as often as their order (aromatic ones as in one
    Kekule structure), which other programs take for the bond or for its order. Formal charges are in columns 79-80, and deuterium is D.
    Other isotopes and the molecule's name are REMARK and COMPND records.

    Parameters
    ----------
    ensemble : Ensemble
    stream : binary stream
        Open for writing; it stays open.
    """
    topology, pairs = _writable(ensemble.graph)
    text = TextIOWrapper(stream, encoding="ascii", errors="replace", newline="\n")
    try:
        for line in _name_lines(ensemble.graph.name):
            print(line, file=text)
        app.PDBFile.writeHeader(topology, text)
        for atom in ensemble.graph.mol.GetAtoms():
            if atom.GetIsotope() and (atom.GetSymbol(), atom.GetIsotope()) != ("H", 2):
                print(f"{ISOTOPE}{atom.GetIdx() + 1:>5} {atom.GetIsotope():>3}", file=text)
        frames = ensemble.positions[ensemble.ok]
        for number, frame in enumerate(frames, start=1):
            # RDKit reads no CONECT records after an ENDMDL
            index = number if len(frames) > 1 else None
            app.PDBFile.writeModel(topology, frame * unit.nanometer, text, modelIndex=index, keepIds=True)
        for line in _connection_lines(topology, pairs):
            print(line, file=text)
        print("END", file=text)
    finally:
        text.detach()


def _writable(graph: MolecularGraph) -> tuple[app.Topology, set[tuple[int, int]]]:
    """The molecule's Topology, and the bonds that its names tell; without the names where these tell bonds that it does not have."""
    topology = graph.to_topology()
    bonds = set(map(tuple, graph.bonds.tolist()))
    told = pairs_told_by_names(topology)
    if told <= bonds:
        return topology, told
    return topology_from_rdkit(graph.mol, names=False), set()


def _name_lines(name: str) -> list[str]:
    plain = _ESCAPE.sub(r"\\x5c", " ".join(name.split()))
    safe = plain.encode("ascii", "backslashreplace").decode("ascii")
    safe = "".join(letter if letter.isprintable() else " " for letter in safe)
    pieces = [safe[start : start + 69] for start in range(0, len(safe), 69)]
    return [f"COMPND    {piece}" if k == 1 else f"COMPND  {k:>2} {piece}" for k, piece in enumerate(pieces[:99], start=1)]


def _connection_lines(topology: app.Topology, told: set[tuple[int, int]]) -> list[str]:
    """CONECT records of the bonds that the names do not tell, each listed as often as its order."""
    serials = _serials(topology)
    partners: dict[int, list[int]] = {}
    for bond in topology.bonds():
        i, j = bond[0].index, bond[1].index
        if (min(i, j), max(i, j)) not in told:
            partners.setdefault(i, []).extend([j] * (bond.order or 1))
            partners.setdefault(j, []).extend([i] * (bond.order or 1))
    lines = []
    for i, around in sorted(partners.items()):
        for start in range(0, len(around), 4):
            fields = [i, *sorted(around)[start : start + 4]]
            lines.append("CONECT" + "".join(f"{serials[k]:>5}" for k in fields))
    return lines


def _serials(topology: app.Topology) -> list[Any]:
    """The serial numbers that `PDBFile.writeModel` gives: the TER record of each chain takes one, too."""
    numbers: list[int] = []
    for before, chain in enumerate(topology.chains()):
        numbers.extend(atom.index + 1 + before for atom in chain.atoms())
    return [number if number < 100_000 else f"{number - 100_000 + 0xA0000:X}" for number in numbers]
