"""Reference ensembles of drug-like molecules for choosing settings, from starts of which only half were relaxed in MMFF94s before.

    python devtools/benchmarks/druglike_validation.py ARCHIVE OUT.npz [--molecules 40] [--all]

Those molecules of the archive that training leaves out (all of them with --all): 24 ETKDGv3 embeddings, every second one relaxed in
MMFF94s, each displaced a little and minimised in GFN2-xTB; the ten lowest minima, 0.3 Angstrom or 2 kJ/mol apart. About two minutes a
molecule and core.
"""

import argparse

import numpy as np

from openmm_confgf.checksums import molecule_hash
from openmm_confgf.energies import minimize_gfn2, resolve_optimizer
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.errors import ConfGFError, GenerationError
from openmm_confgf.files.archive import ReferenceMolecule, load_archive, save_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import distinct_minima
from openmm_confgf.references.protocol import DISPLACEMENT
from openmm_confgf.status import Status
from openmm_confgf.training.data import validates

STARTS, KEPT, SEED = 24, 10, 991


def ensemble(graph: MolecularGraph, optimizer: str) -> ReferenceMolecule:
    """The lowest minima of a molecule."""
    embedded = embed_etkdg(graph, STARTS, SEED)
    relaxed = relax(embedded.select(np.arange(1, STARTS, 2)), "mmff")
    starts = np.concatenate([embedded.positions[::2], relaxed.positions])
    starts = starts[np.isfinite(starts).all(axis=(1, 2))]
    starts += np.random.default_rng(1).normal(scale=DISPLACEMENT, size=starts.shape)
    positions, energy, status = minimize_gfn2(graph, starts, optimizer)
    reached = np.flatnonzero(status == Status.OK)
    good = reached[check_conformations(graph, positions[reached]) == Status.OK]
    kept = good[distinct_minima(graph, positions[good], energy[good], 0.03, 2.0)[:KEPT]]
    if not len(kept):
        raise GenerationError(f"no start of {graph.name!r} comes to a minimum of it.")
    return ReferenceMolecule(graph.name, graph, positions[kept], energy[kept] - energy[kept[0]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("out")
    parser.add_argument("--molecules", type=int, default=40)
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    graphs = [m.graph for m in load_archive(arguments.archive)]
    held = [g for g in graphs if arguments.all or validates(molecule_hash(g.constitution))]
    optimizer, found = resolve_optimizer(), []
    for graph in held[: arguments.molecules]:
        try:
            found.append(ensemble(graph, optimizer))
            print(graph.name, len(found[-1].positions), "minima", flush=True)
        except ConfGFError as error:
            print(error)
    save_archive(arguments.out, found)
