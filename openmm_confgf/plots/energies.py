"""Pictures of the benchmark of energies: cost against atoms, and against the size of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from ..benchmarks.energy_report import EnergyBenchmark, EnergyRow, Method, SystemTimings
from ..errors import ConfGFError
from ..molecules.colours import COLOURS
from .ensemble import INK, plain, save_figure

_QUANTITIES: tuple[tuple[Literal["energy_us", "forces_us"], str], ...] = (("energy_us", "energies"), ("forces_us", "energies and forces"))
_COST = "µs per conformation"

_TORCH = {("eager", "double"): 0.1, ("eager", "single"): 0.35, ("compiled", "double"): 0.65, ("compiled", "single"): 0.95}
"""Where on the colour map each of torch's ways is: dark is fast."""

_OPENMM = {"CustomGBForce": ("s", "--", "#b45309"), "GBSAOBCForce": ("^", "-.", "#db2777"), None: ("D", ":", "#8fa3bf")}
"""Marker, line and colour of OpenMM's fastest platform by the form of the solvent."""


def plot_sizes(result: EnergyBenchmark, path: str | Path) -> Path:
    """One PNG with the cost of a conformation against its number of atoms, on log scales; a panel each for energies and with forces.

    Lines join the Systems with implicit solvent; markers of those in vacuum are hollow. OpenMM is its fastest platform.

    Parameters
    ----------
    result : EnergyBenchmark
    path : str or Path
        Where to write it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileFormatError
        If it cannot be written.
    """
    quantities = _QUANTITIES if result.forces else _QUANTITIES[:1]
    figure = Figure(figsize=(3.6 + 4.2 * len(quantities), 4.4), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(quantities), sharey=True, squeeze=False)[0]
    for axes, (quantity, title) in zip(panels, quantities, strict=True):
        cost_against_atoms(result, axes, quantity)
        axes.set_title(title, fontsize=10, color=INK)
    panels[0].set_ylabel(_COST)
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    if any(not system.implicit_solvent for system in result.systems):
        handles["hollow: in vacuum"] = Line2D([], [], marker="o", linestyle="none", color=INK, markerfacecolor="white")
    _legend(panels[-1], handles)
    figure.suptitle(f"{result.cpu}{_threads(result)}, batches of up to {result.batch}", fontsize=10, color=INK)
    return save_figure(figure, path)


def plot_batch_sizes(result: EnergyBenchmark, path: str | Path) -> Path:
    """One PNG with the cost of a conformation against the size of the batch, on log scales, and OpenMM's fastest beside it.

    Parameters
    ----------
    result : EnergyBenchmark
        With a curve.
    path : str or Path
        Where to write it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfGFError
        If it was not measured.
    FileFormatError
        If the file cannot be written.
    """
    if not result.curve:
        raise ConfGFError("The cost against the size of the batch was not measured; ask benchmark_energies for batch_sizes.")
    system = next(one for one in result.systems if one.name == result.curve_system)
    quantity, what = _QUANTITIES[result.forces]
    figure = Figure(figsize=(7.8, 4.4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for way in dict.fromkeys(one.way for one in result.curve):
        points = [(one.batch, one.us) for one in result.curve if one.way == way]
        axes.plot(*zip(*points, strict=True), marker="o", label=_torch_label(way), color=_torch_colour(way), **_LINE)
    for solvent in _OPENMM:
        if peer := system.fastest(quantity, system.openmm(solvent, host_only=True)):
            _, line, colour = _OPENMM[solvent]
            axes.axhline(getattr(peer, quantity), linestyle=line, color=colour, label=_openmm_label(solvent, peer), linewidth=1.4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = sorted({one.batch for one in result.curve})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("conformations in a batch")
    axes.set_ylabel(_COST)
    axes.set_title(f"{system.name}, {system.n_atoms} atoms, {what}", fontsize=10, color=INK)
    _finish(axes)
    _legend(axes, {str(line.get_label()): line for line in axes.lines})
    figure.suptitle(f"{result.cpu}{_threads(result)}", fontsize=10, color=INK)
    return save_figure(figure, path)


def cost_against_atoms(result: EnergyBenchmark, axes: Axes, quantity: Literal["energy_us", "forces_us"]) -> None:
    """Each of torch's ways on the fewest threads measured, and OpenMM's fastest platform on the CPU with each form of the solvent.

    Parameters
    ----------
    result : EnergyBenchmark
    axes : Axes
        To draw in.
    quantity : {"energy_us", "forces_us"}
        Energies alone, or with forces; in microseconds per conformation.
    """
    systems = sorted(result.systems, key=lambda system: system.n_atoms)
    for solvent, (marker, line, colour) in _OPENMM.items():
        found = [(system, system.fastest(quantity, system.openmm(solvent, host_only=True))) for system in systems]
        _series(axes, found, quantity, f"OpenMM, {solvent}" if solvent else "OpenMM, no solvent", marker, line, colour)
    for name, precision in _TORCH:
        found = [(system, _torch_row(system, name, precision)) for system in systems]
        way = next((row.way for _, row in found if row), None)
        if way:
            _series(axes, found, quantity, _torch_label(way), "o", "-", _torch_colour(way))
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({system.n_atoms for system in systems})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("atoms")
    _finish(axes)


_LINE: dict[str, Any] = {"linewidth": 1.6, "markersize": 5}


def _series(
    axes: Axes,
    found: Sequence[tuple[SystemTimings, EnergyRow | None]],
    quantity: Literal["energy_us", "forces_us"],
    label: str,
    marker: str,
    line: str,
    colour: Any,
) -> None:
    points = [(system.n_atoms, value, system.implicit_solvent) for system, row in found if row and (value := getattr(row, quantity))]
    solvated = [(atoms, value) for atoms, value, implicit in points if implicit]
    if points:
        # of Systems of one size, the line takes the cheapest
        cheapest = {atoms: min(value for other, value in solvated if other == atoms) for atoms, _ in solvated}
        axes.plot(list(cheapest), list(cheapest.values()), marker=marker, linestyle=line, color=colour, label=label, **_LINE)
    for atoms, value, implicit in points:
        face = colour if implicit else "white"
        axes.plot(atoms, value, marker=marker, color=colour, markerfacecolor=face, markersize=5, linestyle="none", label="_")


def _torch_row(system: SystemTimings, name: str, precision: str) -> EnergyRow | None:
    ours = [r for r in system.rows if r.way.program == "torch" and r.way.on_host and (r.way.name, r.way.precision) == (name, precision)]
    return min(ours, key=lambda row: row.way.threads or 0, default=None)


def _torch_label(way: Method) -> str:
    return f"torch, {way.label}"


def _torch_colour(way: Method) -> Any:
    return colormaps[COLOURS](_TORCH[way.name, way.precision])


def _openmm_label(solvent: str | None, peer: EnergyRow) -> str:
    return f"{peer.way.label}, {solvent}" if solvent else peer.way.label


def _threads(result: EnergyBenchmark) -> str:
    threads = min((row.way.threads for system in result.systems for row in system.rows if row.way.threads), default=1)
    return f", {threads} thread{'s' if threads > 1 else ''}"


def _legend(axes: Axes, handles: dict[str, Any]) -> None:
    # beside the axes, since the curves leave no corner free
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8.5, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _finish(axes: Axes) -> None:
    plain(axes)
    axes.grid(axis="y", color="#e5e9f0", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
