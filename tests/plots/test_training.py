import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from openmm_confgf.errors import FileFormatError
from openmm_confgf.plots.training import loss_curves, part_curves, plot_training
from openmm_confgf.training.objectives.denoising import Denoising
from openmm_confgf.training.objectives.distance_scores import DistanceScores

DENOISING = Denoising()

ROWS = [
    {"step": 0, "val_loss": 0.5, "val_loss_above_0.0": 0.9, "val_loss_above_1.2": 0.1},
    {"step": 10, "loss": 0.6, "val_loss": 0.3, "val_loss_above_0.0": 0.8, "val_loss_above_1.2": 0.09},
    {"step": 20, "loss": 0.5, "val_loss": 0.4, "val_loss_above_0.0": 0.7, "val_loss_above_1.2": 0.08},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pixels(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_picture_has_a_panel_more_where_noise_levels_were_logged(tmp_path):
    both = pixels(plot_training(write(tmp_path / "log.jsonl", ROWS), tmp_path / "loss.png", DENOISING))
    assert both.shape == (600, 1560, 3)
    losses = [{key: value for key, value in row.items() if "above" not in key} for row in ROWS]
    one = pixels(plot_training(write(tmp_path / "log.jsonl", losses), tmp_path / "loss.png", DENOISING))
    assert one.shape == (600, 810, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "loss.png"]


def test_picture_changes_with_the_log(tmp_path):
    first = pixels(plot_training(write(tmp_path / "log.jsonl", ROWS[:1]), tmp_path / "loss.png", DENOISING))
    second = pixels(plot_training(write(tmp_path / "log.jsonl", ROWS), tmp_path / "loss.png", DENOISING))
    assert (first != second).any()


def test_losses_are_drawn_at_their_steps_and_the_lowest_is_named():
    axes = Figure().subplots()
    loss_curves(ROWS, axes, DENOISING)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["training"] == [[10, 0.6], [20, 0.5]]  # none before the first step
    assert drawn["validation"] == [[0, 0.5], [10, 0.3], [20, 0.4]]
    assert drawn["lowest: 0.3 at step 10"] == [[10, 0.3]]


def test_parts_are_drawn_as_the_objective_names_them():
    axes = Figure().subplots()
    part_curves([row | {"val_loss_paths": 2 * row["val_loss"], "val_other": 1.0} for row in ROWS], axes, DENOISING)
    drawn = {line.get_label(): line for line in axes.lines}
    assert list(drawn) == ["0 to 0.02", "above 1.2", "on paths"]  # none that was not logged, nor one that is nobody's
    assert drawn["above 1.2"].get_ydata().tolist() == [0.1, 0.09, 0.08]
    assert drawn["on paths"].get_xydata().tolist() == [[0, 1.0], [10, 0.6], [20, 0.8]]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "--"]
    assert axes.get_title() == "validation by noise level" and axes.get_legend().get_title().get_text() == "noise (Å)"


def test_an_objective_without_parts_has_one_panel(tmp_path):
    one = pixels(plot_training(write(tmp_path / "log.jsonl", ROWS), tmp_path / "loss.png", DistanceScores()))
    assert one.shape == (600, 810, 3)


def test_a_range_of_values_over_decades_is_logarithmic_and_one_that_is_not_is_linear():
    axes, wide = Figure().subplots(), Figure().subplots()
    loss_curves(ROWS, axes, DENOISING)
    loss_curves([{"step": 1, "loss": 100.0, "val_loss": 90.0}, *ROWS[1:]], wide, DENOISING)
    assert axes.get_yscale() == "linear" and wide.get_yscale() == "log"


def test_values_that_are_not_finite_are_left_out():
    axes = Figure().subplots()
    loss_curves([*ROWS, {"step": 30, "loss": float("nan"), "val_loss": float("inf")}], axes, DENOISING)
    assert max(line.get_xdata().max() for line in axes.lines if len(line.get_xdata()) == 3) == 20


@pytest.mark.parametrize("content", [None, "", "not a log\n"])
def test_no_log_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(FileFormatError):
        plot_training(tmp_path / "log.jsonl", tmp_path / "loss.png", DENOISING)
    assert not (tmp_path / "loss.png").exists()
