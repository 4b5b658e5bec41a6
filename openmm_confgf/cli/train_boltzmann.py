"""``openmm-confgf train boltzmann``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from .options import AsJson, Device, Minutes, OneMolecule, Rounds, Seed, TrainingFolder, Trajectory
from .trained import train_and_tell


def boltzmann(
    molecule: OneMolecule,
    directory: TrainingFolder,
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
    trajectory: Trajectory = None,
    minutes: Minutes = 45.0,
    rounds: Rounds = None,
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
    from ..training.boltzmann.recipe import train_boltzmann
    from ..training.boltzmann.settings import AT_A_LEVEL, BoltzmannRun

    defaults = BoltzmannRun() if level is None else AT_A_LEVEL
    run = dataclasses.replace(defaults, minutes=minutes, rounds=rounds, until_ess=until_ess, tuning=tuning, seed=seed)  # type: ignore[arg-type]
    options = {"forcefield": forcefield, "temperature": temperature, "level": level, "parent": parent, "run": run, "device": device}
    train_and_tell("train boltzmann", train_boltzmann, molecule, directory, trajectory, seed, json, **options)
