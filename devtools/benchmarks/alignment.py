"""Weights of confgf-noise against Boltzmann's distribution over reference minima, a row for each; figures in docs/alignment.md.

    python devtools/benchmarks/alignment.py qm9_xtb_test.npz --weights confgf --weights confgf-noise-eba [-n 30] [--seeds 3]

Samples (twice as many as there are references, 16 to 48) are compared as they are by coverage (0.5 Angstrom), and, as the minima of
GFN2-xTB that they fall to, by the distribution of energies and the populations of basins at 298.15 K. Molecules of one reference have
nothing to compare. Means over molecules; the spread is over seeds.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from openmm_confgf.alignment.before_after import FoundMinima
from openmm_confgf.energies import level_of
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation import coverage_matching
from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.generators import Generator, create_generator
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.tables import Column, markdown_lines

TEMPERATURE = 298.15
MEASURED = ("E-W2, kJ/mol", "basins: JS, nats", "basins: TV", "COV-R, %", "MAT-R, A")
COLUMNS = (Column("weights", align="left"), Column("molecules"), *(Column(name) for name in MEASURED), Column("rejected", "%", "{:.2f}"))


def measured(generator: Generator, reference: ReferenceMolecule, level: Any, seed: int) -> tuple[list[float], float] | None:
    """What is in `MEASURED` of one molecule, and the share of its samples that are not OK."""
    count = int(np.clip(2 * len(reference.positions), 16, 48))
    drawn = generator.sample(reference.graph, count, seed=seed)
    minima = relax(drawn, level)
    usable = minima.ok & np.isfinite(minima.energy)
    if usable.sum() < 2:
        return None
    known = level.minimize(reference.graph, reference.positions)  # once more, by the same code
    # what the samples find and the references lack belongs to the distribution, too
    positions = np.concatenate([known.positions, minima.positions[usable]])
    energies = np.concatenate([known.energy, minima.energy[usable]])
    found = FoundMinima.of(reference.graph, positions, energies, TEMPERATURE)
    populations = found.populations(minima.positions[usable])
    covered = coverage_matching(10 * rmsd_matrix(reference.graph, reference.positions, drawn.positions[drawn.ok]), 0.5, count)
    values = [found.energy_w2(minima.energy[usable]), populations.js, populations.total_variation, 100 * covered.cov_r, covered.mat_r]
    return values, 1 - float(usable.mean())


def rows(arguments: argparse.Namespace) -> Iterator[list[Any]]:
    """A row for each of the weights."""
    references = [one for one in load_archive(arguments.archive) if len(one.positions) > 1]
    chosen = np.random.default_rng(0).permutation(len(references))[: arguments.molecules]
    level = level_of("gfn2")
    for weights in arguments.weights:
        generator, means, rejected = create_generator("confgf-noise", weights), [], []
        for seed in range(arguments.seeds):
            found = []
            for k in chosen:
                try:
                    one = measured(generator, references[k], level, seed)
                except ConfGFError as error:
                    print(f"{references[k].name}: {error}")
                    continue
                if one is not None:
                    found.append(one[0])
                    rejected.append(one[1])
            means.append(np.mean(found, axis=0))
        spread = np.std(means, axis=0)
        cells = [f"{mean:.3f} ± {width:.3f}" for mean, width in zip(np.mean(means, axis=0), spread, strict=True)]
        yield [weights, len(found), *cells, 100 * float(np.mean(rejected))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--weights", action="append", required=True)
    parser.add_argument("-n", "--molecules", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    for line in markdown_lines(COLUMNS, rows(parser.parse_args())):
        print(line, flush=True)
