"""Records of an SDF file, one after the other: the molecule, the conformation, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ..ensemble import TITLE
from ..errors import ConfGFError, FileFormatError, MoleculeError
from ..molecules.graph import MolecularGraph
from ..units import NM_PER_ANGSTROM
from .own import DIGEST, MOLECULE, PREFIX, Own, molecule_digest, read_own, record_digest
from .sdf_text import parse_record, split_records

Preparation = Callable[[Chem.Mol], tuple[Chem.Mol, list[str]]]
"""What is done to a molecule before it is judged, and notes of it."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One conformation of a file, or a drawing of a molecule.

    Attributes
    ----------
    graph : MolecularGraph
    order_key : tuple
        The graph's, for comparison.
    positions : ndarray of float64, (N, 3), or None
        nm; None for a drawing.
    properties : dict of str to str
        The record's own, and its title.
    own : Own or None
        What this package wrote of it; None for another program's record, and for an edited one.
    edited : bool
        Whether this package wrote it, and it was changed since.
    notes : list of str
        What was done to it on reading.
    """

    graph: MolecularGraph
    order_key: tuple[Any, ...]
    positions: NDArray[np.float64] | None
    properties: dict[str, str]
    own: Own | None
    edited: bool
    notes: list[str]


def iter_records(
    lines: Iterable[str], label: str, prepare: Preparation = lambda mol: (mol, [])
) -> Iterator[tuple[int, Record | ConfGFError]]:
    """The number of each record, from 1, and the record, or why it cannot be used.

    Parameters
    ----------
    lines : iterable of str
        Of the file, without their ends.
    label : str
        What the file is called in errors.
    prepare : callable, optional
        What is done to each molecule before it is judged.

    Yields
    ------
    int
    Record or ConfGFError
    """
    number, reader = 0, _Reader(prepare)
    try:
        for number, text in enumerate(split_records(lines), start=1):
            try:
                yield number, reader.read(text)
            except ConfGFError as error:
                yield number, type(error)(f"Record {number} of {label} {error}.")
    except FileFormatError as error:  # the file ends early, and what came before is as good as ever
        yield number + 1, error


@dataclasses.dataclass
class _Molecule:
    """What records of one molecule share.

    How RDKit sees it without stereo, its digest, and its graph with the stereo that it was told by.
    """

    bare: bytes
    digest: str
    stereo: Any = None
    graph: MolecularGraph | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


class _Reader:
    """Reads one record after the other, and knows the molecule of the last one again: perceiving it costs more than all the rest."""

    def __init__(self, prepare: Preparation) -> None:
        self._prepare = prepare
        self._last: _Molecule | None = None

    def read(self, lines: list[str]) -> Record:
        """One record.

        Raises
        ------
        ConfGFError
            If it cannot be used; to be said after the record's number.
        """
        block, given = parse_record(lines)
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock(block, removeHs=False)
            if mol is None:
                raise FileFormatError(f"cannot be read: {_problem(block)}")
        title = " ".join(lines[0].split())
        spatial = mol.GetNumConformers() > 0 and mol.GetConformer().Is3D()
        positions = mol.GetConformer().GetPositions() if spatial else None
        molecule = self._molecule(mol)
        intact = positions is not None and given.get(DIGEST) == record_digest(molecule.digest, positions)
        own = read_own(given) if intact else None
        graph = self._graph(mol, molecule, positions, own)
        properties = {TITLE: title} if title else {}
        return Record(
            dataclasses.replace(graph, name=given.get(MOLECULE, "").strip() or title or graph.smiles),
            graph.order_key,
            None if positions is None else positions * NM_PER_ANGSTROM,
            properties | {key: value for key, value in given.items() if not key.startswith(PREFIX)},
            own,
            DIGEST in given and not intact,
            molecule.notes,
        )

    def _molecule(self, mol: Chem.Mol) -> _Molecule:
        """The last one where this is the same but for its stereo."""
        bare = Chem.Mol(mol)
        Chem.RemoveStereochemistry(bare)
        if self._last is None or self._last.bare != _binary(bare):
            self._last = _Molecule(_binary(bare), molecule_digest(mol))
        return self._last

    def _graph(self, mol: Chem.Mol, molecule: _Molecule, positions: NDArray[np.float64] | None, own: Own | None) -> MolecularGraph:
        """Its graph: the last one where all that is specified is the same."""
        stereo = own.stereo if own is not None else (_binary(mol), None if positions is None else _pyramids(mol, positions))
        if molecule.graph is not None and molecule.stereo == stereo:
            return molecule.graph
        mol, molecule.notes = self._prepare(mol)
        if mol.GetNumConformers() and mol.GetConformer().Is3D():
            _forget_unspecifiable(mol)
        try:
            graph = MolecularGraph.from_rdkit(mol)
            molecule.stereo, molecule.graph = stereo, graph if own is None else own.specified(graph)
        except MoleculeError as error:
            raise type(error)(f"cannot be used: {str(error).rstrip('.')}") from error
        return molecule.graph


def _binary(mol: Chem.Mol) -> bytes:
    """All that RDKit knows of a molecule but its coordinates and properties."""
    flat = Chem.Mol(mol)
    flat.RemoveAllConformers()
    return bytes(flat.ToBinary(int(Chem.PropertyPickleOptions.NoProps)))


def _pyramids(mol: Chem.Mol, positions: NDArray[np.float64]) -> tuple[bool, ...]:
    """The hands of three-coordinate atoms beyond the second row, which RDKit does not tell when it reads a MOL block."""
    hands = []
    for atom in mol.GetAtoms():
        if atom.GetDegree() == 3 and atom.GetAtomicNum() > 10:
            edges = positions[[n.GetIdx() for n in atom.GetNeighbors()]] - positions[atom.GetIdx()]
            hands.append(bool(np.linalg.det(edges) > 0))
    return tuple(hands)


def _forget_unspecifiable(mol: Chem.Mol) -> None:
    """Leave open what RDKit reads from coordinates of square and other centres: nobody specified it, and nothing here checks it."""
    others = [atom for atom in mol.GetAtoms() if atom.GetChiralTag() not in (*_TETRAHEDRAL, Chem.ChiralType.CHI_UNSPECIFIED)]
    for atom in others:
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        mol.GetConformer().Set3D(False)  # it would be read again


_TETRAHEDRAL = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)


def _problem(block: str) -> str:
    """Why RDKit does not take a record."""
    mol: Any = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        return "it is not in MOL format (V2000 or V3000)"
    return "; ".join(str(p.Message()).strip().rstrip(".") for p in Chem.DetectChemistryProblems(mol)) or "RDKit rejects it"
