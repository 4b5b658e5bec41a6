"""Effective samples, and k-hat of the weights, against training time of several runs, on one plot; figures in docs/tbg.md.

    python devtools/benchmarks/training_time.py "one pass=ala2/log.jsonl" "flow=ala2-tbg/log.jsonl" --line "published=6.03" -o time.png

A log is that of `train boltzmann` or `train tbg`; its rounds count the seconds of steps and looks, not those of the simulation that both
learn from. Effective samples that were withheld, since k-hat is above 0.7, have no point; k-hat has one of every look.
"""

import argparse
import json
import math
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from openmm_confgf.plots.ensemble import INK, plain, save_figure

_COLOURS = ("#3b6ea5", "#c2410c", "#4d7c0f", "#7c3aed")
HIGHEST = 5.0
"""A larger k-hat is drawn there; it is infinite where one weight is as good as all."""
SHARES = (2, 5, 10, 20, 50, 100)
MOST_K_HAT = 0.7
"""Of many samples, as `k_hat_threshold` has it."""


class Look(NamedTuple):
    """At a run: minutes, effective share in % where it can be trusted, k-hat, and whether energies had been learnt by then."""

    minutes: float
    share: float
    k_hat: float
    energies: bool


def looks(log: Path) -> list[Look]:
    """Those of a log; NaN where an effective share was withheld."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    minutes = accumulate(row["seconds"] / 60 for row in rows)
    return [
        Look(time, 100 * (row["ess"] or math.nan), row["k_hat"], bool(row.get("energies")))
        for time, row in zip(minutes, rows, strict=True)
        if row.get("k_hat") is not None
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="LABEL=LOG")
    parser.add_argument("--line", action="append", default=[], metavar="LABEL=PERCENT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(6.4, 6.0), dpi=150, layout="constrained")
    shares, tails = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    for colour, given in zip(_COLOURS, arguments.logs, strict=False):
        label, _, path = given.rpartition("=")
        known = looks(Path(path))
        minutes = [look.minutes for look in known]
        shares.plot(minutes, [look.share for look in known], "o-", ms=3, lw=1.2, color=colour)
        tails.plot(minutes, [min(look.k_hat, HIGHEST) for look in known], "o-", ms=3, lw=1.2, color=colour, label=label)
        if tuned := [look for look in known if look.energies]:
            shares.axvline(tuned[0].minutes, color=colour, lw=0.8, ls=":")
            shares.annotate("energies", (tuned[0].minutes, 1), xycoords=("data", "axes fraction"), fontsize=7, color=colour, va="top")
        for look in known:
            print(f"{label}: {look.minutes:.1f} min, " + (f"{look.share:.2f} %, " if look.share > 0 else "") + f"k-hat {look.k_hat:.2f}")
    for given in arguments.line:
        label, _, percent = given.rpartition("=")
        shares.axhline(float(percent), color=INK, lw=0.8, ls="--")
        shares.annotate(label, (1, float(percent)), xycoords=("axes fraction", "data"), fontsize=7, color=INK, ha="right", va="bottom")
    shares.set_yscale("log")
    shares.set_yticks(SHARES, [str(share) for share in SHARES])
    shares.minorticks_off()
    shares.set_title("effective samples (%), where k-hat allows them", fontsize=9, loc="left", color=INK)
    tails.axhline(MOST_K_HAT, color=INK, lw=0.8, ls="--")
    tails.set_ylim(bottom=0)
    tails.set_title(f"k-hat of the weights ({HIGHEST:g}: that or more)", fontsize=9, loc="left", color=INK)
    tails.set_xlabel("minutes of training")
    tails.legend(fontsize=8, frameon=False)
    plain(shares)
    plain(tails)
    save_figure(figure, arguments.output)
