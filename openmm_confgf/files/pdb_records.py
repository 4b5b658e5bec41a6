"""The records of a PDB file, column by column: atoms of each model, and bonds."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError


@dataclasses.dataclass(frozen=True)
class AtomRecord:
    """An ATOM or HETATM record.

    Attributes
    ----------
    serial : str
        As it stands in the file, which may be decimal, hexadecimal or hybrid-36.
    name : str
        All four columns: where it begins tells the element in files that have no element columns.
    location, residue, chain, number, insertion, element : str
        Alternate location, residue name, chain, residue number, insertion code and element symbol; blanks stripped.
    charge : int or None
        Columns 79-80; None where they are blank.
    position : tuple of three float
        Angstrom.
    segment : int
        How many TER records precede it in its model.
    """

    serial: str
    name: str
    location: str
    residue: str
    chain: str
    number: str
    insertion: str
    element: str
    charge: int | None
    position: tuple[float, float, float]
    segment: int


@dataclasses.dataclass(frozen=True)
class PDBRecords:
    """What a PDB file says.

    Attributes
    ----------
    atoms : list of AtomRecord
        Of the first model, the first of alternate locations only.
    frames : ndarray of float64, (B, N, 3)
        Coordinates of all models in Angstrom.
    connections : dict of (int, int) to int
        How often each bond of two of `atoms` (indices i < j) is listed, by the atom that lists it most often.
    name : str
        Of COMPND records, as this package and RDKit write them; "" where there are none, or the Protein Data Bank's list of molecules.
    isotopes : dict of int to int
        Mass numbers by the index of the atom, of the REMARK records that this package writes.
    """

    atoms: list[AtomRecord]
    frames: NDArray[np.float64]
    connections: dict[tuple[int, int], int]
    name: str
    isotopes: dict[int, int]


ISOTOPE = "REMARK   1 ISOTOPE "
"""Begins a record of an atom (numbered from 1) and its mass number."""

_UNNAMED = re.compile(r"MOL_ID|UNNAMED$")


def read_records(path: Path) -> PDBRecords:
    """The records of a file; every ATOM and HETATM record of a model is an atom but for further alternate locations.

    Parameters
    ----------
    path : Path
        Not compressed.

    Returns
    -------
    PDBRecords

    Raises
    ------
    FileFormatError
        If a record cannot be read, there are no atoms, or the models have different atoms.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    models = [_first_locations(model) for model in _models(path, lines)]
    if not models:
        raise FileFormatError(f"{path} has no ATOM or HETATM records; give a PDB file of one molecule.")
    atoms = models[0]
    for number, model in enumerate(models[1:], start=2):
        if len(model) != len(atoms):
            raise FileFormatError(
                f"MODEL 1 of {path} has {len(atoms)} atoms, and its MODEL {number} has {len(model)}; give all of them the same atoms."
            )
        for first, other in zip(atoms, model, strict=True):
            if (first.name, first.residue, first.element) != (other.name, other.residue, other.element):
                raise FileFormatError(
                    f"MODEL 1 of {path} has the atom {_label(first)} where its MODEL {number} has {_label(other)}; "
                    "give all of them the same atoms in the same order."
                )
    frames = np.array([[atom.position for atom in model] for model in models])
    return PDBRecords(atoms, frames, _connections(path, lines, atoms), _name(lines), _isotopes(lines))


def _name(lines: Iterable[str]) -> str:
    # continued records have their number in columns 9-10 and a blank before the text
    pieces = [line[10:] if line[8:10].isspace() else line[11:] for line in lines if line.startswith("COMPND")]
    name = "".join(pieces).strip()
    return "" if _UNNAMED.match(name) else name


def _isotopes(lines: Iterable[str]) -> dict[int, int]:
    pairs = [line.removeprefix(ISOTOPE).split() for line in lines if line.startswith(ISOTOPE)]
    return {int(pair[0]) - 1: int(pair[1]) for pair in pairs if len(pair) == 2 and all(field.isdigit() for field in pair)}


def _models(path: Path, lines: Iterable[str]) -> list[list[AtomRecord]]:
    """The atoms of each model; END and ENDMDL end one, as in trajectories."""
    models: list[list[AtomRecord]] = [[]]
    segment = 0
    for number, line in enumerate(lines, start=1):
        record = line[:6].rstrip()
        if record in ("ATOM", "HETATM"):
            try:
                models[-1].append(_atom(line, segment))
            except (ValueError, IndexError) as error:
                raise FileFormatError(
                    f"Line {number} of {path} is no {record} record ({line.strip()[:60]!r}); its fields stand in fixed columns, "
                    "coordinates in 31-54."
                ) from error
        elif record == "TER":
            segment += 1
        elif record in ("MODEL", "ENDMDL", "END"):
            segment = 0
            if models[-1]:
                models.append([])
    return [model for model in models if model]


