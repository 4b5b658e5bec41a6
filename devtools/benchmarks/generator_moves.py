"""How many force evaluations tell alanine dipeptide's phi > 0: generator moves, replica exchange and plain MD; figures in docs/openmm.md.

    python devtools/benchmarks/generator_moves.py [--cycles 1000] [--steps 100] [--reference ala2.h5] [--replicas 256] [--ps 300]

The moves propose samples of boltzmann-ala2 (amber99sbildn + amber99_obc, 300 K) every `steps` of 1 fs. --reference: frames of replica
exchange by `openmm-confgf simulate`. What an independent frame costs is the statistical inefficiency of the indicator phi > 0 times the
force evaluations between frames. Plain MD crosses too seldom for that: replicas start from samples with phi > 0, resampled by weight,
and the share of them that is there after a time t is the indicator's autocorrelation but for a factor, C(t) = (P(t) - p) / (1 - p),
whose integral is continued beyond the run as an exponential of its last half.
"""

import argparse
import math
import time
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from openmm_confgf import create_system, read_ensembles, reweight
from openmm_confgf.dynamics.molecular_dynamics import MolecularDynamics
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.molecules.backbone import first_phi
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import GeneratorMove, run_with_moves
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency
from openmm_confgf.thermodynamics.resampling import resample

FORCE_FIELD, TEMPERATURE, TIMESTEP = "amber99sbildn.xml,amber99_obc.xml", 300.0, 0.001
DRAWN = 20_000


def simulation(graph: MolecularGraph, positions: NDArray[np.float64]) -> app.Simulation:
    """At 300 K with 1 fs, on the CPU."""
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, TIMESTEP)
    made = app.Simulation(graph.to_topology(), create_system(graph, FORCE_FIELD), integrator, openmm.Platform.getPlatformByName("CPU"))
    made.context.setPositions(positions)
    made.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    return made


def cost(name: str, chains: NDArray[np.bool_], evaluations: float) -> float:
    """Force evaluations for an independent frame, from chains (C, T) of the indicator and the evaluations between two frames."""
    values = chains.astype(float)
    inefficiency = statistical_inefficiency(values)
    error = values.std() * math.sqrt(inefficiency / values.size)
    print(
        f"{name}: phi > 0 {100 * values.mean():.2f} ± {100 * error:.2f} % of {values.size} frames; statistical inefficiency "
        f"{inefficiency:.2f} frames; {inefficiency * evaluations:,.0f} force evaluations for an independent one",
        flush=True,
    )
    return inefficiency * evaluations


def cost_of_plain_md(graph: MolecularGraph, starts: NDArray[np.float64], share: float, length: float) -> tuple[float, float]:
    """The same of plain MD, from the decay of phi > 0, and its bootstrap error over replicas; `share` is that of equilibrium."""
    settings = MDSettings(temperature=TEMPERATURE, replicas=len(starts), timestep=TIMESTEP, equilibration=0.0, frame_interval=1.0)
    dynamics = MolecularDynamics(create_system(graph, FORCE_FIELD), settings, device="cpu")
    state, there = dynamics.start(starts), [np.ones(len(starts), bool)]
    for _ in range(round(length)):
        state, frames = dynamics.next_frames(state)
        phi = first_phi(graph, frames)
        assert phi is not None
        there.append(phi > 0)
    stays = np.array(there, float)
    rng = np.random.default_rng(0)
    drawn = [relaxation_time(stays[:, rng.integers(len(starts), size=len(starts))].mean(1), share) for _ in range(200)]
    time_ps, error = relaxation_time(stays.mean(1), share), float(np.std(drawn))
    print(
        f"plain MD: of {len(starts)} replicas, {100 * stays[-1].mean():.0f} % are at phi > 0 after {length:g} ps; the indicator's "
        f"autocorrelation time is {time_ps:.0f} ± {error:.0f} ps; {2 * time_ps / TIMESTEP:,.0f} force evaluations for an independent frame",
        flush=True,
    )
    return 2 * time_ps / TIMESTEP, 2 * error / TIMESTEP


def relaxation_time(there: NDArray[np.float64], share: float) -> float:
    """Integral of C(t) in ps, from the share of replicas that is there in each ps."""
    correlation = (there - share) / (1 - share)
    half = len(correlation) // 2
    times, last = np.arange(half, len(correlation)), correlation[half:]
    known = float(np.trapezoid(correlation))
    if not (last > 0).all():
        return known
    rate = -np.polyfit(times, np.log(last), 1)[0]
    return known + (float(last[-1] / rate) if rate > 0 else math.inf)


def chains_of(indicator: Any, replicas: int) -> NDArray[np.bool_]:
    """(replicas, frames) of frames that come replica by replica."""
    return np.asarray(indicator).reshape(-1, replicas).T


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--reference")
    parser.add_argument("--replicas", type=int, default=256)
    parser.add_argument("--ps", type=float, default=300.0)
    arguments = parser.parse_args()
    graph, generator = peptide(["ACE", "ALA", "NME"]), BoltzmannGenerator(weights="boltzmann-ala2")
    samples = generator.sample(graph, DRAWN, seed=1, device="cpu")
    weighed, phi = reweight(samples), first_phi(graph, samples.positions)
    assert phi is not None
    share = weighed.average((phi > 0).astype(float))
    print(f"by weights: phi > 0 {100 * float(share.value):.2f} ± {100 * float(share.error):.2f} % of {DRAWN} samples", flush=True)
    begun, moved = time.perf_counter(), simulation(graph, samples.positions[0])
    move = GeneratorMove(moved, generator, graph, seed=0, device="cpu")
    run = run_with_moves(move, arguments.cycles, arguments.steps)
    indicator = first_phi(graph, run.positions) > 0
    of_moves = cost("moves + MD", indicator[None], run.force_evaluations / arguments.cycles)
    print(
        f"  acceptance {100 * move.acceptance:.1f} %, {run.round_trips(indicator.astype(int))} round trips, "
        f"{time.perf_counter() - begun:.0f} s"
    )
    if arguments.reference:
        (frames,) = read_ensembles(arguments.reference)
        told = frames.provenance.settings
        between = told["frame_interval"] / told["timestep"] * len(told["ladder"])
        of_exchange = cost("replica exchange", chains_of(first_phi(graph, frames.positions) > 0, told["replicas"]), between)
        print(f"  {of_exchange / of_moves:,.0f} times as many as with moves")
    starts = samples.positions[resample(np.where(phi > 0, weighed.log_weights, -np.inf), arguments.replicas, seed=2)]
    of_md, error = cost_of_plain_md(graph, starts, float(share.value), arguments.ps)
    print(f"  {of_md / of_moves:,.0f} ± {error / of_moves:,.0f} times as many as with moves")
