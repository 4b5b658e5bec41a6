"""Alanine dipeptide's phi > 0 by generator moves and by plain MD, at equal force evaluations; figures in docs/openmm.md.

    python devtools/benchmarks/generator_moves.py [--cycles 1000] [--steps 100] [--reference ala2.h5]

The moves propose samples of boltzmann-ala2 (amber99sbildn + amber99_obc, 300 K) every `steps` of 1 fs. Plain MD makes as many force
evaluations in one trajectory from the same start. Errors are standard errors with the statistical inefficiency of the indicator
phi > 0; MD that never crossed has none. --reference: frames of replica exchange.
"""

import argparse
import math
import time

import numpy as np
import openmm
from openmm import app, unit

from openmm_confgf import create_system, read_ensembles
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.molecules.backbone import first_phi
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import GeneratorMove, run_with_moves
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency

FORCE_FIELD, TEMPERATURE = "amber99sbildn.xml,amber99_obc.xml", 300.0


def simulation(graph, positions):
    """At 300 K with 1 fs, on the CPU."""
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, 0.001)
    made = app.Simulation(graph.to_topology(), create_system(graph, FORCE_FIELD), integrator, openmm.Platform.getPlatformByName("CPU"))
    made.context.setPositions(positions)
    made.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    return made


def told(name, positive, evaluations, seconds):
    """Population of phi > 0 with its error, and what it cost."""
    values = positive.astype(float)
    inefficiency = statistical_inefficiency(values[None]) if 0 < values.mean() < 1 else math.nan
    error = values.std() * math.sqrt(inefficiency / len(values)) if inefficiency == inefficiency else math.nan
    crossings = int((np.diff(values) != 0).sum())
    print(
        f"{name}: phi > 0 {100 * values.mean():.2f} ± {100 * error:.2f} %, {crossings} crossings, statistical inefficiency "
        f"{inefficiency:.1f} frames, {evaluations:,} force evaluations, {seconds:.0f} s",
        flush=True,
    )
    return inefficiency


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--reference")
    arguments = parser.parse_args()
    graph, generator = peptide(["ACE", "ALA", "NME"]), BoltzmannGenerator(weights="boltzmann-ala2")
    start = generator.sample(graph, 1, seed=1, device="cpu").positions[0]
    if arguments.reference:
        (frames,) = read_ensembles(arguments.reference)
        told("reference", first_phi(graph, frames.positions) > 0, 0, 0)
    begun = time.perf_counter()
    moved = simulation(graph, start)
    move = GeneratorMove(moved, generator, graph, seed=0, device="cpu")
    run = run_with_moves(move, arguments.cycles, arguments.steps)
    told("moves + MD", first_phi(graph, run.positions) > 0, run.force_evaluations, time.perf_counter() - begun)
    positive = (first_phi(graph, run.positions) > 0).astype(int)
    print(f"  acceptance {100 * move.acceptance:.1f} %, {run.round_trips(positive)} round trips")
    begun, plain = time.perf_counter(), simulation(graph, start)
    positions = np.empty((arguments.cycles, len(graph), 3))
    for k in range(arguments.cycles):
        plain.step(arguments.steps)
        positions[k] = plain.context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    told("plain MD", first_phi(graph, positions) > 0, arguments.cycles * arguments.steps, time.perf_counter() - begun)
