"""``openmm-confgf benchmark boltzmann``."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device
from .output import as_json, note, progress_bar, results_only_on_stdout


def boltzmann(
    molecules: Annotated[
        list[str], typer.Argument(help="SMILES, peptide:KS, or files as for generate.", metavar="INPUT...", show_default=False)
    ],
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--generator",
            help="boltzmann, or tbg, which needs --weights; several times for one table of them.  [default: boltzmann]",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="The name of shipped ones, or a .safetensors file; one for each --generator.",
            metavar="WEIGHTS",
            show_default=False,
        ),
    ] = None,
    forcefield: Annotated[
        str | None, typer.Option("--forcefield", help="Default: that of the weights.", metavar="FORCEFIELD", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="In K. Default: that of the weights.", metavar="K", show_default=False)
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="Of each molecule and seed.")] = 100_000,
    seeds: Annotated[int, typer.Option("--seeds", help="How often.")] = 3,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="An .h5 of simulate, of one of the molecules: profiles are compared.", metavar="H5", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Effective samples, k-hat and rate of Boltzmann generators, and how their profiles compare with a simulation's.

    \b
    Example:
      openmm-confgf benchmark boltzmann peptide:KS peptide:AT -n 10000
      openmm-confgf benchmark boltzmann peptide:ACE-ALA-NME --weights boltzmann-ala2 --reference ala2.h5
    """
    from ..benchmarks.boltzmann import benchmark_boltzmann
    from ..errors import ConfGFError
    from ..files import read_ensembles, read_molecules
    from ..generators import create_generator
    from ..generators.equilibrium import EquilibriumGenerator

    with results_only_on_stdout() as show:
        entries = [entry for source in molecules for entry in read_molecules(source)]
        for entry in entries:
            if entry.error is not None:
                raise entry.error
        chosen = names or ["boltzmann"]
        if weights and len(weights) != len(chosen):
            raise ConfGFError(f"There are {len(chosen)} generators and {len(weights)} weights; give --weights once for each --generator.")
        generators = []
        for name, file in itertools.zip_longest(chosen, weights or ()):
            generator = create_generator(name, file, forcefield=forcefield, temperature=temperature)
            if not isinstance(generator, EquilibriumGenerator):
                raise ConfGFError(f"The generator {name!r} samples no equilibrium; use boltzmann or tbg.")
            generators.append(generator)
        frames = None if reference is None else read_ensembles(reference)[0]
        with progress_bar("benchmark") as moved:
            result = benchmark_boltzmann(
                generators,
                [entry.graph for entry in entries if entry.graph is not None],
                samples,
                seeds,
                frames,
                device,
                progress=lambda name, done, total: moved(description=name, completed=done, total=total),
            )
        for failure in result.failed:
            note(f"failed: {failure.molecule} ({failure.weights}): {failure.error}")
        show(as_json({"command": "benchmark boltzmann", **dataclasses.asdict(result)}) if json else result.to_table())
    raise typer.Exit(1 if result.failed else 0)
