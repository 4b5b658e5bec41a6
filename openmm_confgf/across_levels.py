"""Frames of simulations at several levels of theory, each weighed for all of them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .energies.levels import Level, LevelLike
from .energies.scoring import score
from .ensemble import Ensemble, Provenance
from .errors import ConfGFError
from .molecule_like import check_ensemble
from .reweighting import Reweighted, free_level, weighed_rows
from .thermodynamics.log_weights import log_weights
from .thermodynamics.mbar import mbar
from .units import in_md_units, kT
from .version import __version__


@dataclasses.dataclass(frozen=True, eq=False)
class AcrossLevels:
    """K levels of theory, and what frames of all of them together say of each.

    Attributes
    ----------
    free_energies : ndarray of float64, (K,)
        kJ/mol, above the first level.
    errors : ndarray of float64, (K,)
        Of these in kJ/mol, for independent frames.
    overlap : ndarray of float64, (K, K)
        As in `mbar`: 1 for levels that are the same, 0 for levels without a common region.
    weighed : tuple of Reweighted
        All frames with their weights at each level. ``diagnostics.log_z`` is ``-F / kT`` above the first level.
    """

    free_energies: NDArray[np.float64]
    errors: NDArray[np.float64]
    overlap: NDArray[np.float64]
    weighed: tuple[Reweighted, ...]


def reweight_frames(frames: Sequence[Ensemble], levels: Sequence[LevelLike], temperature: Any = None) -> AcrossLevels:
    """Free energies and weights of levels of theory that have frames each, by MBAR; of two levels it is BAR (`mbar`).

    All frames are evaluated at all levels. `Reweighted.at_level` of a result goes on to a level without frames. Frames of one replica are
    correlated: give every g-th, g their `statistical_inefficiency`.

    Parameters
    ----------
    frames : sequence of Ensemble, (K,)
        Of equilibrium, the k-th at the k-th level: MD, or what `Reweighted.resample` and `resample_move` give.
    levels : sequence of whatever `score` takes, (K,)
        Without constraints.
    temperature : float or Quantity, optional
        K; that of the frames by default.

    Raises
    ------
    WrongTypeError, ForceFieldError, PlatformError
        As in `score`.
    UnsupportedForceError
        If a System has constraints.
    ConfGFError
        If there is not one ensemble for each level, or they are of different molecules or temperatures, of another System than their level,
        or samples of a generator; if a frame has no finite energy at its own level; if levels do not overlap, by way of others neither.
    ValueError
        If the temperature is none, as in `kT`.
    """
    ensembles = tuple(frames)
    for ensemble in ensembles:
        check_ensemble(ensemble, "reweight_frames")
    if not ensembles or len(ensembles) != len(levels):
        raise ConfGFError(f"There are {len(ensembles)} ensembles for {len(levels)} levels; give the frames of each level.")
    graph, kelvin = ensembles[0].graph, _temperature(ensembles, temperature)
    for ensemble in ensembles:
        if not ensemble.graph.same_as(graph):
            raise ConfGFError(f"There are frames of {graph.name!r} and of {ensemble.graph.name!r}; give frames of the same molecule.")
        if ensemble.log_q is not None:
            raise ConfGFError("The samples of a generator are no frames of a level; weigh them (reweight), and take at_level or resample.")
    counts, theories = [len(ensemble) for ensemble in ensembles], [free_level(level, graph) for level in levels]
    provenance = Provenance("frames of several levels", __version__, settings={"frames": counts})
    together = Ensemble(
        graph,
        np.concatenate([ensemble.positions for ensemble in ensembles]),
        provenance,
        np.concatenate([ensemble.status for ensemble in ensembles]),
    )
    scored = [_scored(together, theory, ensemble, kelvin) for theory, ensemble in zip(theories, ensembles, strict=True)]
    found = mbar(np.array([one.energy for one in scored], np.float64) / kT(kelvin), counts)
    weighed = tuple(
        weighed_rows(one, kelvin, log_weights(found.log_mixture, one.energy, one.status, kelvin), found.log_mixture) for one in scored
    )
    for theory, one in zip(theories, weighed, strict=True):
        if not one.diagnostics.trusted:
            warnings.warn(f"{theory.name}: {one.diagnostics.verdict}", stacklevel=2)
    return AcrossLevels(found.free_energies * kT(kelvin), found.errors * kT(kelvin), found.overlap, weighed)


def _temperature(ensembles: Sequence[Ensemble], given: Any) -> float:
    """The one temperature in K."""
    known = {one.target.temperature for one in ensembles if one.target is not None} - {None}
    if given is not None:
        known.add(float(in_md_units(given)))
    if len(known) != 1:
        said = " and ".join(f"{kelvin:g}" for kelvin in sorted(k for k in known if k is not None)) or "no"
        raise ConfGFError(f"The frames are at {said} K; give frames of one temperature, which is told where they do not name it.")
    (kelvin,) = known
    assert kelvin is not None
    return kelvin


def _scored(together: Ensemble, theory: Level, own: Ensemble, kelvin: float) -> Ensemble:
    """All frames at one level; those of its own must be of the same System."""
    scored = score(together, theory)
    assert scored.target is not None
    pair = {None if target is None else target.system_sha256 for target in (own.target, scored.target)} - {None}
    if len(pair) > 1:
        raise ConfGFError(f"The frames given for {theory.name} are of another System; give each level the frames that were sampled there.")
    return scored.replace(target=dataclasses.replace(scored.target, temperature=kelvin))
