import json

import numpy as np
import pytest

from openmm_confgf.ensemble import Ensemble, Provenance, Target
from openmm_confgf.errors import FileFormatError, UnsupportedMoleculeError
from openmm_confgf.files import write_ensembles
from openmm_confgf.library import Store
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.report import ensemble_page, report_page, write_report
from openmm_confgf.report.conformations import MOST_EACH


@pytest.fixture
def sdf(butanol, tmp_path):
    return write_ensembles(butanol, tmp_path / "in.sdf")[0]


def test_an_sdf_of_one_molecule(sdf, butanol, tmp_path):
    path = write_report(sdf, tmp_path / "new" / "report.html")
    page = report_page(sdf)
    assert page.title == "butanol" and page.subtitle == "11 conformations of 15 atoms" and not page.index
    rows = dict(page.provenance)
    assert rows["read from"] == "in.sdf" and len(rows["its SHA-256"]) == 64 and rows["generator"] == "etkdg" and rows["seed"] == "1"
    assert path.read_text(encoding="utf-8") == page.to_html()


def test_an_ensemble_as_it_is(butanol, tmp_path):
    assert write_report(butanol, tmp_path / "r.html").stat().st_size > 500_000


def test_weighted_samples_in_hdf5(peroxide_samples, tmp_path):
    (path,) = write_ensembles(peroxide_samples, tmp_path / "samples.h5")
    page = report_page(path)
    assert page.statement.tone == "good" and dict(page.provenance)["temperature"] == "300 K"
    assert page.molecules[0]["count"] == 500 and "500 of 4,000" in page.molecules[0]["thinned"]


def test_bad_samples_are_said_to_be_left_out(butanol, tmp_path):
    (path,) = write_ensembles(butanol, tmp_path / "in.h5")
    assert report_page(path).notes == ["1 bad samples are left out of the viewer, the table and the pictures of energies and torsions."]


def test_many_molecules_are_an_index(butanol, hostile, tmp_path):
    (path,) = write_ensembles([butanol, *hostile[:2]], tmp_path / "many.sdf")
    text = path.read_text().replace("M  END", "M  END", 1)
    path.write_text(text + "broken\n\n\n  nonsense\nM  END\n$$$$\n")
    page = report_page(path)
    assert [one.molecule for one in page.index] == [0, 1, 2, None] and page.index[3].problem
    assert page.index[0].conformations == 11 and page.index[0].lowest == pytest.approx(butanol.energy[butanol.ok].min(), abs=1e-3)
    assert page.subtitle == "4 molecules" and page.index[0].thumbnail.startswith("data:image/svg+xml")
    assert page.molecules[0]["count"] <= MOST_EACH and page.title == "many.sdf"


def test_more_molecules_than_a_page_bears(butanol, hostile, tmp_path, monkeypatch):
    (path,) = write_ensembles([butanol, *hostile[:3]], tmp_path / "many.sdf")
    monkeypatch.setattr("openmm_confgf.report.conformations.MOST_MOLECULES", 2)
    page = report_page(path)
    assert len(page.index) == 2 and "The first 2 of 4 molecules are listed" in page.notes[0]
    monkeypatch.setattr("openmm_confgf.report.conformations.MOST_ATOMS", 5)
    assert [one.molecule for one in report_page(path).index] == [None, 0]


def test_what_a_library_has_finished(butanol, tmp_path):
    store = Store(tmp_path / "out.sdf", {"n": 1})
    store.keep("aa", butanol)
    store.keep("bb", UnsupportedMoleculeError("Selenium was never seen."))
    (store.folder / "cc.json").write_text("{")
    (store.folder / "dd.h5").write_bytes(b"no HDF5")
    page = report_page(store.folder)
    assert [bool(one.problem) for one in page.index] == [False, True, True, True]
    assert page.index[1].problem == "Selenium was never seen." and page.statement.facts[1].value == "3"


def test_all_that_failed_is_an_error_of_one_sentence(tmp_path):
    path = tmp_path / "bad.sdf"
    path.write_text("broken\n\n\n  nonsense\nM  END\n$$$$\n" * 2)
    with pytest.raises(FileFormatError, match="bad.sdf has no record that can be used; the first: "):
        report_page(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", b"text", "nothing that a report can be made of; give conformers"),
        ("no_suffix", b"text", "nothing that a report can be made of"),
        ("empty.sdf", b"", "is empty"),
        ("empty.h5", b"", "is empty"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "cut.h5"),
        ("binary.sdf", bytes(range(256)), "is no text file"),
        ("list.smi", b"CCO", "nothing that a report can be made of"),
    ],
)
def test_what_is_no_input_is_refused_in_one_sentence(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=said) as caught:
        report_page(path)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist; give conformers"):
        report_page(tmp_path / "none.sdf")
    with pytest.raises(FileFormatError, match="neither the log of a run"):
        report_page(tmp_path)


def test_a_damaged_hdf5_is_refused(butanol, tmp_path):
    (path,) = write_ensembles(butanol, tmp_path / "in.h5")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="in.h5"):
        report_page(path)


@pytest.mark.parametrize(
    ("name", "said"), [("report.txt", "ends in .html"), ("report", "ends in .html"), ("folder.html", "is a directory")]
)
def test_reports_have_a_name_of_their_own(butanol, tmp_path, name, said):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(FileFormatError, match=said):
        write_report(butanol, tmp_path / name)


def test_a_full_disk_leaves_the_earlier_report(butanol, tiny_disk):
    earlier = tiny_disk / "report.html"
    earlier.write_text("earlier")
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_report(butanol, earlier)
    assert [path.name for path in tiny_disk.iterdir()] == ["report.html"] and earlier.read_text() == "earlier"


@pytest.mark.parametrize("smiles", ["[Ar]", "[H][H]", "O", "CC#CC"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_small_and_empty_ensembles_have_a_page(smiles, count):
    graph = MolecularGraph.from_smiles(smiles)
    positions = np.random.default_rng(0).normal(size=(count, len(graph), 3))
    bare = Ensemble(graph, positions, Provenance("made up", "1"))
    for energy in (np.arange(float(count)), np.full(count, np.nan)):
        weighed = bare.replace(energy=energy, log_q=np.zeros(count), target=Target("made up", None, 300.0))
        for one in (bare, bare.replace(energy=energy), weighed):
            assert ensemble_page(one).to_html().count("<main>") == 1


def test_energies_far_apart_do_not_break_json(butanol):
    energy = np.where(butanol.energy > 5, 1e300, butanol.energy)
    json.dumps(ensemble_page(butanol.replace(energy=energy)).molecules, allow_nan=False)
