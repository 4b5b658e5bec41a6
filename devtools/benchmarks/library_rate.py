"""A library end to end with the command line: molecules per second, memory over the run, and what the program itself takes.

    python devtools/benchmarks/library_rate.py qm9_b3lyp_train.npz [--molecules 10000] [--generator etkdg] [--way "no cluster"]

Each command runs without a cluster, and with `--cluster local` of one worker and of two, in turn. Rates are of the middle of a run (a
tenth of the molecules finished until nine tenths), so that starts do not count; memory is the resident one of the program and of all that
it started, at a quarter and at nine tenths. Runs share the machine with whatever else it does: compare within one call only, and CPU
times where the cores are not free.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from openmm_confgf.generators import ConfGFGenerator
from openmm_confgf.models.field import PairField
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.tables import Column, markdown_lines

SMALLEST = 7
"""Atoms at least: QM9 begins with small molecules."""

WAYS = {
    "no cluster": (),
    "local, 1 worker": ("--cluster", "local", "--workers", "1"),
    "local, 2 workers": ("--cluster", "local", "--workers", "2"),
}
COLUMNS = (
    Column("command", align="left"),
    Column("workers", align="left"),
    Column("finished", layout="{:,}"),
    Column("whole time", "s", "{:.0f}"),
    Column("until the first", "s", "{:.0f}"),
    Column("molecules/s", layout="{:.2f}"),
    Column("memory at 1/4", "MB", "{:.0f}"),
    Column("at 9/10", "MB", "{:.0f}"),
    Column("CPU per molecule", "ms", "{:.0f}"),
    Column("of that the program's", "ms", "{:.0f}"),
)


@dataclasses.dataclass
class Look:
    """At a run: seconds since its start, molecules finished, bytes and CPU seconds of all its processes, CPU seconds of the first."""

    seconds: float
    finished: int
    memory: int
    cpu: float
    cpu_of_program: float


def watched(command: Sequence[str], store: Path) -> list[Look]:
    """Run a command, and look at it four times a second."""
    start, looks = time.perf_counter(), []
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            parts = (process, *process.children(recursive=True))
            memory = sum(part.memory_info().rss for part in parts)
            cpu = [sum(part.cpu_times()[:2]) for part in parts]
            finished = sum(name.suffix == ".h5" for name in store.iterdir()) if store.is_dir() else 0
            looks.append(Look(time.perf_counter() - start, finished, memory, sum(cpu), cpu[0]))
        except (psutil.Error, FileNotFoundError):
            pass
        time.sleep(0.25)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}.")
    return looks


def row(name: str, way: str, looks: Sequence[Look]) -> list[object]:
    """Of the table, from what was seen of a run."""
    most = max(look.finished for look in looks)

    def at(share: float) -> Look:
        return next(look for look in looks if look.finished >= share * most)

    first, last = at(0.1), at(0.9)
    number = last.finished - first.finished
    cpu = [1000 * (after - before) / number for after, before in ((last.cpu, first.cpu), (last.cpu_of_program, first.cpu_of_program))]
    begun = next(look for look in looks if look.finished)
    rate = number / (last.seconds - first.seconds)
    return [name, way, most, looks[-1].seconds, begun.seconds, rate, at(0.25).memory / 1e6, last.memory / 1e6, *cpu]


def outside_the_network(molecules: Sequence[str], conformers: int) -> float:
    """Share of the time of `ConfGFGenerator` that is not spent in its network, in this process on one thread."""
    within, forward = 0.0, PairField.forward

    def timed(*arguments: object, **keywords: object) -> object:
        nonlocal within
        start = time.thread_time()
        try:
            return forward(*arguments, **keywords)  # type: ignore[arg-type]
        finally:
            within += time.thread_time() - start

    generator = ConfGFGenerator()
    graphs = [MolecularGraph.from_smiles(smiles) for smiles in molecules]
    list(generator.sample_many(graphs[:2], conformers, device="cpu"))
    PairField.forward = timed  # type: ignore[method-assign, assignment]
    try:
        start = time.process_time()
        list(generator.sample_many(graphs, conformers, device="cpu"))
        return 1 - within / (time.process_time() - start)
    finally:
        PairField.forward = forward  # type: ignore[method-assign]


def chosen_from(archive: Path, count: int) -> list[str]:
    """SMILES of an archive's molecules of `SMALLEST` atoms and more, drawn with seed 0."""
    with np.load(archive) as arrays:
        known = sorted({str(smiles) for smiles in arrays["smiles"][arrays["n_atoms"] >= SMALLEST]})
    return [known[k] for k in np.random.default_rng(0).permutation(len(known))[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="npz with the SMILES of molecules")
    parser.add_argument("--molecules", type=int, default=10_000)
    parser.add_argument("--generator", default="etkdg")
    parser.add_argument("--conformers", type=int, default=5)
    parser.add_argument("--way", action="append", choices=list(WAYS), help="only this; repeatable")
    parser.add_argument("--score", metavar="LEVEL", help="score what was generated, too")
    given = parser.parse_args()

    chosen = chosen_from(given.archive, given.molecules)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.smi"
        library.write_text("".join(f"{smiles} m{k}\n" for k, smiles in enumerate(chosen)))
        made = Path(folder) / "made.sdf"
        calls = {"generate": ("generate", library, "-n", given.conformers, "--generator", given.generator)}
        if given.score:
            calls["score"] = ("score", made, "--forcefield", given.score)
        for name, call in calls.items():
            for way in given.way or WAYS:
                output = made if name == "generate" else Path(folder) / "scored.sdf"
                command = [sys.executable, "-m", "openmm_confgf", *map(str, call), *WAYS[way], "-o", str(output)]
                rows.append(row(name, way, watched(command, output.with_name(f"{output.name}.partial"))))
                print(f"{name}, {way}: {rows[-1][5]:.2f} molecules/s", file=sys.stderr)
    print("\n".join(markdown_lines(COLUMNS, rows)))
    if given.generator == "confgf":
        print(f"\noutside the network: {outside_the_network(chosen[:40], given.conformers):.0%} of the CPU time")


if __name__ == "__main__":
    main()
