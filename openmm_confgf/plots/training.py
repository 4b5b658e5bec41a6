"""The loss curve of a training run as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from ..errors import FileFormatError
from .ensemble import COLOURS, INK, plain, save_figure

_LEVEL = "val_loss_above_"
_TRAINING, _VALIDATION = "#8fa3bf", "#c2410c"


def plot_training(log: str | Path, path: str | Path) -> Path:
    """One PNG with the training and validation loss of a run against its steps, and the validation loss by noise level if it was logged.

    Parameters
    ----------
    log : str or Path
        ``log.jsonl`` of `training.recipe.train`: one JSON object per round.
    path : str or Path
        Where to write it; an earlier picture is replaced when this one is complete.

    Raises
    ------
    FileFormatError
        If the log cannot be read, or has no round.
    """
    rows = _read(Path(log))
    levels = sorted({name for row in rows for name in row if name.startswith(_LEVEL)}, key=lambda name: float(name.removeprefix(_LEVEL)))
    figure = Figure(figsize=(10.4 if levels else 5.4, 4.0), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2 if levels else 1, squeeze=False)[0]
    loss_curves(rows, panels[0])
    if levels:
        level_curves(rows, levels, panels[1])
    return save_figure(figure, path)


def loss_curves(rows: list[dict[str, Any]], axes: Axes) -> None:
    """Training and validation loss, and where the latter is lowest."""
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
    axes.set_title("denoising loss", fontsize=10, color=INK)
    _finish(axes)


def level_curves(rows: list[dict[str, Any]], levels: list[str], axes: Axes) -> None:
    """Validation loss of each range of noise levels, and of paths where there are some."""
    lower = [float(name.removeprefix(_LEVEL)) for name in levels]
    upper = [*(f"{value:g}" for value in lower[1:]), None]
    for k, name in enumerate(levels):
        steps, values = _curve(rows, name)
        label = f"{lower[k]:g} to {upper[k]}" if upper[k] else f"above {lower[k]:g}"
        colour = colormaps[COLOURS](0.08 + 0.87 * k / max(1, len(levels) - 1))
        axes.plot(steps, values, "o-", color=colour, label=label, linewidth=1.3, markersize=_marker(len(steps)))
    steps, values = _curve(rows, "val_loss_paths")
    if values:
        axes.plot(steps, values, "o--", color=INK, label="on paths", linewidth=1.3, markersize=_marker(len(steps)))
    # beside the axes, since the curves leave no corner free
    axes.legend(
        frameon=False, fontsize=8.5, labelcolor=INK, title="noise (Å)", title_fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    axes.set_title("validation by noise level", fontsize=10, color=INK)
    _finish(axes)


def _read(log: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{log} is no log of a training run ({error}); give a run's log.jsonl.") from error
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
