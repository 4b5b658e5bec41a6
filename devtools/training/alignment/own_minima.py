"""Minima that samples of confgf-noise fall to in GFN2-xTB, together with those of an archive: what small_molecules.py --pools learns from.

Usage: python devtools/training/alignment/own_minima.py qm9_xtb_train.npz FOLDER [--samples 16] [--worker 0 --workers 2]

One npz for each molecule of three or more minima; run again, it goes on. The molecules are those of the archive in a random order, always
the same, so that it may be stopped at any time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from openmm_confgf.alignment.pool import Pool
from openmm_confgf.checksums import molecule_hash
from openmm_confgf.energies import level_of
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.generators.confgf import ConfGFGenerator
from openmm_confgf.molecules.rmsd import distinct_minima

LEAST = 3
"""Minima of a molecule that is learnt from."""

LARGEST = 22
"""Atoms: all but a few of the archive's molecules."""


def pool_file(folder: Path, molecule: ReferenceMolecule) -> Path:
    """Where its minima are."""
    return folder / f"{molecule_hash(molecule.graph.smiles)}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="confgf")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    references = [one for one in load_archive(arguments.archive) if len(one.positions) >= LEAST and len(one.graph) <= LARGEST]
    order = np.random.default_rng(0).permutation(len(references))[arguments.worker :: arguments.workers]
    generator, level = ConfGFGenerator(arguments.weights, start="noise"), level_of("gfn2")
    for number, one in enumerate(references[k] for k in order):
        output = pool_file(arguments.folder, one)
        if output.exists():
            continue
        drawn = generator.sample(one.graph, arguments.samples, seed=number)
        try:
            pool = Pool.of_minima(one.graph, np.concatenate([one.positions, drawn.positions[drawn.ok]]), level)
        except ConfGFError as error:
            print(f"{one.name}: {error}", flush=True)
            continue
        kept = distinct_minima(one.graph, pool.positions, pool.energies)
        np.savez(output, positions=pool.positions[kept], energies=pool.energies[kept])
        if number % 20 == 0:
            print(f"{number}: {one.name}, {len(kept)} minima, {len(one.positions)} known", flush=True)


if __name__ == "__main__":
    main()
