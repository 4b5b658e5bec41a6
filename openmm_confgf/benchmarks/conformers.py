"""The conformer benchmark: coverage and matching of reference conformers by several generators, in one run.

This is protocol A (Shi et al. 2021, doi:10.48550/arXiv.2105.03902): as many as twice the references are generated, RMSDs are over heavy
atoms after the best symmetry-aware alignment, and a pair within ``<= delta`` is covered. Numbers of other protocols (another delta, a
strict ``<``, other reference sets) cannot be put beside these.

What is counted how:

- A molecule for which nothing usable came out has *failed*: its coverages are 0, and it is left out of the MAT averages.
- A sample whose status is not OK is *rejected*: it was generated and matches nothing, so it stays in COV-P's denominator.
- A sample that the generator says it put right by itself is *repaired* (``Ensemble.diagnostics``); it is used like any other.
- A sample whose energy cannot be evaluated costs +inf.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..checksums import sha256_of
from ..ensemble import Ensemble
from ..errors import ConfGFError, ForceFieldError, LeakageError
from ..evaluation.above_minimum import EnergyAboveMinimum
from ..evaluation.coverage import CoverageMatching, coverage_matching
from ..evaluation.stereo import specified_stereo, stereo_is_right
from ..files.archive import ReferenceMolecule, load_archive
from ..molecules.rmsd import rmsd_matrix
from ..units import NM_PER_ANGSTROM
from .results import BenchmarkResult, MoleculeResult, SystemResult

if TYPE_CHECKING:
    from ..generators.base import Generator


def benchmark_conformers(
    archive: str | Path,
    systems: Mapping[str, Generator],
    *,
    delta: float | Sequence[float] = 0.5,
    seed: int = 0,
    max_molecules: int | None = None,
    recall_only: bool = False,
    split_charge: bool = False,
    energy: str | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> BenchmarkResult:
    """Generate twice as many conformers as there are references of every molecule with every system, and compare.

    Parameters
    ----------
    archive : str or Path
        Reference conformers (`openmm_confgf.files.archive`).
    systems : mapping of str to Generator
        What to compare, by the name that it gets in the table. All get the same seed and counts.
    delta : float or sequence of float
        Coverage threshold in Angstrom, as everywhere in the field (0.5 for QM9-like molecules, 1.25 for drug-like ones), or several.
    seed : int
        Seed of every generator.
    max_molecules : int, optional
        Only the first so many molecules of the archive.
    recall_only : bool
        Leave precision out: for references that are not all the conformers there are, where a sample that matches none may be right.
    split_charge : bool
        Summarise the molecules without and those with a net formal charge apart as well.
    energy : str, optional
        Also evaluate the samples as they are, above the lowest reference: ``"gfn2"``, or a force field as in `create_system`.
    device : str
        Torch device of the generators that have networks.
    progress : callable, optional
        Called with the system's name, the molecules done and the molecules in total.

    Returns
    -------
    BenchmarkResult

    Raises
    ------
    LeakageError
        If a molecule of the archive was in the training data of one of the generators; before any work.
    FileFormatError
        If the archive cannot be used.
    ConfGFError
        If a `delta` or `max_molecules` is not positive and finite, a `delta` is given twice, or there is no system.
    ForceFieldError
        If the level of the energies is unknown, or what it needs is not installed.
    """
    deltas = tuple(delta) if isinstance(delta, Sequence) else (delta,)
    if not deltas or len(set(deltas)) < len(deltas) or not all(0 < threshold < math.inf for threshold in deltas):
        given = ", ".join(f"{threshold:g}" for threshold in deltas) or "missing"
        raise ConfGFError(f"delta is {given}; give one or several different finite thresholds above 0 Angstrom.")
    if max_molecules is not None and max_molecules < 1:
        raise ConfGFError(f"{max_molecules} molecules were asked for; ask for at least 1.")
    if not systems:
        raise ConfGFError("There is nothing to compare; give at least one generator.")
    references = load_archive(archive)[:max_molecules]
    for name, generator in systems.items():
        refuse_leakage(name, generator, references)
    above_minimum = EnergyAboveMinimum(energy, references) if energy is not None else None

    def evaluate(index: int, outcome: Ensemble | ConfGFError, requested: int) -> MoleculeResult:
        result = evaluate_molecule(references[index], outcome, requested, deltas)
        if above_minimum is None or isinstance(outcome, ConfGFError) or not result.usable:
            return result
        try:
            return dataclasses.replace(result, above_minimum=above_minimum(index, outcome.positions[outcome.ok]))
        except ForceFieldError as error:
            return dataclasses.replace(result, energy_error=str(error))

    results = {
        name: _run_system(name, generator, references, deltas, evaluate, seed, device, progress or _silent)
        for name, generator in systems.items()
    }
    data, checksum = Path(archive).name, sha256_of(archive)
    return BenchmarkResult(data, checksum, deltas, seed, len(references), results, recall_only, split_charge, energy)


def refuse_leakage(name: str, generator: Generator, references: list[ReferenceMolecule]) -> None:
    """Make sure that none of the molecules was in the training data of a generator's weights.

    Parameters
    ----------
    name : str
        What the generator is called in the message.
    generator : Generator
    references : list of ReferenceMolecule

    Raises
    ------
    LeakageError
        If one was.
    """
    leaked = [reference.graph.smiles for reference in references if generator.trained_on(reference.graph)]
    if leaked:
        raise LeakageError(
            f"{len(leaked)} of {len(references)} molecules were in the training data of {name} (the first is {leaked[0]}); "
            "benchmark it on molecules that it never saw."
        )


def evaluate_molecule(
    reference: ReferenceMolecule, outcome: Ensemble | ConfGFError, requested: int, delta: float | Sequence[float]
) -> MoleculeResult:
    """Compare what one generator made of one molecule with its references.

    Parameters
    ----------
    reference : ReferenceMolecule
    outcome : Ensemble or ConfGFError
        The conformations, or why there are none.
    requested : int
        How many were asked for.
    delta : float or sequence of float
        Coverage threshold in Angstrom, or several.

    Returns
    -------
    MoleculeResult
        Without energies; RMSDs in Angstrom. Failed where nothing usable came out.
    """
    deltas = tuple(delta) if isinstance(delta, Sequence) else (delta,)
    charge, nothing = reference.graph.total_charge, len(deltas) * (CoverageMatching.failure(),)
    if isinstance(outcome, ConfGFError):
        return MoleculeResult(reference.name, charge, requested, 0, 0, None, None, nothing, str(outcome))
    usable, repaired = outcome.select(outcome.ok), outcome.diagnostics.get("repaired")
    if len(usable) == 0:
        counts = ", ".join(f"{count} {status}" for status, count in outcome.counts().items())
        reason = f"no usable conformation ({counts or 'none at all'})"
        return MoleculeResult(reference.name, charge, requested, len(outcome), 0, repaired, None, nothing, reason)
    rmsd = rmsd_matrix(reference.graph, reference.positions, usable.positions) / NM_PER_ANGSTROM
    right = int(stereo_is_right(usable).sum()) if specified_stereo(reference.graph) else None
    matchings = tuple(coverage_matching(rmsd, threshold, requested) for threshold in deltas)
    rejected = len(outcome) - len(usable)
    return MoleculeResult(reference.name, charge, requested, rejected, len(usable), repaired, right, matchings, None)


def _run_system(
    name: str,
    generator: Generator,
    references: list[ReferenceMolecule],
    deltas: tuple[float, ...],
    evaluate: Callable[[int, Ensemble | ConfGFError, int], MoleculeResult],
    seed: int,
    device: str,
    progress: Callable[[str, int, int], None],
) -> SystemResult:
    """Generate with one system, then compare; `seconds` counts the generation only."""
    requested = [2 * len(reference.positions) for reference in references]
    calls = max(generator.calls(reference.graph) for reference in references)
    outcomes: dict[int, Ensemble | ConfGFError] = {}
    progress(name, 0, len(references))
    start = time.perf_counter()
    for index, outcome in generator.sample_many([reference.graph for reference in references], requested, seed=seed, device=device):
        outcomes[index] = outcome
        progress(name, len(outcomes), len(references))
    seconds = time.perf_counter() - start
    molecules = tuple(evaluate(index, outcomes[index], count) for index, count in enumerate(requested))
    return SystemResult(molecules, deltas, calls, seconds)


def _silent(name: str, done: int, total: int) -> None:
    del name, done, total