def _atom(line: str, segment: int) -> AtomRecord:
    line = line.ljust(80)
    # four letters of a residue name run into the column before the chain (Gromacs, CHARMM)
    position = (float(line[30:38]), float(line[38:46]), float(line[46:54]))
    if not np.isfinite(position).all():
        raise ValueError("coordinates")
    return AtomRecord(
        serial=_serial(line[6:11]),
        name=line[12:16],
        location=line[16].strip(),
        residue=line[17:21].strip(),
        chain=line[21].strip(),
        number=line[22:26].strip(),
        insertion=line[26].strip(),
        element=line[76:78].strip(),
        charge=_charge(line[78:80]),
        position=position,
        segment=segment,
    )


def _serial(text: str) -> str:
    text = text.strip()
    return str(int(text)) if text.isdigit() else text


def _charge(text: str) -> int | None:
    """``1-``, ``-1``, ``2+``, ``+``, ``0``; None where there is no such thing."""
    text = text.strip()
    sign = -1 if "-" in text else 1
    digits = text.strip("+-")
    if not text or (digits and not digits.isdigit()):
        return None
    return sign * int(digits or 1)


def _first_locations(atoms: Iterable[AtomRecord]) -> list[AtomRecord]:
    """Leave out further alternate locations: of an atom, and of a residue that is another one at the same place."""
    kept: list[AtomRecord] = []
    locations: dict[tuple[object, ...], str] = {}
    names: dict[tuple[object, ...], str] = {}
    for atom in atoms:
        residue = (atom.segment, atom.chain, atom.number, atom.insertion)
        first_name = names.setdefault(residue, atom.residue)
        first_location = locations.setdefault((*residue, atom.name), atom.location)
        if atom.location and (atom.location != first_location or atom.residue != first_name):
            continue
        kept.append(atom)
    return kept


def _connections(path: Path, lines: Iterable[str], atoms: list[AtomRecord]) -> dict[tuple[int, int], int]:
    by_serial: dict[str, list[int]] = collections.defaultdict(list)
    for index, atom in enumerate(atoms):
        by_serial[atom.serial].append(index)
    listed: collections.Counter[tuple[int, int]] = collections.Counter()
    block: collections.Counter[tuple[int, int]] = collections.Counter()
    for line in lines:
        if line.startswith("CONECT"):
            first, *others = [_one(path, by_serial, serial) for serial in _serials(line)] or [None]
            block.update((first, other) for other in others if first is not None and other is not None and other != first)
        elif line.startswith(("ATOM", "HETATM")) and block:
            # the next model may list the same bonds again
            listed, block = listed | block, collections.Counter()
    listed |= block
    counts: dict[tuple[int, int], int] = {}
    for (i, j), count in listed.items():
        pair = (min(i, j), max(i, j))
        counts[pair] = max(count, counts.get(pair, 0))
    return _without_repeated_blocks(atoms, counts)


def _serials(line: str) -> list[str]:
    # columns 32 and on list hydrogen bonds and salt bridges in old files
    fields = [field for start in range(6, 31, 5) if (field := line[start : start + 5].strip())]
    return [_serial(field) for field in (line[6:].split() if any(" " in field for field in fields) else fields)]


def _one(path: Path, by_serial: Mapping[str, list[int]], serial: str) -> int | None:
    """The atom of a serial number; None where the (first) model has none."""
    found = by_serial.get(serial, [])
    if len(found) > 1:
        raise FileFormatError(f"{len(found)} atoms of {path} have the serial number {serial} that a CONECT record names; number them anew.")
    return found[0] if found else None


def _without_repeated_blocks(atoms: list[AtomRecord], counts: dict[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """Counts of files that list every bond again for every model: a hydrogen has one bond, listed once."""
    to_hydrogen = {count for pair, count in counts.items() if any(atoms[i].element.upper() in ("H", "D") for i in pair)}
    times = max(to_hydrogen, default=1)
    return {pair: count // times if count % times == 0 else count for pair, count in counts.items()}


def _label(atom: AtomRecord) -> str:
    return f"{atom.name.strip()} of {atom.residue} {atom.number}".strip()
