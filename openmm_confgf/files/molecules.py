"""Molecules to work on, from a SMILES or a file; one that cannot be used does not stop the others."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rdkit import Chem, rdBase

from ..errors import ConfGFError, FileFormatError, MoleculeError
from ..molecules.graph import MolecularGraph
from ..molecules.peptides import THREE_LETTERS, peptide
from . import hdf5, pdb, sdf
from .completing import largest_fragment, largest_fragment_of_smiles, with_hydrogens
from .smiles_lists import smiles_lines, split_line, table_rows
from .source import check_readable, lines_in, lines_of, stem_of, suffix_of, uncompressed

SUFFIXES = (".smi", ".csv", ".tsv", ".sdf", ".mol", ".pdb", ".h5")
STDIN = "-"
PEPTIDE = "peptide:"
_STDIN_LABEL = "standard input"
_COUNTS_LINE = re.compile(r".*\bV[23]000\s*$")


@dataclasses.dataclass(frozen=True)
class MoleculeEntry:
    """One molecule of an input: either its graph, or the error that says why there is none.

    Attributes
    ----------
    name : str
    graph : MolecularGraph or None
    error : ConfGFError or None
    notes : tuple of str
        What was done to it on reading, or with its source, that a user may not expect.
    """

    name: str
    graph: MolecularGraph | None
    error: ConfGFError | None
    notes: tuple[str, ...] = ()


def read_molecules(source: str | Path, *, largest_fragment: bool = False) -> list[MoleculeEntry]:
    """The molecules of a SMILES, of a .smi, .csv, .tsv, .sdf, .mol, .pdb or .h5 file, or of standard input.

    A .smi file has one ``SMILES name`` per line, and the SMILES may have an extension (CXSMILES); blank lines, lines that begin with ``#``
    and a first line that begins with the word ``smiles`` are skipped. A .csv or .tsv file has a column whose heading tells of SMILES, and
    perhaps one of names. Text files may be compressed (``library.sdf.gz``). Consecutive records of an SDF file that are conformations of
    one molecule are one entry; hydrogens that a record lacks are added.

    Parameters
    ----------
    source : str or Path
        A string that ends in one of the suffixes, or names an existing file, is a path; ``"-"`` is standard input (SMILES lines or SDF);
        ``"peptide:KS"`` and ``"peptide:ACE-K-NME"`` are peptides, with charged ends or the caps that are named; any other is a SMILES.
    largest_fragment : bool
        Whether to keep only the largest fragment of each SMILES and SDF record, where there are several (salts).

    Returns
    -------
    list of MoleculeEntry
        In the order of the source, at least one.

    Raises
    ------
    FileFormatError
        If the file does not exist, is empty, or is of none of these formats.
    """
    if isinstance(source, str):
        if source == STDIN:
            label, entries = _STDIN_LABEL, _from_stdin(largest_fragment)
            return _at_least_one(entries, label)
        if source.startswith(PEPTIDE):
            return [_from_sequence(source)]
        if suffix_of(source) not in SUFFIXES:
            shadowed = _exists(source)
            entry = None if shadowed and not _parses(source) else _from_argument(source, largest_fragment)
            if entry is not None:
                note = f"{source!r} is a file here, too, and was read as a SMILES; give ./{source} with a suffix to read a file"
                return [dataclasses.replace(entry, notes=(*entry.notes, note)) if shadowed else entry]
    path = Path(source)
    suffix = check_readable(path, SUFFIXES)
    try:
        return _at_least_one(_from_file(path, suffix, largest_fragment), str(path))
    except MoleculeError as error:
        return [MoleculeEntry(stem_of(path), None, error)]


def _from_sequence(source: str) -> MoleculeEntry:
    residues = source.removeprefix(PEPTIDE)
    try:
        graph = peptide(residues if "-" not in residues else [THREE_LETTERS.get(one, one) for one in residues.split("-")], residues)
    except MoleculeError as error:
        return MoleculeEntry(residues, None, error)
    return MoleculeEntry(residues, graph, None)


def _at_least_one(entries: Iterable[MoleculeEntry], label: str) -> list[MoleculeEntry]:
    found = list(entries)
    if not found:
        raise FileFormatError(f"{label} holds no molecule; give a file that has at least one.")
    return found


def _from_file(path: Path, suffix: str, fragment: bool) -> Iterable[MoleculeEntry]:
    if suffix == ".smi":
        return _from_rows(smiles_lines(lines_of(path)), fragment)
    if suffix in (".csv", ".tsv"):
        note, rows = table_rows(lines_of(path), str(path))
        return _from_rows(rows, fragment, () if note is None else (note,))
    if suffix == ".h5":
        graph = hdf5.read_hdf5(path).graph
        return [MoleculeEntry(graph.name, graph, None)]
    if suffix == ".pdb":
        with uncompressed(path) as file:
            graph = pdb.read_pdb(file)[0]
        return [MoleculeEntry(graph.name, graph, None)]
    return _from_sdf(lines_of(path), str(path), path.name, fragment)


def _from_stdin(fragment: bool) -> Iterable[MoleculeEntry]:
    data = sys.stdin.buffer.read()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise FileFormatError(f"The {_STDIN_LABEL} is truncated or no gzip file; compress it again.") from error
    lines = list(lines_in(io.BytesIO(data)))
    if len(lines) > 3 and _COUNTS_LINE.match(lines[3]):
        return _from_sdf(lines, _STDIN_LABEL, _STDIN_LABEL, fragment)
    return _from_rows(smiles_lines(lines), fragment)


def _from_rows(rows: Iterable[tuple[str, str]], fragment: bool, notes: tuple[str, ...] = ()) -> Iterator[MoleculeEntry]:
    for smiles, name in rows:
        entry = _from_smiles(smiles, name or None, fragment)
        yield dataclasses.replace(entry, notes=(*notes, *entry.notes))


def _from_argument(text: str, fragment: bool) -> MoleculeEntry:
    smiles, name = split_line(text)
    entry = _from_smiles(smiles, name or None, fragment)
    if entry.error is not None and re.search(r"\.[a-z][a-z0-9]{1,4}$", text):
        raise FileFormatError(f"{text!r} is neither a file of a known format ({', '.join(SUFFIXES)}) nor a SMILES.") from entry.error
    return entry


def _from_smiles(smiles: str, name: str | None, fragment: bool) -> MoleculeEntry:
    notes: list[str] = []
    try:
        with rdBase.BlockLogs():
            kept, notes = largest_fragment_of_smiles(smiles) if fragment else (smiles, notes)
        graph = MolecularGraph.from_smiles(kept, name or smiles or None)
    except MoleculeError as error:
        return MoleculeEntry(name or smiles, None, error)
    return MoleculeEntry(graph.name, graph, None, tuple(notes))


def _from_sdf(lines: Iterable[str], label: str, path_name: str, fragment: bool) -> Iterator[MoleculeEntry]:
    for group in sdf.iter_groups(lines, label, functools.partial(_completed, fragment=fragment)):
        if isinstance(group.graph, ConfGFError):
            yield MoleculeEntry(f"record {group.number} of {path_name}", None, group.graph)
        else:
            notes = dict.fromkeys(itertools.chain.from_iterable(record.notes for record in group.records))
            yield MoleculeEntry(group.graph.name, group.graph, None, tuple(notes))


def _completed(mol: Chem.Mol, fragment: bool) -> tuple[Chem.Mol, list[str]]:
    mol, dropped = largest_fragment(mol) if fragment else (mol, [])
    mol, added = with_hydrogens(mol)
    return mol, dropped + added


def _parses(text: str) -> bool:
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(split_line(text)[0]) is not None


def _exists(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):  # a long SMILES is no possible file name
        return False
