"""GFN2-xTB minima of the kinds of molecules that the archives lack, as an archive for `bond_ranges.py` and `angle_ranges.py`.

    python devtools/checks/unusual_minima.py devtools/checks/unusual.smi OUT.npz

No check of the package decides what is kept, since its windows come from this: a minimum counts that is at most 60 kJ/mol above the lowest
found, whose bonds are all below 1.3 of their covalent radii, and whose atoms three or more bonds apart are beyond 1.15 of them. Dissociated
molecules (PCl5, ICl4-) fall out by that. Takes 20 minutes on a core; needs tblite.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from openmm_confgf.energies.xtb.minimize import minimize_gfn2
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import ReferenceMolecule, save_archive
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.units import NM_PER_ANGSTROM

WINDOW, LONGEST_BOND, NEAREST = 60.0, 1.3, 1.15


def embedded(graph: MolecularGraph) -> np.ndarray:
    """Up to three crude starts (B, N, 3) in nm, shaken so that none stays on a saddle point."""
    params = rdDistGeom.ETKDGv3()
    params.randomSeed, params.maxIterations, params.useRandomCoords = 7, 20, True
    for knowledge in (True, False):
        params.useBasicKnowledge = params.useExpTorsionAnglePrefs = params.useSmallRingTorsions = knowledge
        mol = Chem.Mol(graph.mol)
        with contextlib.suppress(RuntimeError):  # an assertion of RDKit's fails for boroxine and borazine
            rdDistGeom.EmbedMultipleConfs(mol, 3 if len(graph) < 25 else 1, params)
        if mol.GetNumConformers():
            frames = np.array([conformer.GetPositions() for conformer in mol.GetConformers()]) * NM_PER_ANGSTROM
            return frames + np.random.default_rng(0).normal(scale=0.008, size=frames.shape)
    return np.empty((0, len(graph), 3))


def is_whole(graph: MolecularGraph, frame: np.ndarray) -> bool:
    """Whether the bonds are there and nothing else touches, by covalent radii alone."""
    radii = np.array([Chem.GetPeriodicTable().GetRcovalent(int(z)) for z in graph.numbers]) * NM_PER_ANGSTROM
    ratio = np.linalg.norm(frame[:, None] - frame[None], axis=-1) / (radii[:, None] + radii)
    return bool((ratio[graph.topological_distances == 1] < LONGEST_BOND).all() and (ratio[graph.topological_distances > 2] > NEAREST).all())


def minima(smiles: str) -> ReferenceMolecule | None:
    """The minima of one molecule that count, or None."""
    graph = MolecularGraph.from_smiles(smiles)
    found = minimize_gfn2(graph, embedded(graph), max_iterations=300)
    energy = found.energy - found.energy.min(initial=np.inf)
    kept = [k for k in np.flatnonzero(energy < WINDOW) if is_whole(graph, found.positions[k])]
    return ReferenceMolecule(smiles, graph, found.positions[kept], energy[kept]) if kept else None


def main(source: str, target: str) -> None:
    """Minimise each SMILES of a file, and say which gave nothing."""
    molecules = []
    for smiles in Path(source).read_text().split():
        try:
            with rdBase.BlockLogs():
                molecule = minima(smiles)
        except ConfGFError as error:
            print(f"{smiles}: {error}")
            continue
        if molecule is None:
            print(f"{smiles}: no minimum of this molecule")
        else:
            molecules.append(molecule)
    save_archive(target, molecules)
    print(f"{len(molecules)} molecules -> {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
