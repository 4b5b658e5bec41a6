"""How an alignment went, as a picture: its losses, and molecules that it did not learn from before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..alignment.before_after import BeforeAfter, known_values
from ..errors import FileFormatError
from .ensemble import INK, plain, save_figure, side_by_side

_TRAINING, _HELD_OUT = "#8fa3bf", "#c2410c"

LABELS = {
    "energy_w2": "E-W2 from Boltzmann (kJ/mol)",
    "basin_js": "basin populations: JS divergence (nats)",
    "usable": "share of samples that is the molecule",
    "ess_fraction": "effective share of samples",
    "k_hat": "Pareto k-hat",
}
"""What a comparison's values are called."""


def plot_alignment(rows: Sequence[dict[str, Any]], comparisons: Sequence[BeforeAfter], path: str | Path) -> Path:
    """One PNG: the loss and the effective number of winners against the steps, and each compared value before and after.

    Parameters
    ----------
    rows : sequence of dict
        The log of an alignment.
    comparisons : sequence of BeforeAfter
        None yet while it runs.
    path : str or Path
        Where to write it.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    FileFormatError
        If no round is finished.
    """
    return save_figure(alignment_figure(rows, comparisons), path)


def alignment_figure(rows: Sequence[dict[str, Any]], comparisons: Sequence[BeforeAfter], stacked: bool = False) -> Figure:
    """The picture of `plot_alignment`.

    Parameters
    ----------
    rows : sequence of dict
    comparisons : sequence of BeforeAfter
    stacked : bool
        Panels below one another, for a narrow page.

    Raises
    ------
    FileFormatError
        If no round is finished.
    """
    if not rows:
        raise FileFormatError("No round of the alignment is finished, and there is nothing to draw; give it more steps.")
    shown = [key for key in (comparisons[0].before if comparisons else {}) if key in LABELS and key != "usable"]
    figure, panels = side_by_side(1 + len(shown), (4.4, 4.0), stacked)
    _curves(rows, panels[0])
    for axes, key in zip(panels[1:], shown, strict=True):
        _before_and_after(comparisons, key, axes)
    return figure


def _curves(rows: Sequence[dict[str, Any]], axes: Axes) -> None:
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["loss"] for row in rows], color=_TRAINING, lw=1.2, label="learnt from")
    axes.plot(steps, [row["val_loss"] for row in rows], "o-", ms=3, color=_HELD_OUT, lw=1.2, label="held out")
    axes.axhline(rows[-1]["start_loss"], color=_HELD_OUT, lw=0.8, ls="--", label="held out, before")
    axes.axhline(rows[-1]["target_entropy"], color=INK, lw=0.8, ls=":", label="entropy of the target")
    axes.set_xlabel("step")
    axes.set_title(f"loss (nats); {rows[-1]['effective_winners']:.1f} effective winners", fontsize=9, loc="left", color=INK)
    axes.legend(fontsize=8, frameon=False)
    plain(axes)


def _before_and_after(comparisons: Sequence[BeforeAfter], key: str, axes: Axes) -> None:
    known = known_values(comparisons, key)
    axes.plot(*zip(*known, strict=True) if known else ([], []), "o", ms=4, color=_HELD_OUT, alpha=0.7)
    top = 1.05 * max([value for pair in known for value in pair], default=1.0)
    axes.plot([0, top], [0, top], color=INK, lw=0.8, ls=":")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("before")
    axes.set_ylabel("after")
    axes.set_title(LABELS[key], fontsize=9, loc="left", color=INK)
    plain(axes)
