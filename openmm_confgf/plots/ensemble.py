"""Pictures of an ensemble: its energies, its torsions, its conformers on top of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.colours import energy_colours
from ..molecules.geometry import dihedrals
from ..molecules.superposition import aligned_positions
from ..molecules.torsions import rotatable_torsions
from ..writing import whole_file

INK = "#3b4252"
_ELEMENT_COLOURS = {7: "#3050f8", 8: "#e02020", 9: "#60b030", 15: "#ff8000", 16: "#d0b000", 17: "#20b020", 35: "#a62929", 53: "#940094"}


def plot_ensemble(ensemble: Ensemble, path: str | Path, title: str | None = None) -> Path:
    """One PNG with the conformers on top of each other, the energies and the torsions of a scored ensemble.

    Parameters
    ----------
    ensemble : Ensemble
        With energies; samples whose status is not OK are left out.
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
    ConfGFError
        If there are no energies, or no usable sample.
    FileFormatError
        If the file cannot be written.
    """
    usable = _with_energies(ensemble)
    figure = Figure(figsize=(13, 4.4), dpi=150, layout="constrained")
    overlay, histogram, torsions = figure.subplots(1, 3, width_ratios=(1.0, 0.9, 1.1))
    conformer_overlay(usable, overlay)
    energy_histogram(usable, histogram)
    torsion_plot(usable, torsions)
    figure.suptitle(title or ensemble.graph.name, fontsize=13, color=INK, parse_math=False)
    return save_figure(figure, path)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG; the file is there whole or not at all.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Missing folders are made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileFormatError
        If it cannot be written.
    """
    with whole_file(path) as stream:
        figure.savefig(stream, format="png")
    return Path(path)


