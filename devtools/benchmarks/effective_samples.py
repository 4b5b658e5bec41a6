"""Effective samples per second of a Boltzmann generator, of OpenMM's own MD and of batched MD, in turn on one System.

    python devtools/benchmarks/effective_samples.py [peptide:ACE-ALA-NME] [--weights boltzmann-ala2] [--threads 1] [--repeats 3]

Samples of the generator count by their effective share; picoseconds of MD by the statistical inefficiency of the slowest torsion that is
seen in 200 ps of 64 replicas. Torsions that turn more rarely than that count as never, in favour of MD. Medians over the repeats.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import app, unit

from openmm_confgf import reweight
from openmm_confgf.dynamics.molecular_dynamics import MolecularDynamics
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.files import read_molecules
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.generators.md import minimised_starts
from openmm_confgf.molecules.geometry import dihedrals
from openmm_confgf.molecules.placement import Placement
from openmm_confgf.tables import Column, Table
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency

SAMPLES, STEPS, FRAMES, REPLICAS = 5000, 2000, 10, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecule", nargs="?", default="peptide:ACE-ALA-NME")
    parser.add_argument("--weights", default="boltzmann-ala2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    graph = read_molecules(arguments.molecule)[0].graph
    assert graph is not None
    generator = BoltzmannGenerator(weights=arguments.weights)
    system, temperature = generator.source.build(graph), generator.temperature
    starts = minimised_starts(graph, system, 32, 0)
    torsions = [[s.atom, s.parent, s.second, s.third] for s in Placement.of(graph).steps if s.third >= 0 and not (s.beside or s.closes)]

    def angles(frames: NDArray[np.float64]) -> NDArray[np.float64]:
        return dihedrals(torch.tensor(frames), torch.tensor(torsions)).numpy()

    slow = MolecularDynamics(system, MDSettings(temperature=temperature, replicas=64, frame_interval=0.2, precision="single"), 0, "cpu")
    state, frames = slow.start(starts), []
    for _ in range(1000):
        state, found = slow.next_frames(state)
        frames.append(angles(found))
    series = np.array(frames).transpose(2, 1, 0)  # torsion, replica, time
    decorrelation = 0.2 * max(statistical_inefficiency(wave(one)) for one in series for wave in (np.cos, np.sin))

    batched = MolecularDynamics(
        system, MDSettings(temperature=temperature, replicas=REPLICAS, frame_interval=0.1, precision="single"), 0, "cpu"
    )
    batch_state = batched.start(starts)

    def of_batches() -> float:
        for _ in range(FRAMES):
            batched.next_frames(batch_state)
        return REPLICAS * FRAMES * 0.1 / decorrelation

    simulations = {name: _simulation(graph.to_topology(), system, temperature, name, starts[0]) for name in ("Reference", "CPU")}

    def of_openmm(name: str) -> float:
        simulations[name].step(STEPS)
        return STEPS * 0.001 / decorrelation

    seed = iter(range(1000))

    def of_generator() -> float:
        return reweight(generator.sample(graph, SAMPLES, seed=next(seed), device="cpu")).diagnostics.ess or 0.0

    methods: dict[str, Callable[[], float]] = {
        "boltzmann": of_generator,
        "OpenMM, Reference": lambda: of_openmm("Reference"),
        "OpenMM, CPU": lambda: of_openmm("CPU"),
        f"batched MD, {REPLICAS} replicas": of_batches,
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for repeat in range(arguments.repeats + 1):
        for name, method in methods.items():
            start = time.perf_counter()
            effective = method()
            if repeat:  # the first one warms up
                rates[name].append(effective / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rows = [[name, rate, medians["boltzmann"] / rate] for name, rate in medians.items()]
    columns = [
        Column("method", align="left"),
        Column("effective samples/s", layout="{:.3g}"),
        Column("boltzmann is so many times as fast", layout="{:.3g}"),
    ]
    print(f"{graph.name}, slowest torsion seen: {decorrelation:.1f} ps for one independent sample; {arguments.threads} thread(s)")
    print(Table(columns, rows).to_markdown())


def _simulation(topology: app.Topology, system: openmm.System, temperature: float, name: str, start: NDArray[np.float64]) -> app.Simulation:
    integrator = openmm.LangevinMiddleIntegrator(temperature * unit.kelvin, 1 / unit.picosecond, 0.001 * unit.picosecond)
    properties = {"Threads": "1"} if name == "CPU" else {}
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName(name), properties)
    simulation.context.setPositions(start)
    return simulation


if __name__ == "__main__":
    main()
