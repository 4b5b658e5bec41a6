"""``openmm-confgf seed``."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfGFError
from ..tables import Column, Table
from .batch import attempt_each, names_of, run_batch
from .options import (
    AsJson,
    Cluster,
    EnsembleFile,
    ForceField,
    Platform,
    Properties,
    Seed,
    Temperature,
    TimeLimit,
    Workers,
    checked_platform,
    checked_time_limit,
    thermal_energy,
    workers_of,
)
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..executors import Workers as WorkersOfJobs
    from ..openmm_plugin.seeding import Seed as SeedResult


def seed(
    ensembles: EnsembleFile,
    directory: Annotated[Path, typer.Option("-o", "--output", help="Folder for the seeds; it is made.", show_default=False)],
    count: Annotated[int, typer.Option("--count", help="Seeds of each molecule.")] = 8,
    run_ps: Annotated[float, typer.Option("--run-ps", help="Length of the Langevin run of each seed.", metavar="PS")] = 1.0,
    temperature: Temperature = 300.0,
    forcefield: ForceField = "openff-2.2.1",
    constraints: Annotated[
        str | None,
        typer.Option(
            "--constraints",
            help="Bonds of fixed length in the run and in the System: HBonds or AllBonds, which allow 2 fs; none by default.",
            metavar="KIND",
            show_default=False,
        ),
    ] = None,
    hydrogen_mass: Annotated[
        float | None,
        typer.Option(
            "--hydrogen-mass",
            help="Da of each hydrogen, taken from the atom it is bonded to: 3 with HBonds allows 4 fs.",
            metavar="DA",
            show_default=False,
        ),
    ] = None,
    random_seed: Seed = 0,
    platform: Platform = "auto",
    properties: Properties = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    time_limit: TimeLimit = None,
    json: AsJson = False,
) -> None:
    """Start MD: diverse low-energy conformers, minimised, with velocities, after a short Langevin run.

    Each seed is a State XML, a System XML and a PDB file that OpenMM loads without this package (`Simulation.loadState`);
    manifest.json lists them and says how. Without --constraints nothing is constrained, and simulations go on at 1 fs. Several molecules,
    and each stereoisomer where conformers of several diastereomers are given as one molecule, get one numbered folder each. A folder
    that holds seeds of another call is refused; the same call replaces its own. Workers of --cluster write the seeds themselves, into
    the same folder: it must be on a disk that they share.

    \b
    Example:
      openmm-confgf seed ibuprofen.sdf --count 8 -o seeds
      openmm-confgf seed ibuprofen.sdf --constraints HBonds --hydrogen-mass 3 -o seeds
      openmm-confgf seed peptide.pdb --forcefield amber14-all.xml,implicit/obc2.xml --run-ps 5 -o seeds
    """
    from ..energies import SystemBuilder
    from ..energies.systems.constrained import check_constraints
    from ..files import read_each_ensemble
    from ..openmm_plugin.seed_folder import check_no_others, check_seed_folder
    from ..openmm_plugin.seeding import seed_call
    from ..version import __version__
    from ..writing import only_writer

    with results_only_on_stdout() as show, contextlib.ExitStack() as stack:
        start = time.perf_counter()
        thermal_energy(temperature)  # refuses what is not one
        if count < 1 or not 0 <= run_ps < math.inf or random_seed < 0:
            raise ConfGFError(f"--count {count}, --run-ps {run_ps:g}, --seed {random_seed}: give at least 1, 0 and 0, all finite.")
        settings = checked_platform(platform, properties, cluster)
        options: dict[str, Any] = {
            "count": count,
            "run_ps": run_ps,
            "temperature": temperature,
            "seed": random_seed,
            "constraints": constraints,
            "hydrogen_mass": hydrogen_mass,
        }
        check_constraints(constraints, hydrogen_mass)
        given = [part for outcome in read_each_ensemble(ensembles) for part in _compounds(outcome)]
        folders = [directory / f"molecule-{i:03d}" for i in range(len(given))] if len(given) > 1 else [directory]
        check_no_others(directory, folders)
        for folder, outcome in zip(folders, given, strict=True):
            call = {} if isinstance(outcome, ConfGFError) else seed_call(outcome, **options) | {"forcefield": forcefield}
            check_seed_folder(folder, call)
        stack.enter_context(only_writer(directory))
        pool = stack.enter_context(workers_of(workers, cluster))
        limit = checked_time_limit(time_limit, pool)
        if pool != 1:
            SystemBuilder(forcefield)  # refuses what is none once, and not for each molecule
        setup = functools.partial(_seeder, forcefield, options | {"platform": platform, "properties": settings})
        names = names_of(given, ensembles)
        batch = run_batch(names, _seeded(given, folders, setup, pool, limit), f"seeding with {forcefield}")
        report = {
            "command": "seed",
            "version": __version__,
            "forcefield": forcefield,
            "temperature": temperature,
            "run_ps": run_ps,
            "seed": random_seed,
            "constraints": constraints,
            "hydrogen_mass": hydrogen_mass,
            "molecules": [
                {"index": i, "name": names[i], "folder": str(folders[i]), "seeds": [seed_report(s) for s in seeds]}
                for i, seeds in batch.finished.items()
            ],
            **batch.report(),
            "seconds": round(time.perf_counter() - start, 3),
        }
        batch.explain()
        if json:
            show(as_json(report))
        elif batch.finished:
            rows = [
                [
                    names[i],
                    s.index,
                    s.status.name,
                    s.minimized_energy,
                    s.final_energy,
                    s.state_xml.relative_to(directory) if s.state_xml else None,
                ]
                for i, seeds in batch.finished.items()
                for s in seeds
            ]
            columns = [
                Column("molecule", align="left"),
                Column("conformer"),
                Column("status"),
                Column("minimum", "kJ/mol", "{:.2f}"),
                Column("after the run", layout="{:.2f}"),
                Column(f"state in {directory}"),
            ]
            show(Table(columns, rows).to_terminal())
        usable = sum(s.state_xml is not None for seeds in batch.finished.values() for s in seeds)
        note(f"wrote {usable} seeds to {directory} in {report['seconds']:.1f} s")
    raise typer.Exit(batch.exit_code)


def _seeder(forcefield: str, options: dict[str, Any]) -> Callable[[tuple[Path, Ensemble]], list[SeedResult]]:
    """What a worker does with a folder and its ensemble."""
    from ..energies import SystemBuilder
    from ..errors import GenerationError
    from ..openmm_plugin.seeding import seed_simulations

    builder = SystemBuilder(forcefield)

    def seeded(item: tuple[Path, Ensemble]) -> list[SeedResult]:
        folder, ensemble = item
        seeds = seed_simulations(ensemble, folder, builder, **options)
        if not any(seed.state_xml for seed in seeds):
            found = ", ".join(seed.status.name for seed in seeds)
            raise GenerationError(
                f"no seed of {ensemble.graph.name!r} is usable ({found}); try other conformers, or a lower --temperature."
            )
        return seeds

    return seeded


def _seeded(
    given: list[Ensemble | ConfGFError],
    folders: list[Path],
    setup: Callable[[], Callable[[tuple[Path, Ensemble]], list[SeedResult]]],
    workers: WorkersOfJobs,
    time_limit: float,
) -> Iterator[tuple[int, list[SeedResult] | ConfGFError]]:
    """Each ensemble's index and seeds, as they finish, by workers or in this process."""
    from ..executors import work_through

    yield from ((i, outcome) for i, outcome in enumerate(given) if isinstance(outcome, ConfGFError))
    left = [(i, (folders[i], outcome)) for i, outcome in enumerate(given) if not isinstance(outcome, ConfGFError)]
    if workers == 1:
        seeded = setup()
        yield from attempt_each(left, lambda _, item: seeded(item))
    else:
        yield from ((left[place][0], outcome) for place, outcome in work_through(setup, [item for _, item in left], workers, time_limit))


def _compounds(outcome: Ensemble | ConfGFError) -> list[Ensemble | ConfGFError]:
    """An ensemble, or each stereoisomer of one that holds several diastereomers: seeds are of one compound."""
    if isinstance(outcome, ConfGFError):
        return [outcome]
    found = outcome.compounds()
    if len(found) > 1:
        isomers = ", ".join(part.graph.smiles for part in found)
        note(f"{outcome.graph.name}: conformers of {len(found)} stereoisomers, which get a folder each: {isomers}")
    return [*found]


def seed_report(seed: SeedResult) -> dict[str, Any]:
    """One seed in JSON's types."""
    return {
        "index": seed.index,
        "status": seed.status.name,
        **{key: str(path) if (path := getattr(seed, key)) else None for key in ("state_xml", "system_xml", "pdb")},
        "minimized_energy_kj_per_mol": seed.minimized_energy,
        "final_energy_kj_per_mol": seed.final_energy,
        "mean_temperature": seed.mean_temperature,
    }
