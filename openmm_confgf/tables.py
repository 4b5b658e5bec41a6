"""Tables for people: the same columns and rows for the terminal, as Markdown and as HTML.

>>> found = Table([Column("molecule", align="left"), Column("lowest", "kJ/mol", "{:.1f}")], [["a|b", -3.14159], ["c", None]])
>>> print(found.to_markdown())
| molecule | lowest, kJ/mol |
|---|---:|
| a\\|b | -3.1 |
| c | - |
"""

from __future__ import annotations

import dataclasses
import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from rich import table as rich_table
from rich.console import Console
from rich.text import Text

MISSING = "-"
"""What stands for None."""

_WIDEST = 10_000

_ACTIVE = re.compile(r"[\\`*\[\]<>&~|]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown does not take as it is: brackets of SMILES are links, and pipes end a cell. An underscore inside a word is one."""


@dataclasses.dataclass(frozen=True)
class Column:
    """What stands above a column, and how its values are written.

    Attributes
    ----------
    heading : str
    unit : str
        Of its values; it follows the heading after a comma.
    layout : str
        The format of a value, with one field.
    align : str
        ``"right"``, as numbers are, or ``"left"``.
    """

    heading: str
    unit: str = ""
    layout: str = "{}"
    align: Literal["left", "right"] = "right"

    @property
    def title(self) -> str:
        """The heading with its unit."""
        return f"{self.heading}, {self.unit}" if self.unit else self.heading

    def cell(self, value: Any) -> str:
        """A value as written; None is `MISSING`.

        Parameters
        ----------
        value : object
            What the layout can format, or None.
        """
        return MISSING if value is None else self.layout.format(value)


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and the rows of values below them.

    Attributes
    ----------
    columns : sequence of Column
    rows : sequence of sequences
        A value for each column, None where there is none.

    Raises
    ------
    ValueError
        If a row has more or fewer values than there are columns.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"Row {number} has {len(row)} values for {len(self.columns)} columns; give each column one.")

    def to_terminal(self) -> str:
        """With lines around the cells, as wide as it needs to be, so that names can be copied."""
        table = rich_table.Table(header_style="bold")
        for column in self.columns:
            table.add_column(Text(column.title), justify=column.align, no_wrap=True)
        for cells in self._cells():
            table.add_row(*map(Text, cells))  # a string would be markup: [bold]
        console = Console(width=Console(width=_WIDEST).measure(table).maximum, file=sys.stdout)
        with console.capture() as capture:
            console.print(table)
        return capture.get().rstrip()

    def to_markdown(self) -> str:
        """A table of GitHub's Markdown; names in it show as they are."""
        return "\n".join(markdown_lines(self.columns, self.rows))

    def to_html(self) -> str:
        """A ``<table>`` of HTML; names in it show as they are."""
        lines = ["<table>", f"<thead>{self._html_row('th', [column.title for column in self.columns])}</thead>", "<tbody>"]
        lines += [self._html_row("td", cells) for cells in self._cells()]
        return "\n".join([*lines, "</tbody>", "</table>"])

    def _cells(self) -> Iterator[list[str]]:
        return ([column.cell(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows)

    def _html_row(self, tag: str, cells: Sequence[str]) -> str:
        pairs = zip(self.columns, cells, strict=True)
        entries = [f'<{tag} style="text-align: {column.align}">{html.escape(cell)}</{tag}>' for column, cell in pairs]
        return f"<tr>{''.join(entries)}</tr>"


def markdown_lines(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of `Table.to_markdown`, each as soon as its row is there: for figures that take long.

    Parameters
    ----------
    columns : sequence of Column
    rows : iterable of sequences
        A value for each column, None where there is none.
    """
    yield _markdown_row(column.title for column in columns)
    yield f"|{''.join({'left': '---|', 'right': '---:|'}[column.align] for column in columns)}"
    for row in rows:
        yield _markdown_row(column.cell(value) for column, value in zip(columns, row, strict=True))


def _markdown_row(cells: Iterable[str]) -> str:
    shown = [_ACTIVE.sub(r"\\\g<0>", " ".join(cell.splitlines())) for cell in cells]
    return f"| {' | '.join(shown)} |"
