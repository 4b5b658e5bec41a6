"""Lists of SMILES: lines of ``SMILES name``, and tables with a column of SMILES."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from ..errors import FileFormatError

_LINE = re.compile(r"(?P<smiles>\S+)(?P<extension>\s+\|[^|]*\|)?(?:\s+(?P<name>.*))?")
_SMILES_COLUMNS = ("smiles", "isomericsmiles", "isosmiles", "canonicalsmiles", "cansmiles")
_NAME_COLUMNS = (
    "name",
    "title",
    "compoundname",
    "compound",
    "molecule",
    "moleculename",
    "id",
    "compoundid",
    "moleculeid",
    "chemblid",
    "cid",
)


def split_line(line: str) -> tuple[str, str]:
    """The SMILES of a line, with its extension (CXSMILES, which may hold spaces), and the name after it, or ``""``.

    Parameters
    ----------
    line : str

    Returns
    -------
    smiles, name : str

    Examples
    --------
    >>> split_line("CC[CH2] |^1:2| propyl radical")
    ('CC[CH2] |^1:2|', 'propyl radical')
    """
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return line.strip(), ""
    extension = (found["extension"] or "").strip()
    return f"{found['smiles']} {extension}".strip(), (found["name"] or "").strip()


def smiles_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """SMILES and name of each line; blank lines, those that begin with ``#`` and a heading that begins with ``smiles`` are skipped.

    Parameters
    ----------
    lines : iterable of str

    Yields
    ------
    smiles, name : str
        As `split_line`.
    """
    first = True
    for line in lines:
        smiles, name = split_line(line)
        if not smiles or smiles.startswith("#"):
            continue
        if not (first and smiles.lower() == "smiles"):
            yield smiles, name
        first = False


def table_rows(lines: Iterable[str], label: str) -> tuple[str | None, Iterator[tuple[str, str]]]:
    """SMILES and name of each row of a table (commas, semicolons or tabs) whose first line names its columns.

    Parameters
    ----------
    lines : iterable of str
        Without their ends.
    label : str
        What the table is called in errors.

    Returns
    -------
    note : str or None
        Which column is taken, where several could be meant.
    rows : iterator of (str, str)
        Rows that are blank are left out; the SMILES is ``""`` where only that is missing.

    Raises
    ------
    FileFormatError
        If no column is one of SMILES, or the table is none.
    """
    rest = iter(lines)
    heading = next((line for line in rest if line.strip()), "")
    delimiter = max(",;\t", key=heading.count)
    columns = [_key(column) for column in next(csv.reader([heading], delimiter=delimiter), [])]
    candidates = [k for wanted in _SMILES_COLUMNS for k, column in enumerate(columns) if column == wanted]
    candidates += [k for k, column in enumerate(columns) if "smiles" in column and k not in candidates]
    if not candidates:
        raise FileFormatError(f"{label} has no column of SMILES; name one of them 'smiles' in the first line.")
    names = [k for wanted in _NAME_COLUMNS for k, column in enumerate(columns) if column == wanted]
    note = f"of its {len(candidates)} columns of SMILES, number {candidates[0] + 1} is read" if len(candidates) > 1 else None
    return note, _rows(rest, label, delimiter, candidates[0], names[:1])


def _rows(lines: Iterator[str], label: str, delimiter: str, smiles_column: int, name_column: list[int]) -> Iterator[tuple[str, str]]:
    try:
        # the reader joins cells that go over several lines, and needs their ends
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                smiles, name = split_line(row[smiles_column] if smiles_column < len(row) else "")
                cells = [row[k].strip() for k in name_column if k < len(row)]
                yield smiles, " ".join(" ".join([*cells, ""]).split()) or name
    except csv.Error as error:
        raise FileFormatError(f"{label} is no table of SMILES: {error}.") from error


def _key(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())
