"""``openmm-confgf simulate``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..tables import Column, Table
from .generate import describe
from .interrupts import exit_code_after
from .options import AsJson, Device, ForceField, Seed, Temperature
from .output import as_json, note, progress_bar, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..molecules.graph import MolecularGraph


_COLUMNS = (
    Column("molecule", align="left"),
    Column("status"),
    Column("ns with equilibration", layout="{:g}"),
    Column("mean", "kJ/mol", "{:.1f}"),
    Column("R-hat of the energy", layout="{:.3f}"),
    Column("of the torsions", layout="{:.3f}"),
    Column("exchanges accepted"),
)


def simulate(
    molecule: Annotated[
        str,
        typer.Argument(
            help="A SMILES or .smi file, or conformers to start from: .sdf, .mol, .pdb or .h5.", metavar="INPUT", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Frames and the state to go on from.", metavar="H5")] = Path("md.h5"),
    forcefield: ForceField = "openff-2.2.1",
    replicas: Annotated[int, typer.Option("--replicas", help="Independent replicas, all at once.")] = 16,
    ns: Annotated[float, typer.Option("--ns", help="Length of each replica, after equilibration.", metavar="NS")] = 1.0,
    temperature: Temperature = 300.0,
    ladder: Annotated[
        str | None,
        typer.Option(
            "--ladder",
            help="Replica exchange: temperatures in K, 300,340,390,450, or the highest and how many, 450:4 (geometric).",
            metavar="LADDER",
            show_default=False,
        ),
    ] = None,
    timestep: Annotated[float, typer.Option("--timestep", help="In ps; nothing is constrained.", metavar="PS")] = 0.001,
    frame_interval: Annotated[float, typer.Option("--frame-interval", help="Between frames.", metavar="PS")] = 1.0,
    equilibration: Annotated[float, typer.Option("--equilibration", help="Before the first frame.", metavar="PS")] = 20.0,
    precision: Annotated[
        Literal["single", "mixed", "double"], typer.Option("--precision", help="As OpenMM names them; energies are written in double.")
    ] = "mixed",
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Fuse the energy's operations first.")] = True,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Sample a molecule's equilibrium by molecular dynamics: many replicas at once, with a temperature ladder where barriers are high.

    \b
    Example:
      openmm-confgf simulate peptide.pdb --forcefield amber14-all.xml,implicit/obc2.xml --replicas 64 --ns 2 -o peptide.h5
      openmm-confgf simulate conformers.sdf --replicas 16 --ns 5 --ladder 450:4 -o md.h5

    Ctrl-C keeps the frames so far (exit code 130); the same command goes on from there, and from the end with a larger --ns. MDTraj loads
    the file. Look at R-hat: above 1.01 the replicas do not agree yet, and averages over them are not to be trusted.
    """
    from ..dynamics.settings import MDSettings
    from ..simulation import simulate as run
    from ..version import __version__
    from ..writing import only_writer

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        settings = MDSettings(
            temperature=temperature,
            ladder=temperatures(temperature, ladder),
            replicas=replicas,
            timestep=timestep,
            frame_interval=frame_interval,
            equilibration=equilibration,
            precision=precision,
            compiled=compiled,
        )
        with progress_bar("simulation") as moved, only_writer(output):
            try:
                ensemble = run(
                    read_start(molecule),
                    output,
                    forcefield,
                    length=1000 * ns,
                    settings=settings,
                    seed=seed,
                    device=device,
                    progress=lambda done, total: moved(completed=done, total=total),
                )
            except KeyboardInterrupt as interrupt:
                note(f"stopped; {output} holds the frames so far, if there are any, and the same command goes on from there")
                raise typer.Exit(exit_code_after(interrupt)) from None
        found = ensemble.diagnostics
        report = {
            "command": "simulate",
            "version": __version__,
            **describe(ensemble),
            "files": [str(output)],
            "seconds": round(time.perf_counter() - start, 3),
        }
        if json:
            show(as_json(report))
        else:
            # every frame is a sample of equilibrium: to leave out those that are bent too far would move the mean
            energies = [] if ensemble.energy is None else [e for e in ensemble.energy.tolist() if math.isfinite(e)]
            rates = ", ".join(f"{rate:.2f}" for rate in found["exchange_acceptance"]) or "-"
            mean = sum(energies) / len(energies) if energies else None
            status = ", ".join(f"{count} {name}" for name, count in ensemble.counts().items())
            row = [
                ensemble.graph.name,
                status,
                found["picoseconds"] / 1000,
                mean,
                found["r_hat_energy"],
                found.get("r_hat_torsions"),
                rates,
            ]
            show(Table(_COLUMNS, [row]).to_terminal())
        note(f"wrote {output} in {report['seconds']:.1f} s")


def temperatures(lowest: float, ladder: str | None) -> tuple[float, ...]:
    """The temperatures of --ladder.

    Raises
    ------
    ConfGFError
        If it is neither a list of numbers nor HIGHEST:COUNT.
    """
    from ..errors import ConfGFError

    if ladder is None:
        return ()
    try:
        highest, colon, count = ladder.partition(":")
        if not colon:
            return tuple(float(value) for value in ladder.split(","))
        top, rungs = float(highest), int(count)
        if rungs < 2 or top <= lowest:
            raise ValueError
        return tuple(round(lowest * (top / lowest) ** (k / (rungs - 1)), 6) for k in range(rungs))
    except ValueError:
        raise ConfGFError(
            f"--ladder {ladder!r} is no ladder above {lowest:g} K; give temperatures, 300,350,400, or the highest and how many, 400:3."
        ) from None


def read_start(source: str) -> MolecularGraph | Ensemble:
    """The one molecule of an input, with its conformations where there are any.

    Raises
    ------
    ConfGFError
        If it cannot be read, or there are several.
    """
    from ..errors import ConfGFError
    from ..files import read_ensembles, read_molecules, suffix_of

    if suffix_of(source) in (".sdf", ".mol", ".pdb", ".h5"):
        ensembles = read_ensembles(source)
        if len(ensembles) == 1:
            return ensembles[0]
        raise ConfGFError(f"{source} holds {len(ensembles)} molecules, and a simulation takes one; give a file for each.")
    entries = read_molecules(source)
    if len(entries) > 1:
        raise ConfGFError(f"{source} holds {len(entries)} molecules, and a simulation takes one; give a file for each.")
    if entries[0].graph is None:
        raise entries[0].error or ConfGFError(f"{source} holds no molecule.")
    return entries[0].graph
