"""How the training of a Boltzmann generator went, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import FileFormatError
from .ensemble import INK, plain, save_figure
from .training import read_log

_BOTH = (("ess", "effective samples (%)", 100), ("k_hat", "Pareto k-hat", 1))
_ONE_PASS = (("mean_log_q", "mean log q of held-out frames (nats)", 1), ("torus_distance", "torsions: distance from the frames (rad)", 1))
_FLOW = (("loss", "loss of flow matching", 1), ("evaluations", "evaluations of the field for a sample", 1))

_CURVE, _LIMIT = "#3b6ea5", "#c2410c"


def plot_boltzmann_training(log: str | Path, path: str | Path) -> Path:
    """One PNG with the effective share and k-hat of fresh samples, and what else the rounds were looked at by.

    Of a density in one pass that is the mean log density of held-out frames and the torus distance; of a flow the loss, and how often the
    field is evaluated for a sample.

    Parameters
    ----------
    log : str or Path
        ``log.jsonl`` of `training.boltzmann`.
    path : str or Path
        Where to write it.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    FileFormatError
        If the log cannot be read, or no round was looked at.
    """
    rows = read_log(log)
    if not any("k_hat" in row for row in rows):
        raise FileFormatError(f"{log} has no round that was looked at; train longer.")
    return save_figure(boltzmann_figure(rows), path)


def boltzmann_figure(rows: list[dict[str, Any]], stacked: bool = False) -> Figure:
    """The picture of `plot_boltzmann_training`.

    Parameters
    ----------
    rows : list of dict
        Of the log; one at least was looked at.
    stacked : bool
        Panels below one another, for a narrow page.
    """
    seen = [row for row in rows if "k_hat" in row]
    figure = Figure(figsize=(5.2, 12.8) if stacked else (10.4, 6.4), dpi=150, layout="constrained")
    panels = figure.subplots(*((4, 1) if stacked else (2, 2))).ravel()
    first = next((row["round"] for row in rows if row.get("energies")), None)
    for axes, (key, label, scale) in zip(panels, (*_BOTH, *(_ONE_PASS if "mean_log_q" in seen[0] else _FLOW)), strict=True):
        _curve(axes, rows if key == "loss" else seen, key, label, scale, first)
    panels[0].set_ylim(0, 100)
    panels[1].axhline(0.7, color=_LIMIT, lw=0.8, ls="--")
    panels[3].set_ylim(bottom=0)
    return figure


def _curve(axes: Axes, rows: list[dict[str, Any]], key: str, label: str, scale: float, first: int | None) -> None:
    known = [(row["round"], scale * row[key]) for row in rows if row[key] is not None]
    axes.plot(*zip(*known, strict=True) if known else ([], []), "o-", ms=3, lw=1.2, color=_CURVE)
    if first is not None:
        axes.axvline(first - 0.5, color=INK, lw=0.8, ls=":")
    axes.set_xlabel("round")
    axes.set_title(label, fontsize=9, loc="left", color=INK)
    plain(axes)
