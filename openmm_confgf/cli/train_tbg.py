"""``openmm-confgf train tbg``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJson, Device, ForceField, Minutes, OneMolecule, Rounds, Seed, Temperature, TrainingFolder, Trajectory
from .trained import train_and_tell


def tbg(
    molecule: OneMolecule,
    directory: TrainingFolder,
    forcefield: ForceField = "openff-2.2.1",
    temperature: Temperature = 300.0,
    trajectory: Trajectory = None,
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
    batch_size: Annotated[int, typer.Option("--batch-size", help="Conformations of a step; 512 or more keep a GPU busy.")] = 256,
    minutes: Minutes = 45.0,
    rounds: Rounds = None,
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
    from ..training.boltzmann.flow_recipe import train_tbg
    from ..training.boltzmann.flow_settings import FlowRun

    run = FlowRun(minutes, rounds, variant, coupling=coupling, upweighted=upweighted, batch_size=batch_size, seed=seed)  # type: ignore[arg-type]
    options = {"forcefield": forcefield, "temperature": temperature, "run": run, "device": device}
    train_and_tell("train tbg", train_tbg, molecule, directory, trajectory, seed, json, **options)
