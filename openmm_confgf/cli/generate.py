"""``openmm-confgf generate``."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfGFError
from ..tables import Column, Table
from .batch import Failure, run_kept_batch, status_text, tell_notes, write_kept
from .options import (
    LEVELS,
    AsJson,
    Cluster,
    Device,
    Generator,
    LargestFragment,
    MoleculesFile,
    Platform,
    Properties,
    Resume,
    Seed,
    TimeLimit,
    Weights,
    Workers,
    checked_platform,
    checked_time_limit,
    is_elsewhere,
    workers_of,
)
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..files import MoleculeEntry


def generate(
    molecules: MoleculesFile,
    count: Annotated[int, typer.Option("-n", "--count", help="Conformers of each molecule.")] = 100,
    generator: Generator = "confgf",
    weights: Weights = None,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Fuse the network's operations first: minutes, then faster calls. For large libraries on one core."),
    ] = False,
    relax: Annotated[
        str | None,
        typer.Option(
            "--relax",
            help=f"Relax each conformer afterwards: {LEVELS}",
            metavar="FORCEFIELD",
            show_default=False,
        ),
    ] = None,
    platform: Platform = "auto",
    properties: Properties = None,
    forcefield: Annotated[
        str | None,
        typer.Option(
            "--forcefield",
            help="What --generator boltzmann or tbg samples, as for simulate.  [default: that of its weights]",
            metavar="FORCEFIELD",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="In K, of --generator boltzmann or tbg.  [default: that of its weights]",
            metavar="K",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where they go: .sdf, .pdb or .h5.")] = Path("conformers.sdf"),
    largest_fragment: LargestFragment = False,
    enumerate_stereo: Annotated[
        bool,
        typer.Option(
            "--enumerate-stereo",
            help="Make an ensemble of each stereoisomer, named after its CIP labels, where a molecule leaves stereo open; at most 64 each.",
        ),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    cluster: Cluster = None,
    time_limit: TimeLimit = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Generate conformers of one or many molecules.

    \b
    Example:
      openmm-confgf generate "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O" -n 100 -o ibuprofen.sdf
      openmm-confgf generate library.smi -n 50 --seed 7 -o library.sdf
      openmm-confgf generate "CCOC(=O)CN" -n 50 --relax openff-2.2.1 -o minima.sdf
      openmm-confgf generate library.smi -n 50 --workers 8 --resume -o library.sdf
      openmm-confgf generate library.smi -n 50 --cluster jobs.yaml --resume -o library.sdf
      openmm-confgf generate peptide:KS --generator boltzmann -n 10000 -o KS.h5

    An .sdf takes all molecules in the input's order; several molecules get an .h5 or .pdb each (library-0003-ibuprofen.h5). A molecule
    that cannot be done is named and the others come out (exit code 1). Each molecule that is finished is kept in a folder beside the
    output (library.sdf.partial) until all are: Ctrl-C (exit code 130) and SIGTERM (143) write those that are finished, and after these,
    a crash or a full disk the same command with --resume goes on. --platform and --property are for --relax in a force field of OpenMM.
    """
    from ..files import check_writable, read_molecules
    from ..library import Generation, Store, kept_or_made
    from ..version import __version__
    from ..writing import only_writer

    with results_only_on_stdout() as show, contextlib.ExitStack() as stack:
        start = time.perf_counter()
        check_writable(output)
        stack.enter_context(only_writer(output))
        chosen = {} if relax is None else checked_platform(platform, properties, cluster)
        job = Generation(generator, weights, compiled, relax, platform, chosen, count, seed, device, forcefield, temperature)
        source = job.source()
        pool = stack.enter_context(workers_of(workers, cluster))
        limit = checked_time_limit(time_limit, pool)
        store = Store(output, job.settings(source, pool if is_elsewhere(cluster) else 1), resume)
        entries = read_molecules(molecules, largest_fragment=largest_fragment)
        tell_notes(entries)
        if enumerate_stereo:
            entries = each_stereoisomer(entries)
        failed = [Failure(i, entry.name, entry.error) for i, entry in enumerate(entries) if entry.error is not None]
        graphs = ((i, entry.graph) for i, entry in enumerate(entries) if entry.graph is not None)
        stream = kept_or_made(store, graphs, lambda left: job.each(left, source, pool, limit))
        names = [entry.name for entry in entries]
        batch = run_kept_batch(store, names, stream, _reported, f"{source.name}, {count} each", failed)
        files = write_kept(batch, store, output)
        report = {
            "command": "generate",
            "version": __version__,
            "generator": source.name,
            "seed": seed,
            "requested": count,
            "molecules": list(batch.finished.values()),
            **batch.report(),
            "files": [str(path) for path in files],
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        for molecule in batch.finished.values():
            if molecule["diagnostics"].get("trusted") is False:
                note(f"{molecule['name']}: the weights of these samples are not to be trusted; openmm-confgf reweight FILE says why")
        if json:
            show(as_json(report))
        else:
            if batch.finished:
                rows = [[m["name"], m["conformations"], status_text(m)] for m in batch.finished.values()]
                show(Table([Column("molecule", align="left"), Column("conformers"), Column("status")], rows).to_terminal())
            note(f"wrote {', '.join(map(str, files)) or 'nothing'} in {report['seconds']:.1f} s")
    raise typer.Exit(batch.exit_code)


def _reported(index: int, ensemble: Ensemble) -> dict[str, Any]:
    return {"index": index} | describe(ensemble)


def each_stereoisomer(entries: Sequence[MoleculeEntry]) -> list[MoleculeEntry]:
    """The molecules, with all stereoisomers in place of those that leave stereo open; one that has too many is an error."""
    from ..files import MoleculeEntry
    from ..molecules.stereoisomers import enumerate_stereoisomers

    found = []
    for entry in entries:
        try:
            isomers = [] if entry.graph is None else enumerate_stereoisomers(entry.graph)
        except ConfGFError as error:
            found.append(MoleculeEntry(entry.name, None, error))
            continue
        found += [MoleculeEntry(isomer.name, isomer, None) for isomer in isomers] or [entry]
    return found


def describe(ensemble: Ensemble) -> dict[str, Any]:
    """What the JSON of every command says of an ensemble; the stereoisomers are those of its usable conformations."""
    from ..molecules.stereoisomers import stereo_text_and_isomers

    text, isomers = stereo_text_and_isomers(ensemble.graph, ensemble.positions[ensemble.ok])
    return {
        "name": ensemble.graph.name,
        "smiles": ensemble.graph.smiles,
        "conformations": len(ensemble),
        "status": ensemble.counts(),
        "unspecified_stereo": text,
        "stereoisomers": dict(collections.Counter(isomers)),
        "provenance": {
            "generator": ensemble.provenance.generator,
            "version": ensemble.provenance.version,
            "seed": ensemble.provenance.seed,
            "weights_sha256": ensemble.provenance.weights_sha256,
            "settings": ensemble.provenance.settings,
        },
        "target": None if ensemble.target is None else dataclasses.asdict(ensemble.target),
        "diagnostics": dict(ensemble.diagnostics),
    }
