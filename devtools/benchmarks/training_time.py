"""Effective samples against training time of several runs, on one plot; figures in docs/tbg.md.

    python devtools/benchmarks/training_time.py "one pass=ala2/log.jsonl" "flow=ala2-tbg/log.jsonl" --line "published=6.03" -o time.png

A log is that of `train boltzmann` or `train tbg`; its rounds count the seconds of steps and looks, not those of the simulation that both
learn from. Rows whose effective sample size was withheld (k-hat) have no point.
"""

import argparse
import json
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure

from openmm_confgf.plots.ensemble import INK, plain, save_figure

_COLOURS = ("#3b6ea5", "#c2410c", "#4d7c0f", "#7c3aed")


def points(log: Path) -> list[tuple[float, float, bool]]:
    """Minutes, effective share in %, and whether energies had been learnt by then."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    minutes = accumulate(row["seconds"] / 60 for row in rows)
    return [(time, 100 * row["ess"], bool(row.get("energies"))) for time, row in zip(minutes, rows, strict=True) if row.get("ess")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="LABEL=LOG")
    parser.add_argument("--line", action="append", default=[], metavar="LABEL=PERCENT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    for colour, given in zip(_COLOURS, arguments.logs, strict=False):
        label, _, path = given.rpartition("=")
        known = points(Path(path))
        axes.plot([p[0] for p in known], [p[1] for p in known], "o-", ms=3, lw=1.2, color=colour, label=label)
        tuned = [p for p in known if p[2]]
        if tuned:
            axes.axvline(tuned[0][0], color=colour, lw=0.8, ls=":")
            axes.annotate("energies", (tuned[0][0], 1), xycoords=("data", "axes fraction"), fontsize=7, color=colour, va="top")
        for time, share, _ in known:
            print(f"{label}: {time:.1f} min, {share:.2f} %")
    for given in arguments.line:
        label, _, percent = given.rpartition("=")
        axes.axhline(float(percent), color=INK, lw=0.8, ls="--", label=label)
    axes.set_yscale("log")
    axes.set_xlabel("minutes of training")
    axes.set_title("effective samples (%)", fontsize=9, loc="left", color=INK)
    axes.legend(fontsize=8, frameon=False)
    plain(axes)
    save_figure(figure, arguments.output)