def energy_histogram(ensemble: Ensemble, axes: Axes) -> None:
    """Histogram of the energies above the lowest, in kJ/mol, with a tick for each conformer.

    Parameters
    ----------
    ensemble : Ensemble
        With energies; samples whose status is not OK are left out.
    axes : Axes
        To draw in.

    Raises
    ------
    ConfGFError
        If there are no energies, or no usable sample.
    """
    energy = relative_energies(ensemble)
    bins = np.linspace(0.0, max(energy.max(), 1.0), min(25, max(6, len(energy) // 3)) + 1)
    counts, _ = np.histogram(energy, bins)
    colours = energy_colours(0.5 * (bins[1:] + bins[:-1]), energy.max())
    axes.bar(bins[:-1], counts, width=np.diff(bins), align="edge", color=colours, edgecolor="white", linewidth=0.6)
    axes.plot(energy, np.full(len(energy), -0.03 * max(counts.max(), 1)), "|", color=INK, alpha=0.5, markersize=7)
    axes.set_xlabel("energy above the lowest (kJ/mol)")
    axes.set_ylabel("conformers")
    axes.set_title(f"{len(energy)} conformers", fontsize=10, color=INK)
    plain(axes)


def torsion_plot(ensemble: Ensemble, axes: Axes) -> None:
    """The angle of each rotatable bond in each conformer, coloured by energy; one row per bond.

    Parameters
    ----------
    ensemble : Ensemble
        With energies; samples whose status is not OK are left out.
    axes : Axes
        To draw in.

    Raises
    ------
    ConfGFError
        If there are no energies, or no usable sample.
    """
    usable = _with_energies(ensemble)
    energy = relative_energies(usable)
    quadruples = rotatable_torsions(usable.graph)
    angles = np.degrees(dihedrals(torch.tensor(usable.positions), torch.from_numpy(quadruples)).numpy())
    # the highest first, so that the lowest lie on top
    order = np.argsort(-energy, kind="stable")
    spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(energy))
    for row, column in enumerate(angles.T):
        axes.scatter(column[order], (row + spread)[order], c=energy_colours(energy[order], energy.max()), s=16, linewidths=0, clip_on=False)
        axes.axhline(row + 0.5, color="#d8dee9", linewidth=0.6)
    symbols = [atom.GetSymbol() for atom in usable.graph.mol.GetAtoms()]
    labels = [f"{symbols[b]}{b + 1}-{symbols[c]}{c + 1}" for _, b, c, _ in quadruples]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, max(len(labels), 1) - 0.4)
    axes.set_xlim(-180, 180)
    axes.set_xticks(range(-180, 181, 60))
    axes.set_xlabel("torsion (degrees), dark: high energy")
    axes.set_title(f"{len(labels)} rotatable bonds" if labels else "no rotatable bond", fontsize=10, color=INK)
    plain(axes)


def conformer_overlay(ensemble: Ensemble, axes: Axes, count: int = 12) -> None:
    """The `count` lowest conformers as skeletons of heavy atoms, aligned on the lowest and seen along their shortest principal axis.

    Parameters
    ----------
    ensemble : Ensemble
        With energies; samples whose status is not OK are left out.
    axes : Axes
        To draw in.
    count : int
        All, where there are fewer.

    Raises
    ------
    ConfGFError
        If there are no energies, or no usable sample.
    """
    ranked = _with_energies(ensemble).ranked()
    lowest = ranked.select(np.arange(min(count, len(ranked))))
    energy, highest = relative_energies(lowest), relative_energies(ranked).max()
    frames = aligned_positions(lowest.graph, lowest.positions)
    heavy = lowest.graph.heavy_atoms if len(lowest.graph.heavy_atoms) > 1 else np.arange(len(lowest.graph))
    _, _, axes_of_inertia = np.linalg.svd(frames[0, heavy] - frames[0, heavy].mean(0), full_matrices=False)
    flat = (frames - frames[0, heavy].mean(0)) @ axes_of_inertia.T[:, :2]
    bonds = lowest.graph.bonds[np.isin(lowest.graph.bonds, heavy).all(axis=1)]
    for k in range(len(lowest) - 1, -1, -1):
        colour = energy_colours(energy[k : k + 1], highest)[0]
        width, opacity = (2.6, 1.0) if k == 0 else (1.4, 0.6)
        skeleton = LineCollection(list(flat[k][bonds]), colors=[colour], linewidths=width, alpha=opacity, capstyle="round", zorder=2)
        axes.add_collection(skeleton)
        for number, dot in _ELEMENT_COLOURS.items():
            atoms = heavy[lowest.graph.numbers[heavy] == number]
            axes.scatter(flat[k, atoms, 0], flat[k, atoms, 1], s=34 if k == 0 else 14, color=dot, alpha=opacity, linewidths=0, zorder=3)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.margins(0.06)
    axes.axis("off")
    axes.set_title(f"the {len(lowest)} lowest, aligned", fontsize=10, color=INK)


def relative_energies(ensemble: Ensemble) -> NDArray[np.float64]:
    """Energies of the usable samples above the lowest of them, in kJ/mol, in their order.

    Parameters
    ----------
    ensemble : Ensemble
        With energies.

    Returns
    -------
    ndarray of float64, (U,)
        kJ/mol, for the U usable samples.

    Raises
    ------
    ConfGFError
        If there are no energies, or no usable sample.
    """
    energy = np.asarray(_with_energies(ensemble).energy)
    return energy - energy.min()


def _with_energies(ensemble: Ensemble) -> Ensemble:
    usable = ensemble.select(ensemble.ok)
    if usable.energy is None:
        raise ConfGFError("The ensemble has no energies to plot; score it first.")
    if len(usable) == 0:
        raise ConfGFError("No conformation of the ensemble has the status OK; there is nothing to plot.")
    return usable


def side_by_side(count: int, size: tuple[float, float], stacked: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure of some panels in a row, or below one another.

    Parameters
    ----------
    count : int
    size : (float, float)
        Of each panel, in inches.
    stacked : bool
    """
    rows, columns = (count, 1) if stacked else (1, count)
    figure = Figure(figsize=(columns * size[0], rows * size[1]), dpi=150, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def plain(axes: Axes) -> None:
    """No box around the axes, small labels.

    Parameters
    ----------
    axes : Axes
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
