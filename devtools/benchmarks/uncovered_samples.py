"""What the samples are that no reference is near to: each is relaxed in GFN2-xTB, and either ends in a low minimum or does not.

    python devtools/benchmarks/uncovered_samples.py qm9_xtb_test.npz [--molecules 60] [--delta 0.5] [--generator confgf]

COV-P counts a sample right if a reference lies within delta. Reference ensembles miss minima: those of QM9-xTB were all relaxed with
MMFF94s first, so that a minimum of GFN2 in no basin of MMFF94s is not among them. This tells such samples from bad ones.
"""

import argparse

import numpy as np

from openmm_confgf.energies import GFN2Energy, minimize_gfn2
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators import create_generator
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.status import Status
from openmm_confgf.units import KJ_PER_KCAL, NM_PER_ANGSTROM

WINDOW = 6 * KJ_PER_KCAL
"""kJ/mol above the lowest reference: the energy window of the reference ensembles."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--molecules", type=int, default=60)
    parser.add_argument("--delta", type=float, default=0.5)
    parser.add_argument("--generator", default="confgf")
    arguments = parser.parse_args()
    references = load_archive(arguments.archive)[: arguments.molecules]
    counts = [2 * len(r.positions) for r in references]
    samples, uncovered, low, near, moved = 0, 0, 0, 0, []
    for k, outcome in create_generator(arguments.generator).sample_many([r.graph for r in references], counts):
        if isinstance(outcome, Exception):
            continue
        reference, usable = references[k], outcome.positions[outcome.ok]
        samples += len(usable)
        far = usable[rmsd_matrix(reference.graph, usable, reference.positions).min(1) > arguments.delta * NM_PER_ANGSTROM]
        if not len(far):
            continue
        uncovered += len(far)
        floor = GFN2Energy(reference.graph).evaluate(reference.positions).energy.min()
        relaxed = minimize_gfn2(reference.graph, far)
        whole = check_conformations(reference.graph, relaxed.positions) == Status.OK
        reached = whole & (relaxed.status == Status.OK) & (relaxed.energy <= floor + WINDOW)
        low += int(reached.sum())
        shift = [rmsd_matrix(reference.graph, a, b)[0, 0] / NM_PER_ANGSTROM for a, b in zip(far, relaxed.positions, strict=True)]
        near += int((reached & (np.array(shift) < arguments.delta)).sum())
        moved += [s for s, r in zip(shift, reached, strict=True) if r]
    print(f"{samples} OK samples of {len(references)} molecules; {uncovered} farther than {arguments.delta} A from every reference")
    print(
        f"relaxed in GFN2-xTB, {low} of them end at most 6 kcal/mol above the lowest reference, {near} less than {arguments.delta} A away"
    )
    print(f"covered, or in a minimum so near and so low: {100 * (samples - uncovered + near) / samples:.1f} %")
    print(f"median shift of those {low}: {np.median(moved) if moved else float('nan'):.2f} A")
