import csv

import pytest

from openmm_confgf.errors import FileFormatError
from openmm_confgf.files.smiles_lists import smiles_lines, split_line, table_rows


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("CCO", ("CCO", "")),
        ("CCO ethanol, absolute", ("CCO", "ethanol, absolute")),
        ("CCO\tethanol", ("CCO", "ethanol")),
        ("  CCN   amine  ", ("CCN", "amine")),
        ("CC |^1:0|", ("CC |^1:0|", "")),
        ("CC |^1:0| ethyl radical", ("CC |^1:0|", "ethyl radical")),
        ("CC\t|^1:0|\tethyl", ("CC |^1:0|", "ethyl")),
        ("CC |$a b;c$,^1:0| x", ("CC |$a b;c$,^1:0|", "x")),
        ("CC |half a name", ("CC", "|half a name")),
        ("CC a |name| of bars", ("CC", "a |name| of bars")),
        ("", ("", "")),
    ],
)
def test_a_line_is_smiles_extension_and_name(line, parts):
    assert split_line(line) == parts


def test_headings_and_comments_are_no_molecules():
    assert list(smiles_lines(["SMILES name", "# c", "", "C a", "smiles b"])) == [("C", "a"), ("smiles", "b")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table(delimiter, tmp_path):
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(["ID", "Canonical SMILES", "Compound Name", "pIC50"])
        writer.writerow([1, "CCO", "ethanol, absolute; \t pure", 5.1])
        writer.writerow([])
        writer.writerow([2, "CC |^1:0|", 'two\nlines "quoted"', ""])
        writer.writerow([3, "", "nothing", ""])
        writer.writerow([4])
    note, rows = table_rows(path.read_text().split("\n"), "t.csv")
    assert note is None
    assert list(rows) == [("CCO", "ethanol, absolute; pure"), ("CC |^1:0|", 'two lines "quoted"'), ("", "nothing"), ("", "")]


def test_of_several_columns_the_best_is_taken_and_said():
    note, rows = table_rows(["name,SMILES_raw,smiles,id", "a,C,CC,7"], "t.csv")
    assert list(rows) == [("CC", "a")] and note == "of its 2 columns of SMILES, number 3 is read"
    note, rows = table_rows(["id,smiles_stereo", "7,CC"], "t.csv")
    assert list(rows) == [("CC", "7")] and note is None


@pytest.mark.parametrize("lines", [["name,id", "CCO,1"], ["CCO,ethanol", "CC,ethane"], [""]])
def test_a_table_without_smiles_is_refused(lines):
    with pytest.raises(FileFormatError, match=r"^t.csv has no column of SMILES; name one of them 'smiles' in the first line.$"):
        table_rows(lines, "t.csv")
