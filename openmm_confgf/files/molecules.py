"""Molecules to work on, from a SMILES or a file; one that cannot be used does not stop the others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfGFError, FileFormatError, MoleculeError
from ..molecule import MolecularGraph
from . import hdf5, pdb, sdf

SUFFIXES = (".smi", ".sdf", ".mol", ".pdb", ".h5")


@dataclasses.dataclass(frozen=True)
class MoleculeEntry:
    """One molecule of an input: either its graph, or the error that says why there is none."""

    name: str
    graph: MolecularGraph | None
    error: ConfGFError | None


def read_molecules(source: str | Path) -> list[MoleculeEntry]:
    """The molecules of a SMILES, or of a .smi, .sdf, .mol, .pdb or .h5 file.

    A .smi file has one ``SMILES name`` per line; blank lines, lines that begin with ``#`` and a first line that begins with the word
    ``smiles`` are skipped. Consecutive records of an SDF file that are conformations of one molecule are one entry.

    Parameters
    ----------
    source : str or Path
        A string that ends in one of the suffixes, or names an existing file, is a path; any other is a SMILES.

    Returns
    -------
    list of MoleculeEntry
        In the order of the source, at least one.

    Raises
    ------
    FileFormatError
        If the file does not exist, is empty, or is of none of these formats.
    """
    if isinstance(source, str) and Path(source).suffix.lower() not in SUFFIXES and not _exists(source):
        return [_from_smiles(source)]
    path = Path(source)
    suffix = check_readable(path, SUFFIXES)
    try:
        if suffix == ".smi":
            entries = list(_smi_entries(path))
        elif suffix == ".pdb":
            entries = [MoleculeEntry(graph.name, graph, None) for graph in [pdb.read_pdb(path)[0]]]
        elif suffix == ".h5":
            entries = [MoleculeEntry(e.graph.name, e.graph, None) for e in [hdf5.read_hdf5(path)]]
        else:
            entries = [_from_sdf(path, group) for group in sdf.read_groups(path)]
    except MoleculeError as error:
        entries = [MoleculeEntry(path.stem, None, error)]
    if not entries:
        raise FileFormatError(f"{path} holds no molecule; give a file that has at least one.")
    return entries


def check_readable(path: Path, suffixes: tuple[str, ...]) -> str:
    """The suffix of a file in lower case, once it is known to be one of `suffixes`, to exist and to hold something.

    Raises
    ------
    FileFormatError
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise FileFormatError(f"{path} is a directory; give a file ({', '.join(suffixes)}).")
    if suffix not in suffixes:
        raise FileFormatError(f"{path} has no suffix that can be read here; give one of {', '.join(suffixes)}.")
    try:
        with path.open("rb") as stream:
            first = stream.read(1)
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror}.") from error
    if not first:
        raise FileFormatError(f"{path} is empty; give a file that has at least one molecule.")
    return suffix


def _exists(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):  # a long SMILES is no possible file name
        return False


def _from_smiles(smiles: str, name: str | None = None) -> MoleculeEntry:
    try:
        graph = MolecularGraph.from_smiles(smiles, name)
    except MoleculeError as error:
        if name is None and re.search(r"\.[a-z][a-z0-9]{1,4}$", smiles):
            raise FileFormatError(f"{smiles!r} is neither a file of a known format ({', '.join(SUFFIXES)}) nor a SMILES.") from error
        return MoleculeEntry(name or smiles, None, error)
    return MoleculeEntry(graph.name, graph, None)


def _smi_entries(path: Path) -> Iterator[MoleculeEntry]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is no text file; write one 'SMILES name' per line in UTF-8.") from error
    first = True
    for line in lines:
        smiles, _, name = line.strip().replace("\t", " ").partition(" ")
        if not smiles or smiles.startswith("#"):
            continue
        if not (first and smiles.lower() == "smiles"):
            yield _from_smiles(smiles, name.strip() or smiles)
        first = False


def _from_sdf(path: Path, group: sdf.Group) -> MoleculeEntry:
    if isinstance(group.graph, ConfGFError):
        return MoleculeEntry(f"record {group.number} of {path.name}", None, group.graph)
    return MoleculeEntry(group.graph.name, group.graph, None)
