"""How many molecules of an archive ETKDG makes, and whether those that it makes by chance last when they are relaxed.

    python devtools/benchmarks/cages.py qm9_b3lyp_train.npz [--molecules 10000] [--relax mmff gfn2]

Ten thousand molecules take five minutes of a core, and their relaxation two more.
"""

import argparse
import collections
import time
from pathlib import Path

import torch
from library_rate import chosen_from

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.embedding import WAYS
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph

BY_CHANCE = next(way.name for way in WAYS if way.by_chance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="npz with the SMILES of molecules")
    parser.add_argument("--molecules", type=int, default=10_000)
    parser.add_argument("--conformers", type=int, default=5)
    parser.add_argument("--relax", nargs="*", default=["mmff", "gfn2"], help="levels at which two conformations of each are relaxed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole, cages, begun = 0, list[Ensemble](), time.process_time()
    smiles = chosen_from(given.archive, given.molecules)
    for one in smiles:
        try:
            ensemble = embed_etkdg(MolecularGraph.from_smiles(one), given.conformers, 0)
        except ConfGFError as error:
            print(error)
            continue
        whole += int(ensemble.ok.all())
        if not ensemble.ok.all():
            print(f"{one}: {ensemble.counts()}")
        if set(ensemble.diagnostics["ways"]) == {BY_CHANCE}:
            cages.append(ensemble[ensemble.ok][:2])
    seconds = time.process_time() - begun
    print(f"{whole} of {len(smiles)} molecules have all conformations, {len(smiles) / seconds:.0f} molecules/s")
    print(f"{len(cages)} come by chance alone")
    for level in given.relax:
        counts, changed = collections.Counter[str](), []
        for cage in cages:
            relaxed = relax(cage, level)
            counts.update(relaxed.counts())
            changed += [] if relaxed.ok.all() else [cage.graph.smiles]
        print(f"relaxed in {level}: {dict(counts)}; {' '.join(changed)}")


if __name__ == "__main__":
    main()
