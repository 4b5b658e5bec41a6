"""``openmm-confgf reference``."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tables import Column, Table
from .batch import Failure, run_batch, tell_notes
from .options import LEVELS, AsJson, Cluster, LargestFragment, MoleculesFile, Seed, workers_of
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..files.archive import ReferenceMolecule


def reference(
    molecules: MoleculesFile,
    level: Annotated[
        str,
        typer.Option("--level", help=f"{LEVELS} gfn2 takes the xtb program, else tblite.", metavar="NAME"),
    ] = "gfn2",
    output: Annotated[Path, typer.Option("-o", "--output", help="The archive.", metavar="NPZ")] = Path("ensembles.npz"),
    starts: Annotated[
        int, typer.Option("--starts", help="ETKDGv3 embeddings of each molecule; as many by plain distance geometry join them.")
    ] = 20,
    window: Annotated[float, typer.Option("--window", help="Keep minima up to so many kJ/mol above the lowest.", metavar="E")] = 25.104,
    max_kept: Annotated[
        int | None, typer.Option("--max-kept", help="Keep the lowest so many of each molecule.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Worker processes, of one thread each.")] = 1,
    cluster: Cluster = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", help="Give a molecule up after so many seconds.", metavar="SECONDS")
    ] = 3600.0,
    largest_fragment: LargestFragment = False,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Make reference ensembles of your own molecules: all conformers that a thorough search finds, minimised, without duplicates.

    Embeddings -> MMFF94s -> minima at the level -> still the same molecule and stereoisomer -> energy window -> no duplicates. The archive
    is what `train confgf` and `benchmark conformers` take.

    \b
    Example:
      openmm-confgf reference "OCC(O)CO" --level openff-2.2.1 -o glycerol.npz
      openmm-confgf reference mine.smi --level gfn2 --workers 8 -o ensembles.npz

    Each molecule that is finished is kept in a folder beside the archive (ensembles.npz.partial): after Ctrl-C, SIGTERM or a failure the
    same command goes on from there. A molecule that cannot be done, or whose process dies or takes too long, costs that molecule (exit
    code 1).
    """
    from ..errors import FileFormatError
    from ..files import check_folder, read_molecules
    from ..files.archive import save_archive
    from ..references import ReferenceMaker, ReferenceProtocol, reference_ensembles, reference_store
    from ..version import __version__
    from ..writing import clear_leftovers, only_writer

    with results_only_on_stdout() as show, contextlib.ExitStack() as stack:
        start = time.perf_counter()
        if output.suffix != ".npz" or output.is_dir():
            raise FileFormatError(f"{output} is no name for an archive; give a file that ends in .npz.")
        check_folder(output.absolute().parent)
        clear_leftovers(output)
        stack.enter_context(only_writer(output))
        protocol = ReferenceProtocol(level, starts, window, max_kept, seed)
        entries = read_molecules(molecules, largest_fragment=largest_fragment)
        tell_notes(entries)
        maker = ReferenceMaker(protocol)
        store = reference_store(output, maker)
        unreadable = [Failure(i, entry.name, entry.error) for i, entry in enumerate(entries) if entry.error is not None]
        graphs = {i: entry.graph for i, entry in enumerate(entries) if entry.graph is not None}
        places = list(graphs)
        pool = stack.enter_context(workers_of(workers, cluster))
        stream = reference_ensembles(list(graphs.values()), store, maker, workers=pool, time_limit=time_limit)
        names = [entry.name for entry in entries]
        batch = run_batch(names, ((places[i], outcome) for i, outcome in stream), f"reference ensembles, {level}", unreadable)
        complete = bool(batch.finished) and not batch.interrupted
        if complete:
            save_archive(output, list(batch.finished.values()), maker.provenance)
        if complete and len(batch.finished) == len(graphs):
            store.remove()
        report = {
            "command": "reference",
            "version": __version__,
            "provenance": maker.provenance,
            "molecules": [{"index": i} | _describe(molecule) for i, molecule in batch.finished.items()],
            **batch.report(),
            "files": [str(output)] if complete else [],
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        if json:
            show(as_json(report))
        elif batch.finished:
            rows = [[m.name, len(m.positions), m.energies.max()] for m in batch.finished.values()]
            columns = [Column("molecule", align="left"), Column("minima"), Column("highest", "kJ/mol", "{:.1f}")]
            show(Table(columns, rows).to_terminal())
        if store.folder.exists():
            note(f"finished molecules are kept in {store.folder}; the same command tries the others again")
        note(f"wrote {output if complete else 'no archive'} in {report['seconds']:.1f} s")
    raise typer.Exit(batch.exit_code)


def _describe(molecule: ReferenceMolecule) -> dict[str, Any]:
    return {
        "name": molecule.name,
        "smiles": molecule.graph.smiles,
        "conformations": len(molecule.positions),
        "energy_kj_per_mol": molecule.energies.tolist(),
    }
