"""The paths that MMFF94s takes from ETKDG conformations to its minima, for a network that is to take them by itself.

    python devtools/training/relaxation_paths.py SMILES_FILE OUT.npz [--molecules 4000] [--conformers 3] [--first 0]
        [--held-out ARCHIVE ...]

Every 100 lines of the file are kept in OUT.npz.parts, so that the same command goes on where it stopped; at the end all parts become one
training set. Molecules without parameters in MMFF94s, without a conformation of the right stereo at both ends, or held out, are
passed over.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import RDLogger
from rdkit.Chem import rdForceFieldHelpers
from scipy.spatial.transform import Rotation

from openmm_confgf.checksums import molecule_hash
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.features import featurise
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status
from openmm_confgf.training.data import TrainingMolecule, fingerprints, save_training_set
from openmm_confgf.units import NM_PER_ANGSTROM

STOPS = (0, 8, 24, 60, 150)
"""Steps of RDKit's minimiser after which a frame is kept; the minimum is one more."""

LARGEST = 90
"""Atoms."""


def paths(graph: MolecularGraph, count: int) -> NDArray[np.float64] | None:
    """Frames (count, len(STOPS) + 1, N, 3) in Angstrom from ETKDG to the minimum, of those that are OK at both ends."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(graph.mol, mmffVariant="MMFF94s")
    if properties is None or len(graph) > LARGEST:
        return None
    starts = embed_etkdg(graph, count, 0)
    found = []
    for start in starts.positions[starts.ok]:
        mol = graph.to_rdkit(start)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
        frames, made = [], 0
        for stop in STOPS:
            if stop > made:
                field.Minimize(maxIts=stop - made)
                made = stop
            frames.append(mol.GetConformer().GetPositions())
        if field.Minimize(maxIts=5000) == 0:
            frames.append(mol.GetConformer().GetPositions())
            found.append(np.array(frames))
    if not found:
        return None
    ended = check_conformations(graph, np.array([f[-1] for f in found]) * NM_PER_ANGSTROM) == Status.OK
    return np.array(found)[ended] if ended.any() else None


def training_molecules(part: Path) -> Iterator[TrainingMolecule]:
    """The molecules of a part, each with its minima and the frames before, superposed on them."""
    arrays = dict(np.load(part))
    ends = np.cumsum(arrays["n_conf"] * arrays["n_atoms"])
    for m, smiles in enumerate(arrays["smiles"]):
        n, k = arrays["n_atoms"][m], arrays["n_conf"][m]
        frames = arrays["frames"][:, ends[m] - k * n : ends[m]].reshape(-1, k, n, 3).swapaxes(0, 1).astype(np.float64)
        frames -= frames.mean(axis=2, keepdims=True)
        for path in frames:
            for frame in path[:-1]:
                frame[:] = Rotation.align_vectors(path[-1], frame)[0].apply(frame)
        graph = MolecularGraph.from_smiles(str(smiles))
        yield TrainingMolecule(
            featurise(graph),
            frames[:, -1].astype(np.float32),
            np.full(k, np.nan, np.float32),
            molecule_hash(graph.constitution),
            frames[:, :-1].astype(np.float32),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("smiles")
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", type=int, default=4000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--conformers", type=int, default=3)
    parser.add_argument("--held-out", action="append", default=[])
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    excluded = {f for path in arguments.held_out for f in fingerprints(path)}
    lines = Path(arguments.smiles).read_text().splitlines()[arguments.first :][: arguments.molecules]
    parts = arguments.out.with_name(arguments.out.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    for block in range(0, len(lines), 100):
        target, began = parts / f"{arguments.first + block:06d}.npz", time.perf_counter()
        if target.exists():
            continue
        kept = []
        for line in filter(None, lines[block : block + 100]):
            with contextlib.suppress(ConfGFError):
                graph = MolecularGraph.from_smiles(line.split()[0])
                frames = None if molecule_hash(graph.constitution) in excluded else paths(graph, arguments.conformers)
                if frames is not None:
                    kept.append((graph, frames))
        np.savez(
            target,
            smiles=np.array([g.smiles for g, _ in kept]),
            n_conf=np.array([len(f) for _, f in kept]),
            n_atoms=np.array([len(g) for g, _ in kept]),
            frames=np.concatenate(
                [np.empty((len(STOPS) + 1, 0, 3)), *(f.swapaxes(0, 1).reshape(len(STOPS) + 1, -1, 3) for _, f in kept)], axis=1
            ).astype(np.float16),
        )
        print(
            f"{target.name}: {len(kept)} molecules, {sum(len(f) for _, f in kept)} paths, {time.perf_counter() - began:.0f} s", flush=True
        )
    save_training_set(arguments.out, [m for part in sorted(parts.glob("*.npz")) for m in training_molecules(part)])
