"""Aligns the transferable Boltzmann generator on dipeptides: its own samples of all, and frames of those that were simulated.

Usage: python devtools/training/alignment/peptides.py FOLDER OUTPUT [--from boltzmann] [--loss eba|log-variance] [--steps 1000]
       [--device cuda]

FOLDER is that of boltzmann/dipeptides.py, and may be empty. A peptide needs no simulation here, since energies teach what samples are
worth. Those of VALIDATION are only looked at, test peptides not even that.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "boltzmann"))
from dipeptides import FORCE_FIELD, TEMPERATURE, TEST, card_of

from openmm_confgf.alignment import AlignmentRun
from openmm_confgf.alignment.density import DensityModel
from openmm_confgf.alignment.loop import AlignmentTraining
from openmm_confgf.alignment.pool import Pool
from openmm_confgf.dynamics.hamiltonian_monte_carlo import move_conformations
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.boltzmann import BoltzmannGenerator, prepared
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.training.boltzmann.moved import MOVES, STEPS
from openmm_confgf.training.step_rounds import Row
from openmm_confgf.units import kT

VALIDATION = tuple("NG KA TV QD FD CH".split())
"""Of training's side, never a test peptide: they decide which round is kept."""

KEPT = 0.2
"""Share of a pool that is in the next one, too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="parent", default="boltzmann")
    parser.add_argument("--loss", default="log-variance")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--softness", type=float, default=1.0)
    parser.add_argument("-k", type=int, default=64)
    parser.add_argument("--molecules", type=int, default=8)
    parser.add_argument(
        "--samples", type=int, default=256, help="of the model, for each peptide; as many frames of the simulation join them"
    )
    parser.add_argument("--every", type=int, default=1, help="take one peptide in so many, besides those that were simulated")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--round-steps", type=int, default=50)
    parser.add_argument("--refresh", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--extrapolate", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda, where there is one")
    arguments = parser.parse_args()
    # drawn at once; the samples of a pool need not be the same whatever their number
    prepared.DRAWN = arguments.samples
    files = sorted(path for path in arguments.folder.glob("*.npz") if path.stem not in TEST)
    model = DensityModel(BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, arguments.parent), arguments.device)
    frames = {path.stem: np.load(path)["positions"].astype(np.float64) for path in files}
    graphs = {name: peptide(name) for name in dict.fromkeys([*chosen_names(frames, arguments.every), *VALIDATION])}
    names = {id(graph): name for name, graph in graphs.items()}

    def pool_of(name: str, seed: int) -> Pool:
        graph, count = graphs[name], arguments.samples
        positions = model.sample(graph, count, seed=seed)
        if name in frames:
            rows = np.random.default_rng(seed).integers(len(frames[name]), size=count)
            positions = np.concatenate([positions, frames[name][rows]])
        return Pool.of_samples(graph, positions, model.prepare(graph).energy).known_to(model, seed)

    def again(pool: Pool, seed: int) -> Pool | None:
        """Fresh samples, and those of before whose weights are largest, moved a little: what is seldom drawn is not forgotten."""
        energy = model.prepare(pool.graph).energy
        with torch.no_grad():
            told = model.model_energies(pool.graph, pool.positions, seed=0).cpu().double().numpy()
        kept = np.argsort(told - pool.energies / kT(TEMPERATURE))[-int(KEPT * len(pool)) :]
        try:
            fresh = pool_of(names[id(pool.graph)], seed)
            moved, _, _ = move_conformations(energy, pool.positions[kept], TEMPERATURE, moves=MOVES, steps=STEPS, seed=seed)
            old = Pool.of_samples(pool.graph, moved, energy).known_to(model, seed).arrays()
        except ConfGFError:
            return None
        return Pool(pool.graph, **{name: np.concatenate([values, old[name]]) for name, values in fresh.arrays().items()})

    run = AlignmentRun(
        loss=arguments.loss,
        k=arguments.k,
        alpha=arguments.alpha,
        softness=arguments.softness,
        temperature=TEMPERATURE,
        minimised=False,
        samples=arguments.samples,
        refresh=arguments.refresh,
        molecules=arguments.molecules,
        steps=arguments.steps,
        round_steps=arguments.round_steps,
        learning_rate=arguments.learning_rate,
        extrapolation=arguments.extrapolate,
        patience=1000,
        seed=arguments.seed,
    )
    learnt = [name for name in graphs if name not in VALIDATION]
    start = time.perf_counter()
    pools, held_out = ([pool_of(name, 0) for name in some] for some in (learnt, VALIDATION))
    print(f"{len(pools)} peptides, {len(held_out)} held out, pools in {time.perf_counter() - start:.0f} s", flush=True)

    def tell(row: Row, rounds: int) -> None:
        values = " ".join(f"{key} {value:.4g}" for key, value in row.items() if value is not None)
        print(f"{(time.perf_counter() - start) / 60:.1f} min of {rounds} rounds: {values}", flush=True)

    training = AlignmentTraining(model, pools, held_out, run, arguments.output, again)
    rows = training.fit(tell)
    settings = dataclasses.asdict(run) | {"best_round": training.best_round, "rounds": len(rows)}
    counts, parent = [len(frames[path.stem]) for path in files], model.generator.loaded.card
    card = card_of("boltzmann", model.network, files, counts, settings, parent, list(graphs.values()))
    own = {"molecules": len(pools), "conformations": sum(map(len, pools)), "level": FORCE_FIELD}
    save_weights(arguments.output / "boltzmann.safetensors", model.network, dataclasses.replace(card, data=[*card.data, own]))


def chosen_names(frames: Iterable[str], every: int) -> list[str]:
    """The peptides that were simulated, and one in so many of all others that are no test peptides."""
    everything = ["".join(pair) for pair in itertools.product("ACDEFGHIKLMNPQRSTVWY", repeat=2)]
    return list(dict.fromkeys([*frames, *[name for name in everything if name not in TEST][::every]]))


if __name__ == "__main__":
    main()
