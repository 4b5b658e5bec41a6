import pytest
from rdkit import Chem

from openmm_confgf.files.sdf_text import format_record, parse_record, split_records

BLOCK = Chem.MolToMolBlock(Chem.MolFromSmiles("CO"))

VALUES = [
    "",
    "plain",
    "two\nlines",
    "a\n\nblank line",
    "\nbegins blank",
    "ends blank\n",
    "a\n$$$$\nb",
    "a\n>  <other>\nb",
    "  spaces  ",
    "tab\tand\r\nWindows",
    "µ = 3",
]


@pytest.mark.parametrize("value", VALUES)
def test_no_value_breaks_the_file(value):
    record = format_record("title", BLOCK, {"before": "1", "value": value, "after": "2"})
    text = record + format_record("second", BLOCK, {})
    records = [parse_record(lines) for lines in split_records(text.split("\n"))]
    assert [block.split("\n")[0] for block, _ in records] == ["title", "second"]
    assert list(records[0][1]) == ["before", "value", "after"] and records[1][1] == {}
    found = records[0][1]["value"].split("\n")
    wanted = value.replace("\r\n", "\n").split("\n")
    # what would end the value or the record has a space before it; all else is as it was
    assert [line.removeprefix(" ") if line.startswith((" $$$$", " >")) else line for line in found] == wanted


@pytest.mark.parametrize("value", VALUES)
def test_rdkit_reads_what_is_written(value):
    supplier = Chem.SDMolSupplier()
    supplier.SetData(format_record("t", BLOCK, {"a": "1", "value": value, "b": "2"}) * 2)
    mols = list(supplier)
    assert len(mols) == 2
    for mol in mols:
        assert (mol.GetProp("_Name"), mol.GetProp("a"), mol.GetProp("b")) == ("t", "1", "2")
        assert set(mol.GetPropNames()) == {"a", "value", "b"}


@pytest.mark.parametrize("name", ["a<b", "a>b", "a > <b>", "two\nlines", "$$$$"])
def test_no_name_breaks_the_file(name):
    (lines,) = split_records(format_record("t", BLOCK, {name: "1", "after": "2"}).split("\n"))
    (found, value), (after, last) = parse_record(lines)[1].items()
    assert value == "1" and (after, last) == ("after", "2")
    assert found == name.replace("<", "(").replace(">", ")").replace("\n", " ")


@pytest.mark.parametrize(("title", "found"), [("a\nb", "a b"), ("$$$$", ""), ("$$$$ $$$$ x", "x"), ("M  END", "M END"), ("> <x>", "> <x>")])
def test_no_title_breaks_the_file(title, found):
    (lines,) = split_records(format_record(title, BLOCK, {"x": "1"}).split("\n"))
    block, properties = parse_record(lines)
    assert lines[0] == found and properties == {"x": "1"}
    assert Chem.MolFromMolBlock(block).GetNumAtoms() == 2


def test_headers_of_other_programs():
    lines = [*BLOCK.split("\n")[:-1], "> 25  <melting point> (7)", "16", "", ">  DT12", "x", "y", ""]
    assert parse_record(lines)[1] == {"melting point": "16", "DT12": "x\ny"}
