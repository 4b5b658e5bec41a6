"""The conformer benchmark: coverage and matching of reference conformers by several generators, in one run.

This is protocol A (Shi et al. 2021): as many as twice the references are generated, RMSDs are over heavy atoms after the best
symmetry-aware alignment, and a pair within ``<= delta`` is covered. Numbers of other protocols (another delta, a strict ``<``, other
reference sets) cannot be put beside these.

What is counted how:

- A molecule for which nothing usable came out has *failed*: its coverages are 0, and it is left out of the MAT averages.
- A sample whose status is not OK is *rejected*: it was generated and matches nothing, so it stays in COV-P's denominator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..archive import ReferenceMolecule, load_archive
from ..checksums import sha256_of
from ..ensemble import Ensemble
from ..errors import ConfGFError, LeakageError
from ..rmsd import rmsd_matrix
from ..units import NM_PER_ANGSTROM
from .coverage import CoverageMatching, coverage_matching
from .results import BenchmarkResult, MoleculeResult, SystemResult
from .stereo import specified_stereo, stereo_is_right

if TYPE_CHECKING:
    from ..generators._base import Generator


def benchmark_conformers(
    archive: str | Path,
    systems: Mapping[str, Generator],
    *,
    delta: float = 0.5,
    seed: int = 0,
    max_molecules: int | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> BenchmarkResult:
    """Generate twice as many conformers as there are references of every molecule with every system, and compare.

    Parameters
    ----------
    archive : str or Path
        Reference conformers (`openmm_confgf.archive`).
    systems : mapping of str to Generator
        What to compare, by the name that it gets in the table. All get the same seed and counts.
    delta : float
        Coverage threshold in Angstrom, as everywhere in the field (0.5 for QM9-like molecules, 1.25 for drug-like ones).
    seed : int
        Seed of every generator.
    max_molecules : int, optional
        Only the first so many molecules of the archive.
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
        If `delta` or `max_molecules` is not positive and finite, or there is no system.
    """
    if not 0 < delta < math.inf:
        raise ConfGFError(f"delta is {delta}; give a finite threshold above 0 Angstrom.")
    if max_molecules is not None and max_molecules < 1:
        raise ConfGFError(f"{max_molecules} molecules were asked for; ask for at least 1.")
    if not systems:
        raise ConfGFError("There is nothing to compare; give at least one generator.")
    references = load_archive(archive)[:max_molecules]
    for name, generator in systems.items():
        refuse_leakage(name, generator, references)
    results = {
        name: _run_system(name, generator, references, delta, seed, device, progress or _silent) for name, generator in systems.items()
    }
    return BenchmarkResult(Path(archive).name, sha256_of(archive), delta, seed, len(references), results)


def refuse_leakage(name: str, generator: Generator, references: list[ReferenceMolecule]) -> None:
    """Raise LeakageError if the generator's weights were trained on one of the molecules."""
    leaked = [reference.graph.smiles for reference in references if generator.trained_on(reference.graph)]
    if leaked:
        raise LeakageError(
            f"{len(leaked)} of {len(references)} molecules were in the training data of {name} (the first is {leaked[0]}); "
            "benchmark it on molecules that it never saw."
        )


def evaluate_molecule(reference: ReferenceMolecule, outcome: Ensemble | ConfGFError, requested: int, delta: float) -> MoleculeResult:
    """Compare what one generator made of one molecule with its references (`delta` in Angstrom)."""
    if isinstance(outcome, ConfGFError):
        return MoleculeResult(reference.name, requested, 0, 0, 0, CoverageMatching.failure(), str(outcome))
    usable = outcome.select(outcome.ok)
    if len(usable) == 0:
        counts = ", ".join(f"{count} {status}" for status, count in outcome.counts().items())
        return MoleculeResult(
            reference.name, requested, len(outcome), 0, 0, CoverageMatching.failure(), f"no usable conformation ({counts or 'none at all'})"
        )
    rmsd = rmsd_matrix(reference.graph, reference.positions, usable.positions) / NM_PER_ANGSTROM
    right = int(stereo_is_right(usable).sum()) if specified_stereo(reference.graph) else None
    return MoleculeResult(
        reference.name, requested, len(outcome) - len(usable), len(usable), right, coverage_matching(rmsd, delta, requested), None
    )


def _run_system(
    name: str,
    generator: Generator,
    references: list[ReferenceMolecule],
    delta: float,
    seed: int,
    device: str,
    progress: Callable[[str, int, int], None],
) -> SystemResult:
    """Generate and compare with one system; `seconds` counts the generation only."""
    requested = [2 * len(reference.positions) for reference in references]
    molecules: dict[int, MoleculeResult] = {}
    seconds = 0.0
    progress(name, 0, len(references))
    stream = generator.sample_many([reference.graph for reference in references], requested, seed=seed, device=device)
    while True:
        start = time.perf_counter()
        item = next(stream, None)
        seconds += time.perf_counter() - start
        if item is None:
            break
        index, outcome = item
        molecules[index] = evaluate_molecule(references[index], outcome, requested[index], delta)
        progress(name, len(molecules), len(references))
    return SystemResult(tuple(molecules[index] for index in range(len(references))), generator.calls, seconds)


def _silent(name: str, done: int, total: int) -> None:
    del name, done, total
