import doctest
import html.parser

import markdown_it
import pytest

from openmm_confgf import tables
from openmm_confgf.tables import Column, Table, markdown_lines

COLUMNS = (Column("molecule", align="left"), Column("energy", "kJ/mol", "{:.1f}"), Column("n"))
NAMES = [
    "plain name-1_2",
    "a|b",
    r"a\|b",
    r"C/C=C\[nH]",
    r"F/C=C\(F)",
    "C[C@H](N)C(=O)O",
    "[*]C*C`x`",
    "__init__ _x_ a_b",
    "<b>&amp;</b> ~~x~~",
    "![x](y)",
]


class Cells(html.parser.HTMLParser):
    """The text and the alignment of each cell, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append(["", dict(attributes)["style"].removeprefix("text-align:").strip()])

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1][0] += data

    def texts(self):
        return [[text for text, _ in row] for row in self.rows]


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(tables)
    assert tried and not failed


def test_markdown_has_units_alignment_and_a_dash_for_nothing():
    table = Table(COLUMNS, [["a", -1.25, 3], ["b", None, None]])
    assert table.to_markdown().splitlines() == [
        "| molecule | energy, kJ/mol | n |",
        "|---|---:|---:|",
        "| a | -1.2 | 3 |",
        "| b | - | - |",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_show_as_they_are_in_markdown_and_html(name):
    table = Table([Column(name), *COLUMNS[1:]], [[name, 1.0, 1]])
    from_markdown = Cells(markdown_it.MarkdownIt("commonmark").enable(["table"]).render(table.to_markdown()))
    from_html = Cells(table.to_html())
    for found in (from_markdown, from_html):
        assert found.texts() == [[name, "energy, kJ/mol", "n"], [name, "1.0", "1"]]


def test_html_is_aligned_and_holds_no_markup_of_names():
    text = Table(COLUMNS, [['<script>"x"', 2.0, 1]]).to_html()
    assert [align for _, align in Cells(text).rows[1]] == ["left", "right", "right"]
    assert "<script" not in text and text.startswith("<table>\n<thead><tr><th") and text.endswith("</tbody>\n</table>")


def test_the_terminal_shows_brackets_and_long_names_in_one_piece():
    name = "C[C@H](O)[bold]" + "c1ccccc1" * 20
    text = Table([Column("[red]molecule", align="left"), Column("n")], [[name, 3]]).to_terminal()
    (row,) = [line for line in text.splitlines() if line.startswith("│")]
    assert row.split("│")[1].strip() == name  # in one piece, to be copied
    assert "[red]molecule" in text


def test_the_terminal_aligns_numbers():
    lines = Table(COLUMNS, [["a", -10.0, 1], ["long", None, 222]]).to_terminal().splitlines()
    assert lines[1:2] + lines[3:5] == [
        "┃ molecule ┃ energy, kJ/mol ┃   n ┃",
        "│ a        │          -10.0 │   1 │",
        "│ long     │              - │ 222 │",
    ]


def test_lines_of_markdown_come_as_soon_as_their_rows():
    made = []

    def rows():
        for number in range(2):
            made.append(number)
            yield ["a\nb", 1.0, number]

    lines = markdown_lines(COLUMNS, rows())
    assert [next(lines), next(lines)] == ["| molecule | energy, kJ/mol | n |", "|---|---:|---:|"] and made == []
    assert next(lines) == "| a b | 1.0 | 0 |" and made == [0]


def test_a_table_without_rows_is_its_headings():
    empty = Table(COLUMNS, [])
    assert len(empty.to_markdown().splitlines()) == 2 and Cells(empty.to_html()).texts() == [["molecule", "energy, kJ/mol", "n"]]
    assert "molecule" in empty.to_terminal()


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="Row 1 has 2 values for 3 columns; give each column one"):
        Table(COLUMNS, [["a", 1.0, 1], ["b", 2.0]])
