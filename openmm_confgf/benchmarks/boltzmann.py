"""How well Boltzmann generators sample molecules: effective samples over seeds, their rate, and profiles against a simulation."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..generators.equilibrium import EquilibriumGenerator
from ..molecules.backbone import backbone_torsions, first_phi
from ..molecules.geometry import dihedrals
from ..molecules.graph import MolecularGraph
from ..reweighting import Reweighted, reweight
from ..status import Status
from ..tables import Column, Table
from ..thermodynamics.profiles import torsion_profile
from ..units import kT

HIGHEST = 6.0
"""kT: above that a profile is not compared, for a simulation has too few frames there."""

BINS = 36

_BLOCKS = 20
"""Stretches of time of a simulation that count as independent; of as many replicas, each does."""

_COLUMNS = (
    Column("molecule", align="left"),
    Column("weights", align="left"),
    Column("seen"),
    Column("ESS", "%", "{}"),
    Column("k-hat", layout="{:.2f}"),
    Column("right graph and stereo", "%", "{:.2f}"),
    Column("samples/s", layout="{:.0f}"),
    Column("phi>0", "kT", "{}"),
    Column("phi, psi: largest difference", "kT", "{}"),
)


@dataclasses.dataclass(frozen=True)
class BoltzmannRow:
    """What one generator made of one molecule.

    Attributes
    ----------
    molecule : str
    generator : str
    weights : str
        The name on their card.
    seen : bool
        Whether its constitution is in the training data of the weights.
    ess : list of float or None
        Effective share of each seed; None where it is withheld.
    k_hat : list of float or None
    right : float
        Share of samples with the right graph and stereo.
    rate : float
        Samples with densities and energies, per second.
    positive_phi : tuple of float, or None
        Free energy of phi > 0 above phi < 0 in kT and its error, and those of the reference.
    largest_difference : tuple of float, or None
        Of the phi and psi profiles from the reference's, in kT, where the reference is below `HIGHEST` and both errors are finite, and the
        error of that difference.
    """

    molecule: str
    generator: str
    weights: str
    seen: bool
    ess: list[float | None]
    k_hat: list[float | None]
    right: float
    rate: float
    positive_phi: tuple[float, float, float, float] | None
    largest_difference: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class BoltzmannFailure:
    """A molecule that a generator could not sample.

    Attributes
    ----------
    molecule, generator, weights : str
        As in `BoltzmannRow`.
    error : str
        Why.
    """

    molecule: str
    generator: str
    weights: str
    error: str


@dataclasses.dataclass(frozen=True)
class BoltzmannBenchmark:
    """All rows, and what could not be sampled.

    Attributes
    ----------
    rows : list of BoltzmannRow
        Those of one molecule one after the other.
    failed : list of BoltzmannFailure
    """

    rows: list[BoltzmannRow]
    failed: list[BoltzmannFailure]

    def to_table(self) -> str:
        """For the terminal."""
        cells = []
        for row in self.rows:
            known = [100 * share for share in row.ess if share is not None]
            spread = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
            ess = f"{statistics.mean(known):.1f}{spread}" if len(known) == len(row.ess) else f"withheld ({len(known)} of {len(row.ess)})"
            worst = max((k for k in row.k_hat if k is not None), default=None)
            phi = None if row.positive_phi is None else "{:.2f} ± {:.2f} ({:.2f} ± {:.2f})".format(*row.positive_phi)
            off = None if row.largest_difference is None else "{:.2f} ± {:.2f}".format(*row.largest_difference)
            cells.append([row.molecule, row.weights, "yes" if row.seen else "no", ess, worst, 100 * row.right, row.rate, phi, off])
        return Table(list(_COLUMNS), cells).to_terminal()


def benchmark_boltzmann(
    generators: Sequence[EquilibriumGenerator[Any, Any]],
    molecules: Sequence[MolecularGraph],
    samples: int = 100_000,
    seeds: int = 3,
    reference: Ensemble | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> BoltzmannBenchmark:
    """Sample molecules several times over.

    Parameters
    ----------
    generators : sequence of EquilibriumGenerator
    molecules : sequence of MolecularGraph
    samples : int
        Of each molecule, generator and seed.
    seeds : int
    reference : Ensemble, optional
        Frames of equilibrium of the one molecule that has the same graph; its profiles are compared.
    device : str
    progress : callable of (molecule, done, total)

    Returns
    -------
    BoltzmannBenchmark

    Raises
    ------
    ConfGFError
        If there is no generator or molecule, or the reference is of none of them.
    """
    if not generators or not molecules or seeds < 1:
        raise ConfGFError("There is nothing to sample; give at least one generator, one molecule and one seed.")
    if reference is not None and not any(reference.graph.same_as(graph) for graph in molecules):
        raise ConfGFError(f"The reference is of {reference.graph.name!r}, which is none of the molecules; give one that is.")
    rows, failed = [], []
    pairs = list(itertools.product(molecules, generators))
    for number, (graph, generator) in enumerate(pairs):
        progress(graph.name, number, len(pairs))
        try:
            rows.append(_row(generator, graph, samples, seeds, reference, device))
        except ConfGFError as error:
            failed.append(BoltzmannFailure(graph.name, generator.name, generator.loaded.card.name, str(error)))
    return BoltzmannBenchmark(rows, failed)


def _row(
    generator: EquilibriumGenerator[Any, Any], graph: MolecularGraph, samples: int, seeds: int, reference: Ensemble | None, device: str
) -> BoltzmannRow:
    found, seconds, right = [], 0.0, []
    for seed in range(seeds):
        start = time.perf_counter()
        ensemble = generator.sample(graph, samples, seed=seed, device=device)
        seconds += time.perf_counter() - start
        right.append(float(np.mean(~np.isin(ensemble.status, (Status.WRONG_GRAPH, Status.WRONG_STEREO)))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the table tells of k-hat
            found.append(reweight(ensemble))
    compared = reference if reference is not None and reference.graph.same_as(graph) else None
    return BoltzmannRow(
        graph.name,
        generator.name,
        generator.loaded.card.name,
        generator.trained_on(graph),
        [one.diagnostics.ess_fraction for one in found],
        [one.diagnostics.k_hat for one in found],
        statistics.mean(right),
        samples * seeds / seconds,
        None if compared is None else _positive_phi(found[0], compared),
        None if compared is None else _largest_difference(found[0], compared),
    )


def _angles(graph: MolecularGraph, positions: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """phi of each residue that has one, then psi, (B,) radians each."""
    for quadruples in backbone_torsions(graph):
        yield from dihedrals(torch.tensor(positions), torch.from_numpy(quadruples)).numpy().T


def _positive_phi(found: Reweighted, reference: Ensemble) -> tuple[float, float, float, float] | None:
    ours, theirs = (first_phi(reference.graph, positions) for positions in (found.ensemble.positions, reference.positions))
    if ours is None or theirs is None:
        return None
    difference = found.free_energy_difference(ours < 0, ours > 0)
    thermal = kT(found.temperature)
    halves = torsion_profile(theirs, np.zeros(len(theirs)), found.temperature, bins=2, groups=_groups(reference))
    expected = halves.free_energy_kT[1] - halves.free_energy_kT[0]
    error = halves.error.sum() / thermal  # what one half has more, the other has less
    return float(difference.value) / thermal, float(difference.error) / thermal, float(expected), float(error)


def _largest_difference(found: Reweighted, reference: Ensemble) -> tuple[float, float] | None:
    graph, temperature = reference.graph, found.temperature
    groups, largest = _groups(reference), None
    for ours, theirs in zip(_angles(graph, found.ensemble.positions), _angles(graph, reference.positions), strict=True):
        profile = torsion_profile(ours, found.log_weights, temperature, bins=BINS)
        expected = torsion_profile(theirs, np.zeros(len(theirs)), temperature, bins=BINS, groups=groups)
        error = np.hypot(profile.error, expected.error) / kT(temperature)
        near = (expected.free_energy_kT < HIGHEST) & np.isfinite(error)
        if not near.any():
            continue
        off = profile.free_energy_kT[near] - expected.free_energy_kT[near]
        off = np.abs(off - np.median(off))  # their zeros are arbitrary
        largest = max(largest or (0.0, 0.0), (float(off.max()), float(error[near][off.argmax()])))
    return largest


def _groups(reference: Ensemble) -> NDArray[np.int64]:
    """Frames that depend on one another: those of a replica, or, of one simulation, those of a stretch of time."""
    frames, replicas = np.arange(len(reference)), int(reference.provenance.settings.get("replicas", 1))
    return frames % replicas if replicas >= _BLOCKS else frames * _BLOCKS // len(frames)
