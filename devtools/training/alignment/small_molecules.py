"""Aligns confgf-noise with GFN2-xTB on minima of an archive, whose energies are taken as they are; validation molecules pick the round.

Usage: python devtools/training/alignment/small_molecules.py qm9_xtb_train.npz OUTPUT [--loss eba|dpo] [--steps 800]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch

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
LARGEST = 22
"""Atoms: all but a few of the archive's molecules."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="parent", default="confgf")
    parser.add_argument("--loss", default="eba")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("-k", type=int, default=3)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--molecules", type=int, default=4)
    parser.add_argument("--anchor", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--length-normalised", action="store_true")
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pools, held_out = [], []
    for one in load_archive(arguments.archive):
        if len(one.positions) < arguments.k or len(one.graph) > LARGEST:
            continue
        try:
            pool = Pool(one.graph, one.positions, one.energies)
        except ConfGFError:
            continue
        (held_out if validates(molecule_hash(one.graph.constitution)) else pools).append(pool)
    run = AlignmentRun(
        loss=arguments.loss,
        k=arguments.k,
        alpha=arguments.alpha,
        anchor=arguments.anchor,
        temperature=TEMPERATURE,
        length_normalised=arguments.length_normalised,
        samples=arguments.k,
        molecules=arguments.molecules,
        draws=arguments.draws,
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
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
