"""``openmm-confgf align``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tables import Column, Table
from .interrupts import exit_code_after, signal_name
from .options import AsJson, Device, Seed, Weights
from .output import as_json, note, progress_bar, results_only_on_stdout

if TYPE_CHECKING:
    from ..alignment.before_after import BeforeAfter
    from ..ensemble import Ensemble
    from ..molecules.graph import MolecularGraph

_COLUMNS = (
    Column("mean over molecules held out", align="left"),
    Column("molecules"),
    Column("before", layout="{:.4g}"),
    Column("after", layout="{:.4g}"),
    Column("change", "%", "{:+.1f}"),
)


def align(
    molecules: Annotated[
        list[str],
        typer.Option(
            "--molecules",
            help="A SMILES, peptide:KS, or a file of molecules: .smi, .csv, .sdf, .pdb, .h5, or an .npz archive; repeatable.",
            metavar="INPUT",
            show_default=False,
        ),
    ],
    directory: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of the run: energies, checkpoint, log, weights, picture.", show_default=False),
    ],
    level: Annotated[
        str,
        typer.Option(
            "--level", help="Whose energies teach: gfn2, mmff94s, openff-2.2.1, amber14-all.xml,implicit/obc1.xml ...", metavar="NAME"
        ),
    ] = "gfn2",
    generator: Annotated[str, typer.Option("--generator", help="confgf-noise, tbg or boltzmann.", metavar="NAME")] = "confgf-noise",
    weights: Weights = None,
    loss: Annotated[str, typer.Option("--loss", help="eba, dpo or, of boltzmann, log-variance or distillation.", metavar="HOW")] = "eba",
    k: Annotated[int, typer.Option("-k", help="Conformations of a molecule that a step compares.")] = 4,
    alpha: Annotated[float, typer.Option("--alpha", help="Of the model's energies, which are in nats.")] = 1.0,
    softness: Annotated[
        float, typer.Option("--softness", help="Of eba: so many times the temperature, and as much less alpha; the minimiser stays.")
    ] = 1.0,
    anchor: Annotated[
        float, typer.Option("--anchor", help="Weight of the likelihood of the conformations, without which a field forgets how to draw.")
    ] = 0.05,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="In K.  [default: of the weights, or 300]", metavar="K", show_default=False)
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Energies of samples as they are, not of the minima that they fall to.")] = False,
    length_normalised: Annotated[
        bool, typer.Option("--length-normalised", help="Divide energies by the root of the number of heavy atoms, as in the released code.")
    ] = False,
    off_policy: Annotated[
        bool, typer.Option("--off-policy", help="Learn from the conformers of the files, and not from the generator's own samples.")
    ] = False,
    samples: Annotated[int, typer.Option("--samples", help="Conformations that are drawn of each molecule.")] = 16,
    refresh: Annotated[int, typer.Option("--refresh", help="Draw them anew after so many rounds; 0: never.", metavar="ROUNDS")] = 0,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps; a multiple of --round-steps.")] = 1000,
    round_steps: Annotated[int, typer.Option("--round-steps", help="Steps between two looks at the molecules that are held out.")] = 50,
    batch: Annotated[int, typer.Option("--batch", help="Molecules of a step.")] = 8,
    draws: Annotated[int, typer.Option("--draws", help="Noise levels for each molecule of a step, of models without a density.")] = 4,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of the first half of the run; it then falls to 0.")] = 1e-4,
    extrapolation: Annotated[
        float, typer.Option("--extrapolate", help="Go so many times as far from the first weights as training did.", metavar="TIMES")
    ] = 1.0,
    patience: Annotated[
        int, typer.Option("--patience", help="Stop when those held out have not become better for so many rounds.", metavar="ROUNDS")
    ] = 5,
    compare: Annotated[
        int, typer.Option("--compare", help="Conformations of each molecule held out, drawn before and after; 0: no comparison.")
    ] = 32,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Teach a generator the relative probabilities of a force field or of GFN2-xTB; the same command again goes on where it stopped.

    A fifth of the molecules is held out, and compared before and after. The folder holds weights and their card, which `generate --weights`
    takes, the energies that were learnt from, a log (log.jsonl) and a picture (alignment.png).

    \b
    Example:
      openmm-confgf align --molecules mine.smi --level gfn2 -k 4 --steps 1000 -o aligned
      openmm-confgf align --molecules archive.npz --off-policy --level openff-2.2.1 -o aligned
      openmm-confgf align --generator boltzmann --molecules peptide:AK --molecules peptide:DS --raw \\
          --level amber14-all.xml,implicit/obc1.xml -k 64 --samples 1024 -o aligned
    """
    from ..alignment import AlignmentRun, alignment_model
    from ..alignment import align as align_model
    from ..files import check_folder
    from ..plots.alignment import plot_alignment
    from ..version import __version__
    from ..writing import only_writer

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        model, known = alignment_model(generator, weights, temperature)
        run = AlignmentRun(
            loss=loss,  # type: ignore[arg-type]  # checked there
            k=k,
            alpha=alpha,
            softness=softness,
            anchor=anchor,
            temperature=known,
            minimised=not raw,
            length_normalised=length_normalised,
            samples=samples,
            refresh=refresh,
            molecules=batch,
            draws=draws,
            steps=steps,
            round_steps=round_steps,
            learning_rate=learning_rate,
            extrapolation=extrapolation,
            patience=patience,
            seed=seed,
        )
        given = [one for source in molecules for one in read_inputs(source, off_policy)]
        check_folder(directory)
        try:
            with progress_bar(f"aligning {generator}") as moved, only_writer(directory):
                found = align_model(
                    model,
                    given,
                    level,
                    directory,
                    run,
                    compare=compare,
                    device=device,
                    say=note,
                    after_round=lambda row, total: moved(completed=row["round"], total=total),
                )
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}; {directory} holds what is finished, and the same command goes on from there")
            raise typer.Exit(code) from None
        means = mean_changes(found.comparisons)
        picture = plot_alignment(found.rows, found.comparisons, directory / "alignment.png")
        report = {
            "command": "align",
            "version": __version__,
            "generator": generator,
            "level": level,
            **dataclasses.asdict(run),
            "molecules": len(given),
            "skipped": found.skipped,
            "rounds": len(found.rows),
            "best_round": found.best_round,
            "problem": found.problem or None,
            "held_out": means,
            "weights": str(found.weights),
            "picture": str(picture),
            "seconds": round(time.perf_counter() - start, 3),
        }
        if json:
            show(as_json(report))
        elif means:
            rows = [[name, mean["molecules"], mean["before"], mean["after"], mean["change_percent"]] for name, mean in means.items()]
            show(Table(_COLUMNS, rows).to_terminal())
        if found.skipped:
            note(f"left out {len(found.skipped)} of {len(given)} molecules")
        if not found.best_round:
            note("no round was better on the molecules that are held out: the weights are those that it started from")
        note(f"wrote {found.weights}")
        note(f"wrote {picture}")
        if found.problem:
            raise typer.Exit(1)


