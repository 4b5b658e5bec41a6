"""Minima from ETKDG starts in the learned potential and in force fields: how far they are from the GFN2-xTB minimum of the same start.

    python devtools/benchmarks/learned_potential.py qm9_xtb_test.npz [--molecules 50] [--seed 1] [--level mmff94s ...]

One start of each molecule, those of the archive evenly. RMSD of heavy atoms after the best alignment, symmetry-aware; a minimum that is
another molecule, or was not found, is counted and left out of the RMSD. `etkdg` is the start itself. Time is that of minimising alone.
"""

import argparse
import time
from typing import Any

import numpy as np

from openmm_confgf.energies.levels import Level
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators import create_generator
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import potential_level
from openmm_confgf.openmm_plugin.learned_potential import POTENTIAL
from openmm_confgf.status import Status
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.units import NM_PER_ANGSTROM

COLUMNS = (
    Column("minimised in", align="left"),
    Column("median", "Å", "{:.3f}"),
    Column("mean", "Å", "{:.3f}"),
    Column("below 0.1 Å", "%", "{:.0f}"),
    Column("molecules"),
    Column("failed"),
    Column("seconds each", layout="{:.2f}"),
)


def minimum(level: Level | None, graph: MolecularGraph, start: Any) -> Any:
    """The nearest minimum (1, N, 3), or the start itself without a level; None where there is none that is the molecule."""
    if level is None:
        return start
    try:
        found = level.minimize(graph, start)
    except ConfGFError:
        return None
    good = found.status[0] == Status.OK and check_conformations(graph, found.positions)[0] == Status.OK
    return found.positions if good else None


def main() -> None:
    """Print the table, and one line per molecule before it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--molecules", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", action="append", help="a force field (default: mmff94s and openff-2.2.1)")
    arguments = parser.parse_args()
    references = load_archive(arguments.archive)
    picked = np.linspace(0, len(references) - 1, min(arguments.molecules, len(references))).astype(int)
    levels: dict[str, Level | None] = {"etkdg": None}
    levels |= {name: Level(name) for name in arguments.level or ("mmff94s", "openff-2.2.1")} | {POTENTIAL: potential_level()}
    xtb = Level("gfn2")
    away: dict[str, list[float]] = {name: [] for name in levels}
    seconds = dict.fromkeys(levels, 0.0)
    tried = 0
    for index in picked:
        graph = references[index].graph
        start = create_generator("etkdg").sample(graph, 1, seed=arguments.seed)
        wanted = minimum(xtb, graph, start.positions) if start.ok.all() else None
        if wanted is None:
            print(f"{graph.name}: no start, or no GFN2-xTB minimum of it that is the molecule", flush=True)
            continue
        tried += 1
        line = []
        for name, level in levels.items():
            began = time.perf_counter()
            found = minimum(level, graph, start.positions)
            seconds[name] += time.perf_counter() - began
            if found is not None:
                away[name].append(float(rmsd_matrix(graph, found, wanted)[0, 0]) / NM_PER_ANGSTROM)
            line.append("failed" if found is None else f"{away[name][-1]:.3f}")
        print(f"{graph.name}: {' '.join(line)}", flush=True)
    rows = [
        (
            name,
            np.median(values),
            np.mean(values),
            100 * np.mean(np.array(values) < 0.1),
            len(values),
            tried - len(values),
            seconds[name] / tried,
        )
        for name, values in away.items()
    ]
    print("\n".join(markdown_lines(COLUMNS, rows)))


if __name__ == "__main__":
    main()
