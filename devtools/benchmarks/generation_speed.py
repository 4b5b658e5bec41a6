"""Conformers per second of the generators, in turn on the same molecules, and the time of the starts alone over the whole.

    python devtools/benchmarks/generation_speed.py qm9_xtb_train.npz druglike_xtb_train.npz [--threads 2] [--device cpu] [--repeats 3]

Molecules of 17 to 19 atoms of the first archive and of 44 to 46 atoms of the second, spread over all that it has; medians over the
repeats.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators import ConfGFGenerator, ETKDGGenerator, Generator
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.tables import Column, markdown_lines

CONFORMERS = 20
MOLECULES = 12
COLUMNS = (
    Column("atoms", align="left"),
    Column("system", align="left"),
    Column("calls"),
    Column("conformers/s", layout="{:.1f}"),
    Column("the starts alone, of the whole time", layout="{:.0%}"),
)
SYSTEMS: dict[str, Generator] = {
    "confgf": ConfGFGenerator(),
    "confgf, compiled": ConfGFGenerator(compiled=True),
    "mmff+confgf": ConfGFGenerator(start="etkdg+mmff"),
    "etkdg": ETKDGGenerator(),
    "etkdg+mmff": ETKDGGenerator(mmff=True),
}


def molecules_of(path: str, size: int) -> list[MolecularGraph]:
    """Molecules of about this number of atoms."""
    found = [m.graph for m in load_archive(path) if abs(len(m.graph) - size) <= 1]
    return found[:: max(1, len(found) // MOLECULES)][:MOLECULES]


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def row(size: int, name: str, generator: Generator, molecules: Sequence[MolecularGraph], device: str, repeats: int) -> list[Any]:
    """Conformers per second, and the time that the ETKDG embeddings alone would take, over the whole."""
    made = len(molecules) * CONFORMERS
    whole = seconds(lambda: list(generator.sample_many(molecules, CONFORMERS, device=device)), repeats)
    share = None
    if isinstance(generator, ConfGFGenerator):
        share = seconds(lambda: [embed_etkdg(m, CONFORMERS, 0, generator.candidates) for m in molecules], repeats) / whole
    return [size, name, generator.calls(molecules[0]), made / whole, share]


def rows(small: str, drug_like: str, device: str, repeats: int) -> Iterator[list[Any]]:
    """Of each size and each system."""
    for size, path in ((18, small), (45, drug_like)):
        chosen = molecules_of(path, size)
        for name, generator in SYSTEMS.items():
            list(generator.sample_many(chosen, CONFORMERS, device=device))  # compiles, and fills caches
            yield row(size, name, generator, chosen, device, repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("small")
    parser.add_argument("drug_like")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for line in markdown_lines(COLUMNS, rows(arguments.small, arguments.drug_like, arguments.device, arguments.repeats)):
        print(line, flush=True)
