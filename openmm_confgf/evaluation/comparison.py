"""All metrics of an ensemble against its reference, in one call."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..energies import LevelLike, level_of
from ..energies.relaxation import relax as relaxed_at
from ..energies.scoring import score
from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecule_like import check_ensemble
from ..molecules.rmsd import distinct_minima
from ..status import Status
from ..thermodynamics.log_weights import log_weights
from ..thermodynamics.normalised import normalised_weights
from ..units import in_md_units, kT
from .basins import OUTSIDE, WITHIN, BasinPopulations, Basins, basin_populations
from .fluctuations import correlation
from .measured import METRICS, Measured
from .pairing import in_order_of
from .sample_weights import boltzmann_weights

ROOM_TEMPERATURE = 300.0
"""K, where neither ensemble names one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """An ensemble against its reference.

    Attributes
    ----------
    name, smiles : str
        Of the molecule.
    samples, reference_samples : int
        That were compared.
    bad, reference_bad : int
        That were left out, since their status is not OK.
    temperature : float
        K.
    values : dict of str to float or None
        By the names of `METRICS`; None where the molecule or the files do not have it.
    notes : tuple of str
        Why what was asked for is missing.
    torsions : ndarray of int64, (T, 4)
        Atoms from 0, in the reference's order.
    torsion_js : ndarray of float64, (T,)
        nats.
    basins : BasinPopulations or None
    rmsf, reference_rmsf : ndarray of float64, (n,)
        nm, of the heavy atoms (of all where these are fewer than three).
    """

    name: str
    smiles: str
    samples: int
    reference_samples: int
    bad: int
    reference_bad: int
    temperature: float
    values: dict[str, float | None]
    notes: tuple[str, ...]
    torsions: NDArray[np.int64]
    torsion_js: NDArray[np.float64]
    basins: BasinPopulations | None
    rmsf: NDArray[np.float64]
    reference_rmsf: NDArray[np.float64]


