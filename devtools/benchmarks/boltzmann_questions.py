"""What network inputs, little data and biased data do to a Boltzmann generator: trainings of one kind on frames of one molecule, compared.

    python devtools/benchmarks/boltzmann_questions.py FRAMES.h5 OUTPUT [--rounds 30] [-n 20000] [--seeds 3] [--only NAME ...]

FRAMES.h5 is of `openmm-confgf simulate` (docs/boltzmann.md has the command for alanine dipeptide). Every training has as many rounds of
maximum likelihood, and none of energies; run again, it goes on. The table is that of `openmm-confgf benchmark boltzmann`.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openmm_confgf.benchmarks.boltzmann import BoltzmannBenchmark, benchmark_boltzmann
from openmm_confgf.ensemble import Ensemble
from openmm_confgf.files import read_ensembles
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.generators.boltzmann import prepared
from openmm_confgf.models.placement_batch import PlacementBatch
from openmm_confgf.molecules.backbone import first_phi
from openmm_confgf.training.boltzmann.recipe import train_boltzmann
from openmm_confgf.training.boltzmann.settings import BoltzmannRun

OF_FORCE_FIELD = [0, 1, 2, *range(4, 10), 20, 21, 22]
"""Columns of the numbers that a step is told: charge, radius, depth, equilibria and widths, torsions."""

Rows = NDArray[np.int64]


def all_frames(frames: Ensemble, rng: np.random.Generator) -> Rows:
    return np.arange(len(frames))


def tenth(frames: Ensemble, rng: np.random.Generator) -> Rows:
    return rng.choice(len(frames), len(frames) // 10, replace=False)


def hundredth(frames: Ensemble, rng: np.random.Generator) -> Rows:
    return rng.choice(len(frames), len(frames) // 100, replace=False)


def biased(frames: Ensemble, rng: np.random.Generator) -> Rows:
    """Half of them with phi > 0, drawn again and again."""
    phi = first_phi(frames.graph, frames.positions)
    assert phi is not None, "a molecule without phi"
    halves = [rng.choice(np.flatnonzero(side), len(frames) // 2) for side in (phi > 0, phi <= 0)]
    return np.concatenate(halves)


@contextmanager
def without_parameters() -> Iterator[None]:
    """The network is told neither charges, nor radii, nor torsions of the force field, nor how wide its lengths and angles are."""
    given = prepared.placement_batch

    def blind(*arguments: Any) -> PlacementBatch:
        batch = given(*arguments)
        numbers = batch.numbers.clone()
        numbers[:, OF_FORCE_FIELD] = 0.0
        length, second, between = (
            torch.stack([base[:, 0], torch.full_like(base[:, 1], width)], 1)
            for base, width in ((batch.length, 0.003), (batch.second, 0.06), (batch.between, 0.06))
        )
        return dataclasses.replace(batch, numbers=numbers, length=length, second=second, between=between)

    prepared.placement_batch = blind
    try:
        yield
    finally:
        prepared.placement_batch = given


QUESTIONS: dict[str, tuple[Callable[[Ensemble, np.random.Generator], Rows], Callable[[], Any]]] = {
    "all frames": (all_frames, nullcontext),
    "without force-field parameters": (all_frames, without_parameters),
    "a tenth of the frames": (tenth, nullcontext),
    "a hundredth of the frames": (hundredth, nullcontext),
    "half of the frames with phi > 0": (biased, nullcontext),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(QUESTIONS), default=list(QUESTIONS))
    arguments = parser.parse_args()
    (frames,) = read_ensembles(arguments.frames)
    assert frames.target is not None
    forcefield, temperature = frames.target.forcefield, frames.target.temperature
    rows = []
    for name in arguments.only:
        choose, network_sees = QUESTIONS[name]
        chosen = frames.select(choose(frames, np.random.default_rng(0)))
        with network_sees():
            folder = arguments.output / name.replace(" ", "-").replace(">", "above")
            run = BoltzmannRun(rounds=arguments.rounds, tuning="none")
            trained = train_boltzmann(frames.graph, folder, forcefield, temperature=temperature, frames=chosen, run=run)
            generator = BoltzmannGenerator(weights=trained.weights)
            (row,) = benchmark_boltzmann([generator], [frames.graph], arguments.n, arguments.seeds, frames).rows
        rows.append(dataclasses.replace(row, molecule=name))
        print(BoltzmannBenchmark(rows, {}).to_table(), flush=True)


if __name__ == "__main__":
    main()
