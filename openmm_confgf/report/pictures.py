"""Pictures of `plots` inside a page: SVG in the address of an image, where nothing in it can run."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Callable, Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.backbone import rama_pairs
from ..molecules.torsions import rotatable_torsions
from ..plots.ensemble import INK, energy_histogram, torsion_plot
from ..plots.torsions import HIGHEST_KT, profile_curves, raw_profile, torsion_map, torsion_name, torsions_to_show
from ..plots.weights import weight_histogram, weight_shares
from ..reweighting import Reweighted
from ..units import kT

MOST_PROFILES = 12
"""Torsions whose free energy is drawn."""

MOST_MAPS = 4
"""Residues that have a Ramachandran plot."""

_MOST_MARKS = 400
"""Points beyond which they are drawn as pixels."""

_BINS = 36
_HIGHEST_ERROR_KT = 2.0
_SIZE = (4.5, 3.3)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image with its title.

    Attributes
    ----------
    title : str
    alt : str
        What it shows, for those who do not see it.
    source : str
        The image as an address, ``data:...``.
    narrow : str or None
        The same for narrow pages; None where one is enough.
    wide : bool
        Whether it takes a line for itself.
    """

    title: str
    alt: str
    source: str
    narrow: str | None = None
    wide: bool = False


def ensemble_pictures(ensemble: Ensemble) -> list[Picture]:
    """Energies and torsions of the usable conformations; none where there are no energies.

    Parameters
    ----------
    ensemble : Ensemble
    """
    if ensemble.energy is None or not ensemble.ok.any():
        return []
    energy = "Histogram of the energies of the usable conformations above the lowest, in kJ/mol."
    torsions = "The angle of each rotatable bond in each usable conformation, in degrees; dark points have a high energy."
    bonds = len(rotatable_torsions(ensemble.graph))
    near, far = without_outliers(ensemble)
    title = f"Energies, without the {far:,} that are far above" if far else "Energies"
    found = [Picture(title, energy, drawn(lambda axes: energy_histogram(near, axes)))]
    if bonds:
        size = (_SIZE[0], max(_SIZE[1], 0.7 + 0.32 * bonds))
        found.append(Picture("Torsions, coloured by energy", torsions, drawn(lambda axes: torsion_plot(near, axes), size)))
    return found


def without_outliers(ensemble: Ensemble) -> tuple[Ensemble, int]:
    """The usable conformations whose energies make a picture, and how many lie so far above that they would squeeze it.

    Far is more than one and a half times the span from the 5th to the 95th percentile above the latter, as in Tukey's fences.

    Parameters
    ----------
    ensemble : Ensemble
        With energies.
    """
    usable = ensemble.select(ensemble.ok)
    assert usable.energy is not None
    low, high = np.quantile(usable.energy, [0.05, 0.95])
    near = usable.energy <= high + 1.5 * (high - low)
    return usable.select(near), int((~near).sum())


def weight_pictures(found: Reweighted) -> tuple[list[Picture], list[str]]:
    """Weights, profiles with their intervals, and Ramachandran plots with their errors; and sentences on what was left out.

    Parameters
    ----------
    found : Reweighted
    """
    pictures = [
        Picture(
            "Weights",
            "How many samples have which weight, as drawn and weighed; where the second ends at the right before the first, samples reach "
            "what counts.",
            drawn(lambda axes: weight_histogram(found, axes)),
        ),
        Picture(
            "Who holds the weight",
            "The share of all weight that the largest weights hold, against the diagonal of equal weights.",
            drawn(lambda axes: weight_shares(found, axes)),
        ),
    ]
    torsions, pairs = torsions_to_show(found.ensemble.graph), rama_pairs(found.ensemble.graph)
    notes = []
    for name, atoms in list(torsions.items())[:MOST_PROFILES]:
        alt = f"Free energy along the torsion {name} in kJ/mol, weighed with its 95 % interval, and as drawn."
        try:
            pictures.append(Picture(f"Free energy along {name}", alt, drawn(functools.partial(_profile, found, atoms))))
        except ConfGFError as error:
            notes.append(f"There is no profile along {name}. {error}")
    for pair in pairs[:MOST_MAPS]:
        try:
            pictures += list(_maps(found, pair))
        except ConfGFError as error:
            notes.append(f"A Ramachandran plot is missing. {error}")
    if len(torsions) > MOST_PROFILES:
        of = f"{MOST_PROFILES} of {len(torsions)} torsions"
        notes.append(f"Profiles of {of} are drawn; openmm-confgf reweight --torsion gives any other.")
    if len(pairs) > MOST_MAPS:
        notes.append(f"Ramachandran plots of {MOST_MAPS} of {len(pairs)} residues are drawn; openmm-confgf reweight --plots draws all.")
    return pictures, notes


def _profile(found: Reweighted, atoms: NDArray[np.int64], axes: Axes) -> None:
    profile_curves(found, atoms, axes)
    axes.set_ylabel("free energy (kJ/mol)")


def _maps(found: Reweighted, pair: NDArray[np.int64]) -> Iterator[Picture]:
    names = [torsion_name(found.ensemble.graph, atoms) for atoms in pair]
    weighed, raw = found.profile(pair, _BINS), raw_profile(found, pair, _BINS)
    panels = (
        ("weighed", "free energy (kT)", weighed.free_energy_kT, HIGHEST_KT),
        ("its standard error, blank where samples are too few", "error (kT)", weighed.error / kT(found.temperature), _HIGHEST_ERROR_KT),
        ("as drawn", "free energy (kT)", raw.free_energy_kT, HIGHEST_KT),
    )
    for title, label, values, highest in panels:
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        figure.colorbar(torsion_map(weighed, axes, values, highest), ax=axes, label=label, extend="max")
        axes.set_xlabel(f"phi {names[0]} (degrees)", fontsize=9)
        axes.set_ylabel(f"psi {names[1]} (degrees)", fontsize=9)
        alt = f"Colour map over phi {names[0]} and psi {names[1]} in degrees: {label}, {title}."
        yield Picture(f"Ramachandran, {title}", alt, as_address(figure))


def drawn(draw: Callable[[Axes], None], size: tuple[float, float] = _SIZE) -> str:
    """What a function of `plots` draws into axes, as the address of an image.

    Parameters
    ----------
    draw : callable
    size : (float, float)
        Inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title("")
    return as_address(figure)


def as_address(figure: Figure) -> str:
    """A figure as SVG in a ``data:`` address; the same figure gives the same text.

    Parameters
    ----------
    figure : Figure
    """
    for axes in figure.axes:
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for marks in axes.collections:
            marks.set_rasterized(np.size(marks.get_offsets()) > _MOST_MARKS or marks.get_array() is not None)
        for line in axes.lines:
            line.set_rasterized(np.size(line.get_xdata(orig=False)) > _MOST_MARKS)
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "openmm_confgf"}):
        figure.savefig(stream, format="svg", dpi=150, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
