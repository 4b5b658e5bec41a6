"""Print the table of `openmm_confgf.molecules.bond_windows`: the range of lengths of each kind of bond in relaxed molecules.

    python devtools/checks/bond_ranges.py ARCHIVE.npz [ARCHIVE.npz ...]

Each kind's range is widened by 0.1 A over the square root of the number of molecules that have it: what few have seen may lie elsewhere.
One molecule in 5,000 is left out at either end: QM9 has some on the verge of falling apart.
The shipped table is of qm9_xtb_train, qm9_b3lyp (`devtools/training/qm9_b3lyp_archive.py`), druglike_xtb_train and the unusual molecules of
`unusual_minima.py`; the test archives are left out, so that they can test it.
"""

import collections
import sys

import numpy as np

from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.molecules.bond_windows import bond_kind
from openmm_confgf.units import NM_PER_ANGSTROM

PER_ROOT, OUTLIERS = 0.1, 1 / 5000


def observed(molecules: list[ReferenceMolecule]) -> dict[str, list[np.ndarray]]:
    """Extremes (Angstrom) of each kind of bond in each molecule that has it."""
    found = collections.defaultdict(list)
    for molecule in molecules:
        extremes: dict[str, np.ndarray] = {}
        for bond in molecule.graph.mol.GetBonds():
            difference = molecule.positions[:, bond.GetBeginAtomIdx()] - molecule.positions[:, bond.GetEndAtomIdx()]
            length = np.linalg.norm(difference, axis=-1) / NM_PER_ANGSTROM
            kind = bond_kind(bond)
            before = extremes.get(kind, np.array([np.inf, -np.inf]))
            extremes[kind] = np.array([min(before[0], length.min()), max(before[1], length.max())])
        for kind, ends in extremes.items():
            found[kind].append(ends)
    return found


def print_table(found: dict[str, list[np.ndarray]]) -> None:
    """One line a kind: the kind and its range in Angstrom."""
    for kind in sorted(found):
        ends = np.sort(np.array(found[kind]), axis=0)
        outliers = int(len(ends) * OUTLIERS)
        more = PER_ROOT / np.sqrt(len(ends))
        print(f"{kind} {ends[outliers, 0] - more:.3f} {ends[-1 - outliers, 1] + more:.3f}")


if __name__ == "__main__":
    print_table(observed([molecule for path in sys.argv[1:] for molecule in load_archive(path)]))
