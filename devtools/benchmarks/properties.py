"""Ensemble properties, the second task of ConfGF's paper: absolute errors in GFN2-xTB, as drawn and relaxed, a row for each generator.

    python devtools/benchmarks/properties.py qm9_xtb_test.npz [--molecules 30] [--samples 50] [--generator confgf ...] [--relax gfn2 ...]

As in Shi et al. 2021 (doi:10.48550/arXiv.2105.03902, table 3): the mean and the lowest energy, and the mean, lowest and highest HOMO-LUMO
gap of 50 samples, against those of the reference conformers, none weighed; errors in eV, mean and median over molecules. Their references
are GEOM-QM9's and their energies Psi4's, so that their figures cannot be put beside these. Only samples whose status is OK count; what was
rejected is in the last column.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from openmm_confgf.energies import GFN2Energy
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.evaluation import EnsembleProperties, ensemble_properties
from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.generators import create_generator
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.units import KJ_PER_EV
from openmm_confgf.version import __version__

PROPERTIES = {
    "mean_energy": "E mean",
    "lowest_energy": "E lowest",
    "mean_gap": "gap mean",
    "lowest_gap": "gap min",
    "highest_gap": "gap max",
}
COLUMNS = (
    Column("generator", align="left"),
    Column("relaxed", align="left"),
    *(Column(title, "eV", "{}") for title in PROPERTIES.values()),
    Column("molecules"),
    Column("rejected", "%", "{:.1f}"),
    Column("seconds", layout="{:.0f}"),
)


def properties(reference: ReferenceMolecule, positions: Any) -> EnsembleProperties:
    """Those of conformations (B, N, 3) in nm; one whose energy cannot be evaluated is left out."""
    energy = GFN2Energy(reference.graph)
    found = energy.evaluate(positions)
    return ensemble_properties(found.energy[found.ok], energy.gaps(np.asarray(positions)[found.ok]))


def row(
    name: str, level: str | None, outcomes: Sequence[Ensemble], references: Sequence[ReferenceMolecule], known: Sequence[EnsembleProperties]
) -> list[Any]:
    """Mean and median errors of one generator, relaxed at a level or not."""
    start, errors, rejected = time.perf_counter(), [], 0
    for outcome, reference, expected in zip(outcomes, references, known, strict=True):
        final = outcome if level is None else relax(outcome, level)
        rejected += int((~final.ok).sum())
        if final.ok.any():
            errors.append(dataclasses.asdict(properties(reference, final.positions[final.ok]).errors(expected)))
    cells = []
    for key in PROPERTIES:
        values = [error[key] / KJ_PER_EV for error in errors if error[key] is not None]
        cells.append(f"{np.mean(values):.3f} / {np.median(values):.3f}" if values else None)
    share = 100 * rejected / sum(len(outcome) for outcome in outcomes)
    return [name, level or "-", *cells, len(errors), share, time.perf_counter() - start]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--molecules", type=int, default=30)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--generator", nargs="+", default=["confgf", "confgf-noise", "confgf-paper", "etkdg", "etkdg+mmff"])
    parser.add_argument("--relax", nargs="*", default=["gfn2"], help="levels; nothing: as drawn only")
    arguments = parser.parse_args()
    references = [m for m in load_archive(arguments.archive) if len(m.positions) > 1][: arguments.molecules]
    known = [properties(m, m.positions) for m in references]

    def rows() -> Any:
        for name in arguments.generator:
            found = dict(create_generator(name).sample_many([m.graph for m in references], arguments.samples))
            # a molecule that failed as a whole has no samples, and all are rejected
            nothing = [
                Ensemble(m.graph, np.full((arguments.samples, len(m.graph), 3), np.nan), Provenance(name, __version__)) for m in references
            ]
            outcomes = [e if isinstance(e := found[k], Ensemble) else nothing[k] for k in range(len(references))]
            for level in [None, *arguments.relax]:
                yield row(name, level, outcomes, references, known)

    for line in markdown_lines(COLUMNS, rows()):
        print(line, flush=True)