def compare(
    ensemble: Ensemble,
    reference: Ensemble,
    *,
    minima: bool = False,
    level: LevelLike | None = None,
    relax: bool = False,
    gaps: bool = False,
    weighted: bool = False,
    temperature: Any = None,
    within: Any = WITHIN,
    seed: int = 0,
) -> Comparison:
    """Measure how far an ensemble is from its reference. Samples whose status is not OK are left out and counted.

    Parameters
    ----------
    ensemble : Ensemble
        What is judged; its atoms may be in another order.
    reference : Ensemble
        Samples of equilibrium, or minima.
    minima : bool
        Whether the reference is minima: each counts with ``exp(-E / kT)``, and samples are assigned to them (`Basins`).
    level : LevelLike, optional
        Energies of both are evaluated at it; default: those that they have, if they are of the same force field.
    relax : bool
        Whether to bring samples and minima to their minima at the level before samples are assigned. All else is of samples as they are.
    gaps : bool
        Whether to evaluate HOMO-LUMO gaps of both in GFN2-xTB.
    weighted : bool
        Whether to weigh samples that have ``log_q`` and energies, of either side, by ``exp(-E / kT) / q``.
    temperature : float or Quantity, optional
        K; default: that of the reference's target, of the ensemble's, or 300.
    within : float or Quantity
        nm, as in `Basins.assign`.
    seed : int
        Of the draws where there are too many samples.

    Returns
    -------
    Comparison

    Raises
    ------
    WrongTypeError
        If one is no Ensemble.
    MoleculeError
        If they are of different molecules.
    ConfGFError
        If a side has no usable sample, what was asked for needs energies, a level or ``log_q`` that are not there.
    ForceFieldError
        If the level has no parameters for the molecule.
    """
    for given in (ensemble, reference):
        check_ensemble(given, "compare")
    ours, theirs = in_order_of(ensemble, reference.graph), reference
    if relax and (level is None or not minima):
        raise ConfGFError("relax brings samples to the minima of a level: give the level, and minima as the reference.")
    if level is not None:
        chosen = level_of(level)
        ours, theirs = score(ours, chosen), score(theirs, chosen)
    thermal = _temperature(temperature, theirs, ours)
    notes: list[str] = []
    comparable = _comparable(ours, theirs, ensemble.graph.same_as(reference.graph), notes)
    if minima and theirs.energy is None:
        raise ConfGFError(f"The minima of {theirs.graph.name!r} have no energies, and no populations without them; give a level.")
    weights, reference_weights = _weights(ours, thermal, weighted), _weights(theirs, thermal, weighted and not minima)
    if weighted and weights is None and (minima or reference_weights is None):
        raise ConfGFError("There is nothing to weigh: neither side has log_q and energies; compare without weights.")
    usable, known = ours.select(ours.ok), theirs.select(theirs.ok)
    for side, part in (("samples", usable), ("reference", known)):
        if not len(part):
            raise ConfGFError(f"The {side} of {part.graph.name!r} have no conformation whose status is OK; generate or score them again.")
    if minima and known.energy is not None:
        reference_weights = boltzmann_weights(known.energy, thermal)
    found = Measured(usable, known, weights, reference_weights, seed)
    values = found.torsions() | found.fluctuations() | found.contacts() | found.distances() | found.properties(comparable, gaps)
    if comparable:
        values |= found.energies(thermal)
    populations = None
    if minima:
        populations = _populations(usable, known, weights, level if relax else None, thermal, within)
        values |= {
            "basin_js": populations.js,
            "basin_total_variation": populations.total_variation,
            "outside_basins": populations.outside,
        }
    return Comparison(
        name=reference.graph.name,
        smiles=reference.graph.smiles,
        samples=len(usable),
        reference_samples=len(known),
        bad=len(ours) - len(usable),
        reference_bad=len(theirs) - len(known),
        temperature=thermal,
        values={name: _number(values.get(name)) for name in METRICS},
        notes=tuple(notes),
        torsions=found.rotatable.atoms,
        torsion_js=found.torsion_js,
        basins=populations,
        rmsf=found.rmsf[0],
        reference_rmsf=found.rmsf[1],
    )


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Means and medians over molecules, and what is known of several only.

    Parameters
    ----------
    comparisons : sequence of Comparison

    Returns
    -------
    dict
        ``"mean"``, ``"median"`` and ``"molecules"`` by metric; ``"pairwise_rmsd_correlation"``, over molecules, and
        ``"global_rmsf_correlation"``, over the atoms of all (AlphaFlow's), None where there is none.
    """
    columns = {name: [c.values[name] for c in comparisons] for name in METRICS}
    present = {name: [value for value in column if value is not None] for name, column in columns.items()}
    ours, theirs = columns["pairwise_rmsd"], columns["reference_pairwise_rmsd"]
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    rmsf, reference_rmsf = (np.concatenate([getattr(c, side) for c in comparisons]) for side in ("rmsf", "reference_rmsf"))
    return {
        "mean": {name: statistics.fmean(values) if values else None for name, values in present.items()},
        "median": {name: statistics.median(values) if values else None for name, values in present.items()},
        "molecules": {name: len(values) for name, values in present.items()},
        "pairwise_rmsd_correlation": _number(correlation([a for a, _ in both], [b for _, b in both])),
        "global_rmsf_correlation": _number(correlation(rmsf, reference_rmsf)),
    }


def _number(value: float | None) -> float | None:
    """A finite number, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def _temperature(given: Any, *sides: Ensemble) -> float:
    """K, as it was given or as a side names it, once it is known to be one."""
    named = [side.target.temperature for side in sides if side.target is not None and side.target.temperature is not None]
    chosen = float(in_md_units(given)) if given is not None else [*named, ROOM_TEMPERATURE][0]
    try:
        kT(chosen)
    except ValueError as error:
        raise ConfGFError(str(error)) from error
    return chosen


def _comparable(ours: Ensemble, theirs: Ensemble, same_order: bool, notes: list[str]) -> bool:
    """Whether both have energies of the same force field; a note says why not."""
    for side, ensemble in (("samples", ours), ("reference", theirs)):
        if ensemble.energy is None:
            notes.append(f"{ensemble.graph.name}: the {side} have no energies, and no distance of energies without them; give a level.")
            return False
    first, second = ours.target, theirs.target
    names = [None if target is None else target.forcefield for target in (first, second)]
    # a System's checksum is that of one order of atoms
    sums = [None if target is None or not same_order else target.system_sha256 for target in (first, second)]
    if names[0] == names[1] and (sums[0] == sums[1] or None in sums):
        return True
    told = " and ".join(name or "of an unknown level" for name in names)
    reason = told if names[0] != names[1] else f"of two Systems of {names[0]}"
    notes.append(f"{theirs.graph.name}: energies of samples and reference are {reason}, and not compared; give a level for both.")
    return False


def _weights(ensemble: Ensemble, temperature: float, wanted: bool) -> NDArray[np.float64] | None:
    """Boltzmann weights over q of the usable samples, (n,), if they are wanted and there are any."""
    if not wanted or ensemble.log_q is None or ensemble.energy is None:
        return None
    weights = normalised_weights(log_weights(ensemble.log_q, ensemble.energy, ensemble.status, temperature))[ensemble.ok]
    if not weights.any():
        raise ConfGFError(f"No sample of {ensemble.graph.name!r} whose status is OK has a weight; draw more, or compare without weights.")
    return weights


def _populations(
    samples: Ensemble, minima: Ensemble, weights: NDArray[np.float64] | None, level: LevelLike | None, temperature: float, within: Any
) -> BasinPopulations:
    """Shares of samples in the basins of minima, both brought to the minima of a level before if there is one."""
    positions, left = samples.positions, np.zeros(len(samples), bool)
    if level is not None:
        chosen = level_of(level)
        descended, minima = relaxed_at(samples, chosen), relaxed_at(minima, chosen)
        # minima of another molecule, or none at all, are in no basin
        left = descended.status != Status.OK
        positions, minima = np.where(left[:, None, None], samples.positions, descended.positions), _distinct(minima.select(minima.ok))
    basins = Basins.of(minima.graph, minima.positions, minima.energy, temperature)
    return basin_populations(np.where(left, OUTSIDE, basins.assign(positions, within)), basins.populations, weights)


def _distinct(minima: Ensemble) -> Ensemble:
    """Without those that are the same after they were brought to their minima: none counts twice."""
    if minima.energy is None or not len(minima):
        return minima
    return minima.select(distinct_minima(minima.graph, minima.positions, minima.energy))
