"""A picture of Boltzmann weights: how far they spread, and what decides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import logsumexp

from ..reweighting import Reweighted
from ..thermodynamics.diagnostics import WeightDiagnostics
from ..thermodynamics.normalised import normalised_weights
from .ensemble import INK, plain, save_figure

SAMPLES, TARGET = "#8fa3bf", "#c2410c"
"""Colours of what was drawn, and of what it is weighed to."""


def plot_weights(reweighted: Reweighted, path: str | Path, title: str | None = None) -> Path:
    """One PNG with the histogram of the weights, and how much of the weight their largest hold.

    Parameters
    ----------
    reweighted : Reweighted
    path : str or Path
        Where to write it.
    title : str, optional
        Default: the molecule's name.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileFormatError
        If it cannot be written.
    """
    figure = Figure(figsize=(10.4, 4.2), dpi=150, layout="constrained")
    histogram, shares = figure.subplots(1, 2)
    weight_histogram(reweighted, histogram)
    weight_shares(reweighted, shares)
    heading = f"{title or reweighted.ensemble.graph.name}: {diagnostics_text(reweighted.diagnostics)}"
    figure.suptitle(heading, fontsize=12, color=INK if reweighted.diagnostics.trusted else "#b91c1c", parse_math=False)
    return save_figure(figure, path)


def weight_histogram(reweighted: Reweighted, axes: Axes) -> None:
    """How many samples have which weight, and how the same samples are spread once they are weighed.

    Where the second histogram ends at the right before the first one does, the samples reach what counts.

    Parameters
    ----------
    reweighted : Reweighted
    axes : Axes
        To draw in.
    """
    logs = reweighted.log_weights[np.isfinite(reweighted.log_weights)]
    # relative to the mean, so that a perfect generator has all of them at 0
    relative = logs - (logsumexp(logs) - math.log(len(logs)))
    # the few far down weigh nothing
    low, high = max(relative.min(), relative.max() - 40), relative.max()
    bins = np.linspace(low, high + 1e-3, 61).tolist()
    axes.hist(np.maximum(relative, low), bins, color=SAMPLES, label="samples")
    weights = normalised_weights(logs) * len(logs)
    axes.hist(np.maximum(relative, low), bins, weights=weights, color=TARGET, histtype="step", linewidth=1.6, label="weighed")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.axvline(0.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("ln(weight / mean weight)")
    axes.set_ylabel("samples")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")
    plain(axes)


def weight_shares(reweighted: Reweighted, axes: Axes) -> None:
    """Which share of all weight the largest weights hold: the diagonal, if all are equal.

    Parameters
    ----------
    reweighted : Reweighted
    axes : Axes
        To draw in.
    """
    shares = np.sort(normalised_weights(reweighted.log_weights))[::-1].cumsum()
    part = np.arange(1, len(shares) + 1) / len(shares)
    axes.plot(part, shares, color=TARGET, linewidth=1.6, label="these weights")
    axes.plot(part, part, color=INK, linewidth=0.8, linestyle=":", label="equal weights")
    axes.set_xscale("log")
    axes.set_xlim(min(part[0], 0.5), 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("share of the samples, largest weights first")
    axes.set_ylabel("share of the weight")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")
    plain(axes)


def diagnostics_text(found: WeightDiagnostics) -> str:
    """k-hat and effective sample size in a few words, for titles.

    Parameters
    ----------
    found : WeightDiagnostics
    """
    if found.k_hat is None or found.threshold is None:
        return f"{found.n} samples, too few for k-hat: ESS withheld"
    k_hat = f"k-hat {found.k_hat:.2f} ({'within' if found.k_hat <= found.threshold else 'above'} {found.threshold:.2f})"
    lowered = f", {found.truncated} truncated" if found.truncated else ""
    if found.ess_fraction is None:
        return f"{k_hat}, ESS withheld{lowered}"
    return f"{k_hat}, ESS {100 * found.ess_fraction:.3g} % of {found.n:,}{lowered}"
