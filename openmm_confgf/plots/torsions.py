"""Pictures of free energies along torsions: weighted samples beside those that were drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfGFError
from ..molecules.backbone import backbone_torsions
from ..molecules.graph import MolecularGraph
from ..molecules.torsions import rotatable_torsions
from ..reweighting import Reweighted
from ..thermodynamics.profiles import TorsionProfile, torsion_profile
from .ensemble import INK, plain, save_figure
from .weights import SAMPLES, TARGET

_COLUMNS = 3
HIGHEST_KT = 10.0
"""Of the maps' colours."""


def torsions_to_show(graph: MolecularGraph) -> dict[str, NDArray[np.int64]]:
    """A torsion (4,), atoms from 0, for each bond that turns, by a name with its atoms from 1: phi and psi of a peptide first.

    Parameters
    ----------
    graph : MolecularGraph
    """
    phi, psi = backbone_torsions(graph)
    shown = {f"phi {torsion_name(graph, row)}": row for row in phi} | {f"psi {torsion_name(graph, row)}": row for row in psi}
    known = {frozenset(row[1:3].tolist()) for row in shown.values()}
    others = [row for row in rotatable_torsions(graph) if frozenset(row[1:3].tolist()) not in known]
    return shown | {torsion_name(graph, row): row for row in others}


def torsion_name(graph: MolecularGraph, atoms: ArrayLike) -> str:
    """``C1-C2-C3-O4``: elements, and numbers from 1 as in files.

    Parameters
    ----------
    graph : MolecularGraph
    atoms : array_like of int, (4,)
        From 0.
    """
    return "-".join(f"{graph.mol.GetAtomWithIdx(int(k)).GetSymbol()}{int(k) + 1}" for k in np.asarray(atoms))


def plot_profiles(reweighted: Reweighted, path: str | Path, torsions: Mapping[str, ArrayLike] | None = None, bins: int = 36) -> Path:
    """One PNG with the free energy along each torsion, with its error band, and beside it that of the samples as they were drawn.

    Parameters
    ----------
    reweighted : Reweighted
    path : str or Path
        Where to write it.
    torsions : mapping of str to array_like of int, (4,), optional
        Atoms from 0, by the name to show; default: `torsions_to_show`.
    bins : int

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfGFError
        If there is no torsion to show.
    FileFormatError
        If the file cannot be written.
    """
    shown = torsions_to_show(reweighted.ensemble.graph) if torsions is None else torsions
    if not shown:
        raise ConfGFError(f"{reweighted.ensemble.graph.name!r} has no rotatable bond to show; name a torsion by its atoms.")
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(1.0 + 3.9 * columns, 0.6 + 3.0 * rows), dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, atoms) in zip(panels.flat, shown.items(), strict=False):
        profile_curves(reweighted, atoms, axes, bins)
        axes.set_title(name, fontsize=10, color=INK)
    for axes in panels.flat[len(shown) :]:
        axes.axis("off")
    for axes in panels[:, 0]:
        axes.set_ylabel("free energy (kJ/mol)")
    panels[0, 0].legend(frameon=False, fontsize=8.5, labelcolor=INK)
    where = f"{reweighted.ensemble.graph.name} at {reweighted.temperature:g} K, intervals of 95 %"
    figure.suptitle(where, fontsize=12, color=INK, parse_math=False)
    return save_figure(figure, path)


