"""Options that several commands share, with one wording each."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfGFError, PlatformError

if TYPE_CHECKING:
    from ..executors import Workers as WorkersOfJobs

Seed = Annotated[int, typer.Option("--seed", help="Random seed; the same one gives the same result.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where the network runs: auto, cpu, cuda, or cuda:1 for the second one.",
        metavar="NAME",
        callback=lambda name: checked_device(name),
    ),
]
Platform = Annotated[
    str, typer.Option("--platform", help="OpenMM platform: auto, CUDA, OpenCL, HIP, CPU or Reference.", metavar="NAME", show_default=True)
]
Properties = Annotated[
    list[str] | None,
    typer.Option("--property", help="Platform property: Precision=mixed, DeviceIndex=0 ... Repeatable.", metavar="KEY=VALUE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
ForceField = Annotated[
    str,
    typer.Option("--forcefield", help="openff-2.2.1, gaff-2.2.20, or Amber XML files: amber14-all.xml,implicit/obc2.xml.", metavar="NAME"),
]
LEVELS = "mmff94s, mmff (with UFF where MMFF94s has no parameters), gfn2 (GFN2-xTB), or a force field: openff-2.2.1 ..."
LevelOfTheory = Annotated[
    str,
    typer.Option(
        "--forcefield",
        help="openff-2.2.1, gaff-2.2.20, or Amber XML files: amber14-all.xml,implicit/obc2.xml; or mmff94s, mmff or gfn2 (GFN2-xTB).",
        metavar="NAME",
    ),
]
OneMolecule = Annotated[
    str,
    typer.Argument(
        help="A SMILES, peptide:KS, peptide:ACE-K-NME, or a file: .smi, .sdf, .mol, .pdb, .h5.", metavar="INPUT", show_default=False
    ),
]
TrainingFolder = Annotated[
    Path, typer.Option("-o", "--output", help="Folder of the run: simulation, checkpoint, log, weights, pictures.", show_default=False)
]
Trajectory = Annotated[
    Path | None,
    typer.Option(
        "--trajectory",
        help="Frames of equilibrium to learn from, without constraints, instead of a simulation made here: any format of MDTraj.",
        metavar="FILE",
        show_default=False,
    ),
]
Minutes = Annotated[float, typer.Option("--minutes", help="For the rounds; the simulation takes a quarter of it besides.")]
Rounds = Annotated[int | None, typer.Option("--rounds", help="How many, whatever they take, instead of --minutes.", show_default=False)]
Temperature = Annotated[float, typer.Option("--temperature", help="In K.", metavar="K")]
_GENERATORS = (
    "confgf, mmff+confgf, confgf-noise, confgf+mmff, confgf-paper, confgf-dist, etkdg, etkdg+mmff, conforge (needs CDPKit), "
    "boltzmann or tbg"
)
Generator = Annotated[str, typer.Option("--generator", help=f"{_GENERATORS}.", metavar="NAME")]
Generators = Annotated[list[str], typer.Option("--generator", help=f"{_GENERATORS}; repeatable.", metavar="NAME")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", help="Weights of the network instead of the shipped ones: a .safetensors file with its card.", metavar="FILE"
    ),
]
Workers = Annotated[int, typer.Option("--workers", help="Worker processes, of one thread each; a molecule at a time.", metavar="N")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Work with Dask: local (with --workers), the address of a scheduler, or a YAML file of jobs for SLURM, PBS, SGE or LSF.",
        metavar="WHERE",
        show_default=False,
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        help="Give a molecule up after so many seconds; of processes of their own: --workers 2 or more, or --cluster.",
        metavar="SECONDS",
        show_default=False,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what an earlier call with the same settings kept in <output>.partial, if anything.")
]
LargestFragment = Annotated[
    bool, typer.Option("--largest-fragment", help="Keep the largest fragment of each molecule, without counter-ions and solvent.")
]
MoleculesFile = Annotated[
    str,
    typer.Argument(
        help="A SMILES; a .smi, .csv, .tsv, .sdf, .mol, .pdb (or one of these with .gz) or .h5 file of molecules; - for standard input.",
        metavar="INPUT",
        show_default=False,
    ),
]
EnsembleFile = Annotated[
    Path, typer.Argument(help="Conformers: .sdf, .mol or .pdb (also with .gz), or .h5.", metavar="IN", show_default=False)
]


def checked_device(name: str) -> str:
    """The name of --device, once it is known to be spelt right; torch, which loads for seconds, finds out whether it is there.

    Raises
    ------
    PlatformError
        If it is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise PlatformError(f"--device {name!r} is unknown; give auto, cpu, cuda, or cuda:1 for the second CUDA device.")
    return name


def thermal_energy(temperature: float) -> float:
    """kT in kJ/mol of --temperature.

    Raises
    ------
    ConfGFError
        If it is no temperature.
    """
    from ..units import kT

    try:
        return kT(temperature)
    except ValueError as error:
        raise ConfGFError(f"--temperature: {error}") from error


@contextlib.contextmanager
def workers_of(workers: int, cluster: str | None) -> Iterator[WorkersOfJobs]:
    """What the jobs of a library take: the number of --workers, or those of --cluster, which end with the context.

    Raises
    ------
    ConfGFError
        If the cluster cannot be had.
    """
    if cluster is None:
        yield workers
        return
    from ..clusters.opening import open_cluster

    with open_cluster(cluster, workers) as found:
        yield found


def checked_time_limit(seconds: float | None, workers: WorkersOfJobs) -> float:
    """The seconds of --time-limit, infinity where there is none.

    Raises
    ------
    ConfGFError
        If the work is done in this process, which cannot stop itself.
    """
    if seconds is not None and workers == 1:
        raise ConfGFError("--time-limit needs processes that can be stopped; add --workers 2 or more, or --cluster.")
    return math.inf if seconds is None else seconds


def is_elsewhere(cluster: str | None) -> bool:
    """Whether --cluster names other machines, whose devices and platforms may be others than those here."""
    return cluster not in (None, "local")


def checked_platform(platform: str, pairs: list[str] | None, cluster: str | None = None) -> dict[str, str]:
    """The KEY=VALUE pairs of --property as OpenMM takes them, once the platform is known to work with them.

    Of a cluster elsewhere that is asked when it is there.

    Raises
    ------
    PlatformError
        If a pair has no ``=``, or the platform cannot be used.
    """
    from ..energies import resolve_platform

    properties = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise PlatformError(f"--property {pair!r} is not KEY=VALUE; give for example Precision=mixed.")
        properties[key] = value
    if not is_elsewhere(cluster):
        resolve_platform(platform, properties)
    return properties
