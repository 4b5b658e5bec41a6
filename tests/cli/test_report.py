import numpy as np
import pytest

from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ETKDGGenerator


@pytest.fixture(scope="module")
def conformers(tmp_path_factory):
    return write_ensembles(ETKDGGenerator().sample("CCCO", 5, seed=2), tmp_path_factory.mktemp("report") / "in.sdf")[0]


def test_a_report_and_what_is_said_of_it(run, peroxide_samples, tmp_path):
    (samples,) = write_ensembles(peroxide_samples[:500], tmp_path / "samples.h5")
    outcome = run("report", samples, "-o", tmp_path / "new" / "r.html", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["command"] == "report" and report["title"] == peroxide_samples.graph.name and report["file"].endswith("r.html")
    assert report["verdict"].startswith("These averages can be trusted where the generator has samples, because k-hat")
    assert report["verdict"] in outcome.err and "wrote " in outcome.err
    assert (tmp_path / "new" / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_report_html_is_the_default(run, conformers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("report", conformers)
    assert outcome.code == 0 and not outcome.out and (tmp_path / "report.html").exists()
    assert "There are no weights" in outcome.err


def test_bad_calls_say_why_in_one_line_and_write_nothing(run, conformers, tmp_path):
    (tmp_path / "empty.sdf").touch()
    (tmp_path / "other.docx").write_bytes(b"PK")
    (tmp_path / "folder").mkdir()
    for arguments, said in (
        (("none.sdf",), "does not exist"),
        ((tmp_path / "empty.sdf",), "is empty"),
        ((tmp_path / "other.docx",), "nothing that a report can be made of"),
        ((tmp_path / "folder",), "neither the log of a run"),
        ((conformers, "-o", tmp_path / "out.sdf"), "ends in .html"),
        ((conformers, "-o", conformers / "r.html"), "cannot be written"),
    ):
        outcome = run("report", *arguments, *(() if "-o" in arguments else ("-o", tmp_path / "r.html")))
        assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1 and not outcome.out, arguments
    assert not (tmp_path / "r.html").exists()


def test_a_name_cannot_write_to_the_terminal(run, tmp_path):
    ensemble = ETKDGGenerator().sample("CCCO", 2, seed=2)
    named = ensemble.replace(graph=type(ensemble.graph).from_smiles("CCCO", name="\x1b[31m<script>"), energy=np.arange(2.0))
    (path,) = write_ensembles(named, tmp_path / "in.sdf")
    outcome = run("report", path, "-o", tmp_path / "r.html", "--json")
    assert outcome.code == 0 and "\x1b" not in outcome.out + outcome.err
