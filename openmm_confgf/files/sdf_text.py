"""The text of SDF records: where one ends, and its properties; no chemistry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_END = "$$$$"
_HEADER = 3
"""Lines of a MOL block before its counts: title, program, comment; anything may stand in them."""


def split_records(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each record, without the ``$$$$`` after it; the last one needs none.

    Parameters
    ----------
    lines : iterable of str
        Of the file, without their ends.

    Yields
    ------
    list of str
    """
    record: list[str] = []
    for line in lines:
        if line.startswith(_END):
            yield record
            record = []
        else:
            record.append(line)
    if any(line.strip() for line in record):
        yield record


def parse_record(lines: list[str]) -> tuple[str, dict[str, str]]:
    """The MOL block and the properties of a record; a blank line ends a property, a line of spaces does not.

    Parameters
    ----------
    lines : list of str
        Of `split_records`.

    Returns
    -------
    block : str
    properties : dict of str to str
        In their order.
    """
    ends = (k for k, line in enumerate(lines) if k >= _HEADER and line.startswith("M  END"))
    end = next(ends, len(lines) - 1) + 1
    properties: dict[str, str] = {}
    rest = iter(lines[end:])
    for line in rest:
        if line.startswith(">"):
            value = []
            for entry in rest:
                if not entry:
                    break
                value.append("" if entry == " " else entry)
            properties[_name(line)] = "\n".join(value)
    return "\n".join(lines[:end]) + "\n", properties


def _name(header: str) -> str:
    """The name of a property in ``> 25 <name> (3)``; the line itself where it has none in brackets (``> DT12``)."""
    _, bracket, rest = header.partition("<")
    name, closing, _ = rest.rpartition(">")
    return name if bracket and closing else header[1:].strip()


def format_record(title: str, block: str, properties: Mapping[str, str]) -> str:
    """A record as any program reads it, whatever title and properties hold.

    Line breaks in the title and in names become spaces, angle brackets in names round ones; a line of a value that would end it, or the
    record, begins with a space.

    Parameters
    ----------
    title : str
        In place of the block's first line.
    block : str
        The MOL block.
    properties : mapping of str to str

    Returns
    -------
    str
        With ``$$$$`` and a line end after it.
    """
    first = " ".join(title.split())
    while first.startswith(_END):  # it must not look like the end of the record before it
        first = first.removeprefix(_END).lstrip()
    parts = [f"{first}\n{block.partition(chr(10))[2]}"]
    for name, value in properties.items():
        safe = " ".join(name.split()).translate(_ROUND)
        lines = [f" {line}" if not line or line.startswith((_END, ">")) else line for line in _LINE_ENDS.split(value)] if value else []
        parts.append(f">  <{safe}>\n" + "".join(f"{line}\n" for line in lines) + "\n")
    return "".join(parts) + f"{_END}\n"


_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_ROUND = str.maketrans("<>", "()")
