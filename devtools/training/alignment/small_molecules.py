"""Aligns confgf-noise with GFN2-xTB on minima of an archive, whose energies are taken as they are; validation molecules pick the round.

Usage: python devtools/training/alignment/small_molecules.py qm9_xtb_train.npz OUTPUT [--pools FOLDER] [--loss eba|dpo] [--steps 500]

With --pools it learns from all minima of those molecules whose own_minima.py left in a folder; these alone are held out.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from own_minima import LARGEST, LEAST, pool_file

from openmm_confgf.alignment import AlignmentRun
from openmm_confgf.alignment.loop import AlignmentTraining
from openmm_confgf.alignment.pool import Pool
from openmm_confgf.alignment.recipe import alignable
from openmm_confgf.checksums import molecule_hash, sha256_of
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators.confgf import ConfGFGenerator
from openmm_confgf.models.cards import CardTarget
from openmm_confgf.models.weights import save_weights
from openmm_confgf.training.data import validates
from openmm_confgf.training.step_rounds import Row

TEMPERATURE = 298.15


def pools_of(archive: Path, own: Path | None, one_in: int) -> tuple[list[Pool], list[Pool]]:
    """Of the molecules that are learnt from, and of the others; where there are own minima, of those alone."""
    pools: list[Pool] = []
    held_out: list[Pool] = []
    for one in load_archive(archive):
        positions, energies, complete = one.positions, one.energies, own is None
        if own is not None and (path := pool_file(own, one)).exists():
            with np.load(path) as found:
                positions, energies, complete = found["positions"], found["energies"], True
        if len(positions) < LEAST or len(one.graph) > LARGEST:
            continue
        try:
            pool = Pool(one.graph, positions, energies)
        except ConfGFError:
            continue
        if not validates(molecule_hash(one.graph.constitution), one_in):
            pools.append(pool)
        elif complete:
            held_out.append(pool)
    return pools, held_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pools", type=Path)
    parser.add_argument("--from", dest="parent", default="confgf")
    parser.add_argument("--loss", default="eba")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--softness", type=float, default=1.0)
    parser.add_argument("-k", type=int, default=6)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--molecules", type=int, default=4)
    parser.add_argument("--anchor", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--extrapolate", type=float, default=1.0)
    parser.add_argument("--length-normalised", action="store_true")
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--one-in", type=int, default=10, help="constitutions so many are for validation")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pools, held_out = pools_of(arguments.archive, arguments.pools, arguments.one_in)
    run = AlignmentRun(
        loss=arguments.loss,
        k=arguments.k,
        alpha=arguments.alpha,
        softness=arguments.softness,
        anchor=arguments.anchor,
        temperature=TEMPERATURE,
        length_normalised=arguments.length_normalised,
        samples=max(arguments.k, *map(len, pools)),
        molecules=arguments.molecules,
        draws=arguments.draws,
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        extrapolation=arguments.extrapolate,
        patience=1000,
        seed=arguments.seed,
    )
    generator, start = ConfGFGenerator(arguments.parent, start="noise"), time.perf_counter()
    print(f"{len(pools)} molecules, {min(len(held_out), arguments.held_out)} held out", flush=True)

    def tell(row: Row, rounds: int) -> None:
        values = " ".join(f"{key} {value:.4g}" for key, value in row.items() if value is not None)
        print(f"{(time.perf_counter() - start) / 60:.1f} min of {rounds} rounds: {values}", flush=True)

    training = AlignmentTraining(
        alignable(generator, run), pools, held_out[: arguments.held_out], run, arguments.output, lambda pool, seed: None
    )
    rows, parent = training.fit(tell), generator.card
    name = f"confgf-noise-{arguments.loss}"
    data = {
        "file": arguments.archive.name,
        "sha256": sha256_of(arguments.archive),
        "molecules": len(pools),
        "conformers": sum(map(len, pools)),
    }
    settings = dataclasses.asdict(run) | {"best_round": training.best_round, "rounds": len(rows), "torch": torch.__version__}
    card = dataclasses.replace(
        parent,
        name=name,
        trained_on=sorted({molecule_hash(pool.graph.constitution) for pool in [*pools, *held_out]} | set(parent.trained_on)),
        data=[data],
        training=settings,
        parent=parent.lineage(),
        target=CardTarget("gfn2", TEMPERATURE),
    )
    save_weights(arguments.output / f"{name}.safetensors", generator.net, card)


if __name__ == "__main__":
    main()
