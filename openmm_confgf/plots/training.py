"""The losses of a training run as a picture: all together, and the parts that its objective names."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from ..errors import FileFormatError
from ..molecules.colours import COLOURS
from .ensemble import INK, plain, save_figure, side_by_side

if TYPE_CHECKING:
    from ..training.objectives.base import Objective

_TRAINING, _VALIDATION = "#8fa3bf", "#c2410c"


def plot_training(log: str | Path, path: str | Path, objective: Objective[Any, Any]) -> Path:
    """One PNG with the training and validation loss of a run against its steps, and the objective's parts if they were logged.

    Parameters
    ----------
    log : str or Path
        ``log.jsonl`` of `training.recipe.train`: one JSON object per round.
    path : str or Path
        Where to write it; an earlier picture is replaced when this one is complete.
    objective : Objective
        What the run learns; `training.objectives.registry.find_objective` gives that of a preset.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    FileFormatError
        If the log cannot be read, or has no round.
    """
    rows = read_log(log)
    return save_figure(training_figure(rows, objective), path)


def training_figure(rows: list[dict[str, Any]], objective: Objective[Any, Any], stacked: bool = False) -> Figure:
    """The picture of `plot_training`.

    Parameters
    ----------
    rows : list of dict
        Of a log.
    objective : Objective
    stacked : bool
        Panels below one another, for a narrow page.
    """
    panels = 1 + any(_curve(rows, part.name)[0] for part in objective.parts)
    figure, axes = side_by_side(panels, (5.2 if panels > 1 else 5.4, 4.0), stacked)
    loss_curves(rows, axes[0], objective)
    if panels > 1:
        part_curves(rows, axes[1], objective)
    return figure


def loss_curves(rows: list[dict[str, Any]], axes: Axes, objective: Objective[Any, Any]) -> None:
    """Training and validation loss, and where the latter is lowest.

    Parameters
    ----------
    rows : list of dict
        Of a log.
    axes : matplotlib.axes.Axes
    objective : Objective
    """
    for name, label, colour in (("loss", "training", _TRAINING), ("val_loss", "validation", _VALIDATION)):
        steps, values = _curve(rows, name)
        axes.plot(steps, values, "o-", color=colour, label=label, linewidth=1.6, markersize=_marker(len(steps)))
    steps, values = _curve(rows, "val_loss")
    if values:
        lowest = min(range(len(values)), key=values.__getitem__)
        axes.axhline(values[lowest], color=_VALIDATION, linewidth=0.7, linestyle=":")
        label = f"lowest: {values[lowest]:.4g} at step {steps[lowest]:,.0f}"
        ring: dict[str, Any] = {"markersize": 8, "markerfacecolor": "white", "markeredgecolor": _VALIDATION, "markeredgewidth": 1.8}
        axes.plot(steps[lowest], values[lowest], "o", color=_VALIDATION, label=label, **ring)
    axes.legend(edgecolor="none", framealpha=0.8, fontsize=8.5, labelcolor=INK)
    axes.set_title(objective.title, fontsize=10, color=INK)
    _finish(axes)


def part_curves(rows: list[dict[str, Any]], axes: Axes, objective: Objective[Any, Any]) -> None:
    """What validation told beside its loss: graded parts on a scale of colours, others dashed; parts that were never logged are left out.

    Parameters
    ----------
    rows : list of dict
        Of a log.
    axes : matplotlib.axes.Axes
    objective : Objective
    """
    logged = [part for part in objective.parts if _curve(rows, part.name)[0]]
    graded = [part for part in logged if part.graded]
    for part in logged:
        steps, values = _curve(rows, part.name)
        colour = colormaps[COLOURS](0.08 + 0.87 * graded.index(part) / max(1, len(graded) - 1)) if part.graded else INK
        line = "o-" if part.graded else "o--"
        axes.plot(steps, values, line, color=colour, label=part.label, linewidth=1.3, markersize=_marker(len(steps)))
    # beside the axes, since the curves leave no corner free
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, title=objective.parts_legend, title_fontsize=8.5, **place)
    axes.set_title(objective.parts_title, fontsize=10, color=INK)
    _finish(axes)


def read_log(log: str | Path) -> list[dict[str, Any]]:
    """The rounds of a run.

    Parameters
    ----------
    log : str or Path
        A ``log.jsonl``: one JSON object per round.

    Raises
    ------
    FileFormatError
        If it cannot be read, or has no round.
    """
    try:
        rows = [dict(json.loads(line)) for line in Path(log).read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(f"{log} cannot be read as the log of a training ({error}); give a run's log.jsonl.") from error
    if not rows:
        raise FileFormatError(f"{log} has no round yet; wait for the first one.")
    return rows


def _curve(rows: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and finite values of one metric."""
    found = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
    return [step for step, _ in found], [value for _, value in found]


def _marker(points: int) -> float:
    """Dots that show single rounds, and vanish where there are many."""
    return 3.5 if points <= 40 else 0.0


def _finish(axes: Axes) -> None:
    axes.set_xlabel("step")
    plain(axes)
    axes.grid(axis="y", color="#e5e9f0", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    low, high = axes.dataLim.intervaly
    if 0 < low and high > 3 * low:
        # the first rounds of a run from scratch may leave the picture, for its end to be seen
        ends = [float(np.asarray(line.get_ydata())[-1]) for line in axes.lines]
        axes.set_ylim(0.9 * low, min(1.1 * high, 5 * max(ends)))
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