def read_inputs(source: str, with_conformers: bool) -> list[MolecularGraph | Ensemble]:
    """The molecules of an input, with their conformers if these are to be learnt from; what cannot be read is noted.

    Raises
    ------
    ConfGFError
        If nothing can be read, or there are no conformers.
    """
    from ..errors import ConfGFError
    from ..files import read_each_ensemble, read_molecules, suffix_of
    from ..files.archive import load_archive

    found: list[MolecularGraph | Ensemble] = []
    if source.endswith(".npz"):
        archive = load_archive(source)
        return [one.ensemble(Path(source).name) if with_conformers else one.graph for one in archive]
    if with_conformers:
        if suffix_of(source) not in (".sdf", ".mol", ".pdb", ".h5"):
            raise ConfGFError(f"{source} has no conformers to learn from; leave out --off-policy, and the generator draws them.")
        for ensemble in read_each_ensemble(source):
            if isinstance(ensemble, ConfGFError):
                note(f"left out: {ensemble}")
            else:
                found.append(ensemble)
        return found
    for entry in read_molecules(source):
        if entry.graph is None:
            note(f"left out: {entry.error}")
        else:
            found.append(entry.graph)
    return found


def mean_changes(comparisons: list[BeforeAfter]) -> dict[str, dict[str, Any]]:
    """Means before and after over the molecules that have a value both times, and the change of the mean."""
    from ..alignment.before_after import known_values
    from ..plots.alignment import LABELS

    means = {}
    for key in LABELS:
        if known := known_values(comparisons, key):
            before, after = (sum(values) / len(known) for values in zip(*known, strict=True))
            change = None if before == 0 else 100 * (after / before - 1)
            means[LABELS[key]] = {"molecules": len(known), "before": before, "after": after, "change_percent": change}
    return means
