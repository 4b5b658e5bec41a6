"""``openmm-confgf generate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch import Failure, attempt_each, run_batch, status_text, with_usable
from .options import AsJson, Device, Generator, Platform, Properties, Seed, Weights, checked_platform
from .output import as_json, as_table, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble


def generate(
    molecules: Annotated[
        str,
        typer.Argument(help="A SMILES, or a .smi, .sdf, .mol or .pdb file of molecules.", metavar="INPUT", show_default=False),
    ],
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
            help="Relax each conformer afterwards: mmff94s, mmff (with UFF where MMFF94s has no parameters), or a force field as in score.",
            metavar="FORCEFIELD",
            show_default=False,
        ),
    ] = None,
    platform: Platform = "auto",
    properties: Properties = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where they go: .sdf, .pdb or .h5.")] = Path("conformers.sdf"),
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Generate conformers of one or many molecules.

    \b
    Example:
      openmm-confgf generate "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O" -n 100 -o ibuprofen.sdf
      openmm-confgf generate library.smi -n 50 --seed 7 -o library.sdf
      openmm-confgf generate "CCOC(=O)CN" -n 50 --relax openff-2.2.1 -o minima.sdf

    A molecule that cannot be done is named and the others come out (exit code 1). Ctrl-C keeps the molecules that are
    finished (exit code 130). --platform and --property are for --relax in a force field of OpenMM.
    """
    from .. import __version__
    from ..files import check_writable, read_molecules, write_ensembles
    from ..generators import RelaxedGenerator, create_generator

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        check_writable(output)
        source = create_generator(generator, weights, compiled)
        if relax is not None:
            source = RelaxedGenerator(source, relax, platform, checked_platform(platform, properties))
        entries = read_molecules(molecules)
        failed = [Failure(i, entry.name, entry.error) for i, entry in enumerate(entries) if entry.error is not None]
        graphs = {i: entry.graph for i, entry in enumerate(entries) if entry.graph is not None}
        places = list(graphs)
        stream = source.sample_many(list(graphs.values()), count, seed=seed, device=device)
        advice = "try another --generator, or check that the molecule can exist"
        batch = run_batch(
            [entry.name for entry in entries],
            attempt_each(((places[i], outcome) for i, outcome in stream), lambda _, ensemble: with_usable(ensemble, advice)),
            f"{source.name}, {count} each",
            failed,
        )
        files = write_ensembles(list(batch.finished.values()), output) if batch.finished else []
        report = {
            "command": "generate",
            "version": __version__,
            "generator": source.name,
            "seed": seed,
            "requested": count,
            "molecules": [{"index": i} | describe(ensemble) for i, ensemble in batch.finished.items()],
            **batch.report(),
            "files": [str(path) for path in files],
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        if json:
            show(as_json(report))
        else:
            if batch.finished:
                rows = [[e.graph.name, str(len(e)), status_text(e)] for e in batch.finished.values()]
                show(as_table(["molecule", "conformers", "status"], rows))
            note(f"wrote {', '.join(map(str, files)) or 'nothing'} in {report['seconds']:.1f} s")
    raise typer.Exit(batch.exit_code)


def describe(ensemble: Ensemble) -> dict[str, Any]:
    """What the JSON of every command says of an ensemble."""
    return {
        "name": ensemble.graph.name,
        "smiles": ensemble.graph.smiles,
        "conformations": len(ensemble),
        "status": ensemble.counts(),
        "provenance": {
            "generator": ensemble.provenance.generator,
            "version": ensemble.provenance.version,
            "seed": ensemble.provenance.seed,
            "weights_sha256": ensemble.provenance.weights_sha256,
            "settings": ensemble.provenance.settings,
        },
    }
