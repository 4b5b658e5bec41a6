"""``openmm-confgf train tbg``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .interrupts import exit_code_after, signal_name
from .options import AsJson, Device, ForceField, Seed, Temperature
from .output import note, progress_bar, results_only_on_stdout
from .simulate import read_start
from .trained import tell

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..molecules.graph import MolecularGraph


def tbg(
    molecule: Annotated[
        str,
        typer.Argument(
            help="A SMILES, peptide:KS, peptide:ACE-K-NME, or a file: .smi, .sdf, .mol, .pdb, .h5.", metavar="INPUT", show_default=False
        ),
    ],
    directory: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run: simulation, checkpoint, log, weights, pictures.", show_default=False)
    ],
    forcefield: ForceField = "openff-2.2.1",
    temperature: Temperature = 300.0,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            "--trajectory",
            help="Frames of equilibrium to learn from, without constraints, instead of a simulation made here: any format of MDTraj.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option("--variant", help="What the atoms are told of themselves: tbg, tbg+backbone, tbg+full, bg+backbone, or graph."),
    ] = "graph",
    coupling: Annotated[
        str, typer.Option("--coupling", help="Which noise belongs to which frame: independent, as published, or optimal.")
    ] = "independent",
    upweighted: Annotated[
        bool, typer.Option("--upweight-phi", help="See frames with phi > 0 as often as all others together, as in biased training.")
    ] = False,
    minutes: Annotated[float, typer.Option("--minutes", help="For the rounds; the simulation takes a quarter of it besides.")] = 45.0,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="How many, whatever they take, instead of --minutes.", show_default=False)
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Train a transferable Boltzmann generator, as published, on one molecule; the same command again goes on where it stopped.

    A flow of all atoms at once: no bonds are needed to place atoms by, and each weight costs dozens of evaluations of a network and its
    divergence. `train boltzmann` is hundreds of times faster to sample, and learns energies.

    \b
    Example:
      openmm-confgf train tbg peptide:ACE-ALA-NME --forcefield amber99sbildn.xml,amber99_obc.xml --variant bg+backbone -o ala2-tbg
      openmm-confgf benchmark boltzmann peptide:ACE-ALA-NME --generator tbg --weights ala2-tbg/tbg.safetensors -n 1000 --seeds 1
    """
    from ..ensemble import Ensemble
    from ..files import check_folder
    from ..files.trajectories import read_trajectory
    from ..plots.boltzmann import plot_boltzmann_training
    from ..training.boltzmann.flow_recipe import train_tbg
    from ..training.boltzmann.flow_settings import FlowRun

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        run = FlowRun(minutes, rounds, variant, coupling=coupling, upweighted=upweighted, seed=seed)  # type: ignore[arg-type]
        given: MolecularGraph | Ensemble = read_start(molecule)
        graph = given.graph if isinstance(given, Ensemble) else given
        frames = None if trajectory is None else read_trajectory(trajectory, graph)
        check_folder(directory)
        try:
            with progress_bar(f"training on {graph.name}") as moved:

                def after_round(row: dict[str, Any], total: int) -> None:
                    moved(completed=row["round"], total=total)
                    if "k_hat" in row:
                        plot_boltzmann_training(directory / "log.jsonl", directory / "training.png")

                result = train_tbg(
                    given,
                    directory,
                    forcefield,
                    temperature=temperature,
                    frames=frames,
                    run=run,
                    device=device,
                    say=note,
                    after_round=after_round,
                )
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}; {directory} holds what is finished, and the same command goes on from there")
            raise typer.Exit(code) from None
        tell("train tbg", result, directory, seed, start, show if json else None)
