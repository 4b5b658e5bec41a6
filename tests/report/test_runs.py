import json

import pytest

from openmm_confgf.errors import ConfGFError, FileFormatError, WeightsError
from openmm_confgf.files import write_ensembles
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.report import report_page
from openmm_confgf.report.runs import run_page
from openmm_confgf.training.boltzmann.outcome import beyond_weights, largest_r_hat


def write_log(folder, rows):
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_card(folder, name, **changes):
    known = {"config": {"width": 4}, "sha256": "ab", "elements": [1, 8], "min_atoms": 4, "max_atoms": 9, "trained_on": ["a", "b"]}
    card = Card(name=name, architecture="Net", training={"curve": {"loss": [1.0]}, "seed": 7}, data=[], **known)
    fields = {key: getattr(card, key) for key in card.__dataclass_fields__} | changes
    (folder / f"{name}.json").write_text(Card(**fields).to_json())
    (folder / f"{name}.safetensors").write_bytes(b"")


@pytest.fixture
def training(tmp_path):
    rounds = ({"loss": 1.5, "val_loss": 1.0, "seconds": 3.0}, {"loss": 1.2, "val_loss": 1.1})
    write_log(tmp_path, [{"step": 0, "val_loss": 2.0}, *({"step": 10 * k} | one for k, one in enumerate(rounds, 1))])
    (tmp_path / "run.json").write_text(json.dumps({"preset": "confgf", "seed": 7}))
    return tmp_path


@pytest.fixture
def boltzmann(tmp_path):
    seen = {"ess": 0.4, "k_hat": 0.5, "mean_log_q": 100.0, "torus_distance": 0.02}
    rows = [{"round": k, "step": 40 * k, "loss": -k, "energies": 0.0, "seconds": 9.0, **(seen if k == 2 else {})} for k in (1, 2, 3)]
    write_log(tmp_path, rows)
    return tmp_path


@pytest.fixture
def alignment(tmp_path):
    shared = {"start_loss": 2.0, "effective_winners": 1.9, "target_entropy": 0.5, "seconds": 3.0}
    write_log(tmp_path, [{"round": k, "step": 20 * k, "loss": 3.0, "val_loss": 2.0 - 0.1 * k, **shared} for k in (1, 2)])
    sides = {"before": {"energy_w2": 3.0, "basin_js": 0.2, "usable": 1.0}, "after": {"energy_w2": 2.0, "basin_js": None, "usable": 1.0}}
    (tmp_path / "comparison.json").write_text(json.dumps([{"molecule": "<b>butanol", **sides}]))
    return tmp_path


def test_panels_stand_below_one_another_on_narrow_pages(training):
    rows = [{"step": k, "val_loss": 1.0, "val_loss_above_0.0": 2.0, "val_loss_above_0.1": 1.0} for k in range(3)]
    write_log(training, rows)
    (picture,) = report_page(training).pictures
    assert picture.wide and picture.narrow not in (None, picture.source)


def test_a_training_that_goes_on(training):
    page = report_page(training)
    assert page.subtitle == "training of confgf" and "went from 2 to 1." in page.statement.headline and page.statement.tone == "plain"
    assert page.statement.facts[0].value == "1 at step 10" and "not finished" in page.notes[0]
    (picture,) = page.pictures
    assert not picture.wide and picture.narrow is None
    assert dict(page.provenance)["seed"] == "7" and not page.molecules and "$3Dmol" not in page.to_html().replace("$3Dmol.create", "")


def test_a_finished_training_tells_its_card(training):
    write_card(training, "confgf", parent={"name": "older", "sha256": "cd", "data": [], "parent": None})
    page = report_page(training)
    rows = dict(page.provenance)
    assert rows["trained on"] == "2 molecules of 4 to 9 atoms" and rows["started from"] == "older, SHA-256 cd" and "curve" not in rows
    assert not page.notes


def test_a_boltzmann_generator_is_judged_by_its_samples(boltzmann, peroxide_samples):
    unfinished = report_page(boltzmann)
    assert unfinished.statement.tone == "bad" and "effective samples were 40 %, k-hat 0.50" in unfinished.statement.headline
    write_ensembles(peroxide_samples, boltzmann / "samples.h5")
    data = [{"molecule": "OO", "generator": "md", "r_hat_energy": 1.2, "r_hat_torsions": None}]
    write_card(boltzmann, "boltzmann", data=data, target=CardTarget("springs", 300.0))
    page = report_page(boltzmann)
    assert page.statement.tone == "good" and "R-hat 1.20, above 1.01" in page.statement.headline
    assert [one.title for one in page.pictures][:2] == ["Training", "Weights"] and page.molecules[0]["count"] == 500
    assert dict(page.provenance)["made to sample"] == "springs at 300 K"


def test_what_weights_cannot_show_is_said_of_known_data_only():
    assert largest_r_hat({"r_hat_energy": 1.0, "r_hat_torsions": 1.5}) == 1.5 and not beyond_weights({"r_hat_energy": float("nan")})
    assert "Nothing was simulated" in beyond_weights({"generator": "the weights to start from"})


def test_an_alignment_compares_before_and_after(alignment):
    page = report_page(alignment)
    assert "not finished: the loss of molecules that are held out was 2 before and is 1.8 after round 2" in page.statement.headline
    ((_, table),) = page.tables
    assert table.rows == [["<b>butanol", 3.0, 2.0, 0.2, None, 1.0, 1.0]] and "<b>butanol" not in page.to_html()
    write_card(alignment, "tbg-eba", training={"best_round": 2})
    assert report_page(alignment).statement.headline.startswith("The weights are those of round 2")
    write_card(alignment, "tbg-eba", training={"best_round": 0})
    assert report_page(alignment).statement.headline.startswith("No round was better")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.jsonl", "", "has no round yet"),
        ("log.jsonl", "{", "cannot be read as the log"),
        ("log.jsonl", "[1]\n", "cannot be read as the log"),
        ("log.jsonl", '{"effective_winners": 1}\n', "is not the log of a run"),
        ("log.jsonl", '{"round": 1}\n', "is not the log of a run"),
        ("log.jsonl", '{"step": "x", "val_loss": 1}\n', "is not the log of a run"),
        ("run.json", "{", "is damaged"),
        ("run.json", '{"preset": "<x>"}', "preset '<x>' is unknown"),
        ("comparison.json", "[1]", "is damaged"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(alignment, training, tmp_path, name, content, said):
    if name == "comparison.json":
        write_log(tmp_path, [{"round": 1, "step": 1, "effective_winners": 1.0, "start_loss": 1.0, "val_loss": 1.0, "loss": 1.0}])
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfGFError, match=said) as caught:
        run_page(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_card_is_refused(training):
    write_card(training, "confgf")
    (training / "confgf.json").write_text("{}")
    with pytest.raises(WeightsError, match="is not a weights card"):
        run_page(training)


def test_samples_that_cannot_be_read_are_refused(boltzmann):
    (boltzmann / "samples.h5").write_bytes(b"x" * 100)
    with pytest.raises(FileFormatError, match="samples.h5"):
        run_page(boltzmann)
