"""``openmm-confgf train boltzmann``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .interrupts import exit_code_after, signal_name
from .options import AsJson, Device, Seed
from .output import note, progress_bar, results_only_on_stdout
from .simulate import read_start
from .trained import tell

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..molecules.graph import MolecularGraph


def boltzmann(
    molecule: Annotated[
        str,
        typer.Argument(
            help="A SMILES, peptide:KS, peptide:ACE-K-NME, or a file: .smi, .sdf, .mol, .pdb, .h5.", metavar="INPUT", show_default=False
        ),
    ],
    directory: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run: simulation, checkpoint, log, weights, pictures.", show_default=False)
    ],
    forcefield: Annotated[
        str | None,
        typer.Option(
            "--forcefield",
            help="openff-2.2.1, gaff-2.2.20, or Amber XML files: amber14-all.xml,implicit/obc2.xml.  [default: of --from, or openff-2.2.1]",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="In K.  [default: of --from, or 300]", metavar="K", show_default=False)
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option("--from", help="Start from these weights: the name of shipped ones, or a .safetensors file.", metavar="WEIGHTS"),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            help="Sample these energies instead of the force field's: gfn2, mmff94s ... It takes weights that know the molecule, --from.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            "--trajectory",
            help="Frames of equilibrium to learn from, without constraints, instead of a simulation made here: any format of MDTraj.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="For the rounds; the simulation takes a quarter of it besides.")] = 45.0,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="How many, whatever they take, instead of --minutes.", show_default=False)
    ] = None,
    until_ess: Annotated[
        float | None,
        typer.Option("--until-ess", help="End early when this share of the samples is effective.", metavar="SHARE", show_default=False),
    ] = None,
    tuning: Annotated[
        str, typer.Option("--tuning", help="How energies teach: log-variance, distillation or none.", metavar="HOW")
    ] = "log-variance",
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Train a Boltzmann generator on one molecule of your own, from its SMILES; the same command again goes on where it stopped.

    A temperature ladder simulates the molecule, a network learns its frames, then the energies of its own samples; fresh samples tell
    whether their weights can be trusted. The folder holds the weights and their card, which `generate --weights` takes, the samples of
    the test (samples.h5, for `reweight`), and pictures.

    \b
    Example:
      openmm-confgf train boltzmann "CC(=O)Oc1ccccc1C(=O)O" -o aspirin
      openmm-confgf train boltzmann peptide:ACE-ALA-NME --forcefield amber99sbildn.xml,amber99_obc.xml --minutes 20 -o ala2
      openmm-confgf train boltzmann peptide:ACE-ALA-NME --from ala2/boltzmann.safetensors --level gfn2 -o ala2-gfn2
      openmm-confgf generate peptide:ACE-ALA-NME --generator boltzmann --weights ala2/boltzmann.safetensors -n 10000 -o samples.h5
    """
    from ..ensemble import Ensemble
    from ..files import check_folder
    from ..files.trajectories import read_trajectory
    from ..plots.boltzmann import plot_boltzmann_training
    from ..training.boltzmann.recipe import train_boltzmann
    from ..training.boltzmann.settings import AT_A_LEVEL, BoltzmannRun

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        defaults = BoltzmannRun() if level is None else AT_A_LEVEL
        run = dataclasses.replace(defaults, minutes=minutes, rounds=rounds, until_ess=until_ess, tuning=tuning, seed=seed)  # type: ignore[arg-type]
        given: MolecularGraph | Ensemble = read_start(molecule)
        graph = given.graph if isinstance(given, Ensemble) else given
        frames = None if trajectory is None else read_trajectory(trajectory, graph)
        check_folder(directory)
        try:
            with progress_bar(f"training on {graph.name}") as moved:

                def after_round(row: dict[str, Any], total: int) -> None:
                    moved(completed=row["round"], total=total)
                    if row.get("mean_log_q") is not None:
                        plot_boltzmann_training(directory / "log.jsonl", directory / "training.png")

                result = train_boltzmann(
                    given,
                    directory,
                    forcefield,
                    temperature=temperature,
                    level=level,
                    frames=frames,
                    parent=parent,
                    run=run,
                    device=device,
                    say=note,
                    after_round=after_round,
                )
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}; {directory} holds what is finished, and the same command goes on from there")
            raise typer.Exit(code) from None
        tell("train boltzmann", result, directory, seed, start, show if json else None)
