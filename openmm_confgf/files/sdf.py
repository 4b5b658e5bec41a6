"""SDF and MOL files: one record per conformation.

A record's own properties stay with its conformation, under their own names (`Ensemble.properties`). What this package says of it (energy,
status, specified stereo, where it comes from) has names that begin with ``openmm_confgf_``, and a digest of the geometry and the molecule
that it was said of: where a record was edited since, it does not count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ..ensemble import TITLE, Ensemble, Provenance
from ..errors import ConfGFError, FileFormatError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from .own import DECIMALS, DIGEST, PREFIX, Origin, molecule_digest, own_properties, record_digest
from .sdf_records import Preparation, Record, iter_records
from .sdf_text import format_record


@dataclasses.dataclass
class Group:
    """Consecutive records of one molecule in one atom order; a drawing, or a record that cannot be used, is alone.

    Attributes
    ----------
    number : int
        Of the first record, from 1.
    graph : MolecularGraph or ConfGFError
        The molecule, or why the (only) record cannot be used.
    records : list of Record
    """

    number: int
    graph: MolecularGraph | ConfGFError
    records: list[Record]


def iter_groups(lines: Iterable[str], label: str, prepare: Preparation = lambda mol: (mol, [])) -> Iterator[Group]:
    """The records of a file, those that follow each other and are the same molecule in the same atom order together.

    Parameters
    ----------
    lines : iterable of str
    label : str
        What the file is called in errors.
    prepare : callable, optional
        What is done to each molecule first.
    """
    group: Group | None = None
    last_key: Any = None
    for number, record in iter_records(lines, label, prepare):
        key = None if isinstance(record, ConfGFError) or record.positions is None else _key(record)
        if group is not None and key is not None and key == last_key and isinstance(record, Record):
            group.records.append(record)
            continue
        if group is not None:
            yield group
        group = Group(number, record, []) if isinstance(record, ConfGFError) else Group(number, record.graph, [record])
        last_key = key
    if group is not None:
        yield group


def iter_sdf(lines: Iterable[str], path_name: str, label: str) -> Iterator[Ensemble | ConfGFError]:
    """One ensemble for each group of records, or why there is none, as they are read; all conformations are checked.

    Parameters
    ----------
    lines : iterable of str
        Of the file, without their ends.
    path_name : str
        The generator in the provenance of records that do not tell theirs.
    label : str
        What the file is called in errors.

    Yields
    ------
    Ensemble or ConfGFError
    """
    return (_ensemble(group, path_name, label) for group in iter_groups(lines, label))


def write_sdf(ensembles: Iterable[Ensemble], stream: BinaryIO) -> int:
    """All usable samples, one record each; the others are left out (an .h5 file keeps them). Gives the number of records.

    Parameters
    ----------
    ensembles : iterable of Ensemble
    stream : binary stream

    Raises
    ------
    FileFormatError
        If RDKit does not read a molecule back from its record.
    """
    written = 0
    for ensemble in ensembles:
        usable = ensemble.select(ensemble.ok)
        titles = usable.properties or ({},) * len(usable)
        molecule = ""
        for frame, given, own in zip(usable.positions, titles, own_properties(usable), strict=True):
            # on the grid of what is written, so that no program rounds otherwise
            frame = np.round(frame / NM_PER_ANGSTROM, DECIMALS)
            block = _mol_block(usable.graph, frame)
            molecule = molecule or molecule_digest(_read_back(block, usable.graph))
            theirs = {key: value for key, value in given.items() if key != TITLE and not key.startswith(PREFIX)}
            ours = own | {DIGEST: record_digest(molecule, frame)}
            stream.write(format_record(given.get(TITLE) or usable.graph.name, block, theirs | ours).encode())
            written += 1
    return written


def _mol_block(graph: MolecularGraph, frame: NDArray[np.float64]) -> str:
    wide = bool((np.abs(frame) >= 10**4).any())  # no place for it in the columns of V2000
    mol = graph.to_rdkit(frame * NM_PER_ANGSTROM)
    mol.SetProp("_Name", "")  # `format_record` writes it, whatever it holds
    return str(Chem.MolToMolBlock(mol, forceV3000=wide))


def _read_back(block: str, graph: MolecularGraph) -> Chem.Mol:
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        raise FileFormatError(f"{graph.name!r} cannot be written to an SDF file, since RDKit does not read it there; give an .h5 file.")
    return mol


def _key(record: Record) -> Any:
    """What two records must share to be conformations of one molecule in one atom order; ours are also of one ensemble."""
    return record.order_key, record.graph.name if record.own or record.edited else None


def _ensemble(group: Group, path_name: str, label: str) -> Ensemble | ConfGFError:
    if isinstance(group.graph, ConfGFError):
        return group.graph
    records = group.records
    frames = [record.positions for record in records if record.positions is not None]
    if not frames:
        return FileFormatError(f"Record {group.number} of {label} has no 3D coordinates; make conformations of it first (generate).")
    positions = np.array(frames)
    checked = check_conformations(group.graph, positions)
    told = np.array([Status.OK if record.own is None else record.own.status for record in records], np.int8)
    energies = [None if record.own is None else record.own.energy for record in records]
    origin = _common_origin(records)
    return Ensemble(
        group.graph,
        positions,
        _of_file(group, path_name) if origin is None else origin.provenance,
        np.where(checked == Status.OK, told, checked).astype(np.int8),
        None if None in energies else np.array(energies, np.float64),
        properties=tuple(record.properties for record in records),
        target=None if origin is None else origin.target,
        diagnostics={} if origin is None else origin.diagnostics,
    )


def _common_origin(records: list[Record]) -> Origin | None:
    """That of the records where they share one."""
    first, *others = [None if record.own is None else record.own.origin for record in records]
    return first if all(other == first for other in others) else None


def _of_file(group: Group, path_name: str) -> Provenance:
    """The file, with the numbers of the records that were edited since they were written."""
    edited = [group.number + k for k, record in enumerate(group.records) if record.edited]
    return Provenance(path_name, __version__, settings={"edited_records": edited} if edited else {})