def profile_curves(reweighted: Reweighted, atoms: ArrayLike, axes: Axes, bins: int = 36) -> None:
    """The free energy along one torsion with its interval, and that of the samples without their weights.

    Parameters
    ----------
    reweighted : Reweighted
    atoms : array_like of int, (4,)
        From 0.
    axes : Axes
        To draw in.
    bins : int
    """
    drawn, weighed = raw_profile(reweighted, atoms, bins), reweighted.profile(atoms, bins)
    degrees = np.degrees(weighed.centres)
    axes.plot(degrees, _gaps(drawn.free_energy), color=SAMPLES, linestyle="--", linewidth=1.3, label="as drawn")
    # where the interval has no upper end, it goes out of the picture, and so do bins whose samples have next to no weight
    top = 1.5 * np.nanmax(_gaps(drawn.free_energy)) + 2.0
    axes.fill_between(degrees, weighed.low, np.minimum(weighed.high, 10 * top), color=TARGET, alpha=0.22, linewidth=0)
    axes.plot(degrees, _gaps(weighed.free_energy), color=TARGET, linewidth=1.5, marker=".", markersize=3, label="reweighted")
    axes.set_ylim(-0.5, top)
    axes.set_xlim(-180, 180)
    axes.set_xticks(range(-180, 181, 60))
    axes.set_xlabel("torsion (degrees)")
    plain(axes)


def plot_ramachandran(reweighted: Reweighted, phi: ArrayLike, psi: ArrayLike, path: str | Path, bins: int = 45) -> Path:
    """One PNG with the free energy over phi and psi: of the samples as they were drawn, and reweighted.

    Parameters
    ----------
    reweighted : Reweighted
    phi, psi : array_like of int, (4,)
        Atoms from 0; `rama_pairs` finds those of a peptide.
    path : str or Path
        Where to write it.
    bins : int
        Of each.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileFormatError
        If it cannot be written.
    """
    pair = np.array([phi, psi])
    figure = Figure(figsize=(10.0, 4.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, profile) in zip(
        panels, (("as drawn", raw_profile(reweighted, pair, bins)), ("reweighted", reweighted.profile(pair, bins))), strict=True
    ):
        image = torsion_map(profile, axes, profile.free_energy_kT, HIGHEST_KT)
        axes.set_xlabel(f"phi {torsion_name(reweighted.ensemble.graph, phi)} (degrees)", fontsize=9)
        axes.set_title(title, fontsize=10, color=INK)
    panels[0].set_ylabel(f"psi {torsion_name(reweighted.ensemble.graph, psi)} (degrees)", fontsize=9)
    figure.colorbar(image, ax=panels, label="free energy (kT)", extend="max")
    figure.suptitle(f"{reweighted.ensemble.graph.name} at {reweighted.temperature:g} K", fontsize=12, color=INK, parse_math=False)
    return save_figure(figure, path)


def torsion_map(profile: TorsionProfile, axes: Axes, values: NDArray[np.float64], highest: float) -> QuadMesh:
    """Values over the plane of two torsions, as colours; bins whose value is not finite are blank.

    Parameters
    ----------
    profile : TorsionProfile
        Of two torsions.
    axes : Axes
        To draw in.
    values : ndarray of float64, (bins, bins)
        The first axis is the first torsion, which is drawn from left to right.
    highest : float
        Where the colours end; they begin at 0.

    Returns
    -------
    QuadMesh
        What a bar of colours takes.
    """
    edges = np.degrees(profile.edges)
    image = axes.pcolormesh(edges, edges, np.ma.masked_invalid(values.T), cmap=colormaps["viridis"], vmin=0.0, vmax=highest)
    axes.set_aspect("equal")
    axes.set_xticks(range(-180, 181, 60))
    axes.set_yticks(range(-180, 181, 60))
    plain(axes)
    return image


def raw_profile(reweighted: Reweighted, atoms: ArrayLike, bins: int = 36) -> TorsionProfile:
    """The profile that the samples would have if all counted alike: what the generator draws.

    Parameters
    ----------
    reweighted : Reweighted
    atoms : array_like of int, (4,) or (2, 4)
        From 0.
    bins : int
        Of each torsion.
    """
    angles = reweighted.torsions(atoms)
    finite = np.isfinite(angles.reshape(len(angles), -1)).all(axis=1)
    return torsion_profile(angles, np.where(finite, 0.0, -np.inf), reweighted.temperature, bins=bins, replicates=2)


def _gaps(free_energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN in place of infinity, which makes a gap in a line."""
    return np.where(np.isfinite(free_energy), free_energy, np.nan)
