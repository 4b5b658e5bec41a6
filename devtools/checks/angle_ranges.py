"""Print the extremes that the constants of `openmm_confgf.molecules.centre_shapes` must let through, as seen in relaxed molecules.

    python devtools/checks/angle_ranges.py ARCHIVE.npz [ARCHIVE.npz ...]

Each line is a constant, the case of it, how many molecules have such an angle, the extreme of all and that without one molecule in 5,000
(QM9 has some on the verge of falling apart), in degrees. The shipped constants were held against qm9_xtb_train, qm9_b3lyp
(`devtools/training/qm9_b3lyp_archive.py`) and druglike_xtb_train; what these do not have, as metals, is told beside the constant.
"""

import collections
import sys
from collections.abc import Iterator

import numpy as np
import torch
from rdkit import Chem

from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.molecules import centre_shapes as shapes
from openmm_confgf.molecules.geometry import angles, dihedrals

OUTLIERS = 1 / 5000

Case = tuple[str, str]
"""A constant, and the case of it."""


def angle_case(centre: Chem.Atom, ring: int, smallest: int) -> tuple[Case | None, Case | None]:
    """The constants that an angle is held to from below and from above; its ring and the smallest one of its centre, 0 for none."""
    shape = shapes._shape(centre)
    degree, lone_pairs = shape
    if shapes._is_linear(centre, shape):
        return ("LEAST_LINEAR", f"ring {ring if ring < 10 else 0}"), None
    if degree in (5, 6) and lone_pairs == 0:
        return ("NARROWEST_CROWDED", ""), None
    if lone_pairs < 0 or degree + lone_pairs > 4:
        return ("NARROWEST_LARGE", ""), None
    low = ("NARROWEST_IN_FOUR_RING" if ring == 4 else "NARROWEST", "")
    return low, ("WIDEST", f"{degree} neighbours, ring {smallest if smallest < 6 else 0}") if degree > 2 else None


def seen(molecule: ReferenceMolecule) -> Iterator[tuple[Case, float]]:
    """Constants that a molecule is held to, and its extreme (degrees) of each; widest for WIDEST and MOST_TWISTED, else narrowest."""
    graph, frames = molecule.graph, torch.from_numpy(molecule.positions)
    rings = [frozenset(ring) for ring in graph.mol.GetRingInfo().AtomRings()]
    asked = shapes.CentreShapes.of(graph, 0.0)
    bends = np.degrees(angles(frames, torch.from_numpy(asked.triples)).numpy())
    for triple, bend in zip(asked.triples.tolist(), bends.T, strict=True):
        if graph.topological_distances[triple[0], triple[2]] == 1:
            continue
        ring = min((len(r) for r in rings if r.issuperset(triple)), default=0)
        smallest = min((len(r) for r in rings if triple[1] in r), default=0)
        below, above = angle_case(graph.mol.GetAtomWithIdx(triple[1]), ring, smallest)
        if below:
            yield below, float(bend.min())
        if above:
            yield above, float(bend.max())
    for centre in asked.planar:
        yield ("LEAST_PLANAR", ""), float(bends[:, asked.triples[:, 1] == centre].sum(1).min())
    for centre in asked.trans:
        here = bends[:, asked.triples[:, 1] == centre]
        yield ("TRANS", "narrowest of those above"), float(np.where(here > shapes.TRANS, here, 180.0).min())
        yield ("TRANS", "widest of those below"), float(np.where(here > shapes.TRANS, 0.0, here).max())
    by_bond = collections.defaultdict(list)
    for chain in asked.chains.tolist():
        cosine = torch.cos(dihedrals(frames, torch.tensor([chain[:4]])))[:, 0].numpy()
        by_bond[tuple(chain[1:3])].append(np.degrees(np.arccos(np.clip(cosine if chain[4] else np.abs(cosine), -1, 1))))
    for twists in by_bond.values():
        yield ("MOST_TWISTED", ""), float(np.min(twists, axis=0).max())


def is_upper(case: Case) -> bool:
    """Whether the largest is the extreme of this constant."""
    return case[0] in ("WIDEST", "MOST_TWISTED") or "widest" in case[1]


def main(paths: list[str]) -> None:
    """Print a line for each case."""
    found: dict[Case, dict[int, float]] = collections.defaultdict(dict)
    for index, molecule in enumerate(molecule for path in paths for molecule in load_archive(path)):
        for case, value in seen(molecule):
            extreme = max if is_upper(case) else min
            found[case][index] = extreme(value, found[case].get(index, value))
    for case in sorted(found):
        values = sorted(found[case].values(), reverse=is_upper(case))
        molecule_left_out = values[int(len(values) * OUTLIERS)]
        print(f"{' '.join(case):40s} {len(values):7d} molecules   {values[0]:6.1f}   {molecule_left_out:6.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
