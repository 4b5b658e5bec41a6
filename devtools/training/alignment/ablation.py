"""What each choice of an alignment does, one at a time: losses, alpha, temperature, K, own samples or frames; a table, a row at a time.

Usage: python devtools/training/alignment/ablation.py OUTPUT --from WEIGHTS [--frames FOLDER] [--rows eba dpo ...] [--seeds 3]

The transferable Boltzmann generator learns the dipeptides of LEARNT; it is asked for these and for those of VALIDATION. All rows have equal
numbers of energies and of conformations that pass the network. FOLDER is that of boltzmann/dipeptides.py. Finished rows are kept in
OUTPUT/rows.jsonl, and are read when it runs again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peptides import FORCE_FIELD, TEMPERATURE, VALIDATION

from openmm_confgf.alignment import AlignmentRun
from openmm_confgf.alignment.density import DensityModel
from openmm_confgf.alignment.loop import AlignmentTraining
from openmm_confgf.alignment.pool import Pool
from openmm_confgf.alignment.recipe import pool_of
from openmm_confgf.energies import level_of
from openmm_confgf.errors import ConfGFError, LossExplodedError
from openmm_confgf.generators.boltzmann import BoltzmannGenerator, prepared
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.status import Status
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.thermodynamics.diagnostics import diagnose
from openmm_confgf.thermodynamics.log_weights import log_weights
from openmm_confgf.training.averaging import copied_to_cpu
from openmm_confgf.training.boltzmann.monitor import divergence

BASE = AlignmentRun(
    k=64,
    temperature=TEMPERATURE,
    minimised=False,
    samples=2048,
    molecules=4,
    steps=400,
    round_steps=50,
    learning_rate=2e-4,
    patience=1000,
)
ON_POLICY = {"samples": 512, "refresh": 2}
"""A quarter of the samples, drawn anew every two of the eight rounds."""

LEARNT = tuple("AA AG GA GS SG EG CT ED AH AF".split())
"""So few and small ones that a row takes two minutes, and learns these and little else."""

ROWS: dict[str, dict[str, Any]] = {
    "eba": {},
    "log-variance": {"loss": "log-variance"},
    "distillation": {"loss": "distillation"},
    "dpo": {"loss": "dpo"},
    "dpo, alpha 0.1": {"loss": "dpo", "alpha": 0.1},
    "eba, on-policy": ON_POLICY,
    "log-variance, on-policy": {"loss": "log-variance", **ON_POLICY},
    "distillation, on-policy": {"loss": "distillation", **ON_POLICY},
    "eba, alpha 0.5": {"alpha": 0.5},
    "eba, alpha 2": {"alpha": 2.0},
    "eba, 155 K": {"temperature": TEMPERATURE / 2},
    "eba, 620 K": {"temperature": TEMPERATURE * 2},
    "eba, softness 2": {"softness": 2.0},
    "eba, K 16": {"k": 16, "molecules": 16},
    "eba, K 256": {"k": 256, "molecules": 1},
    "eba, energies over the root of the length": {"length_normalised": True},
    "eba, minima of 64": {"minimised": True, "samples": 64},
    "eba, frames": {},
    "log-variance, frames": {"loss": "log-variance"},
}
COLUMNS = (
    Column("row", align="left"),
    Column("seeds"),
    Column("target's entropy", "nats", "{:.2f}"),
    Column("winners of K", layout="{}"),
    Column("change of KL(q, p): learnt", "nats", "{}"),
    Column("others", "nats", "{}"),
    Column("ESS: learnt", "%", "{}"),
    Column("others", "%", "{}"),
    Column("trusted, others", layout="{}"),
    Column("right", "%", "{:.2f}"),
    Column("minutes", layout="{:.1f}"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="parent", default="boltzmann")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--looked-at", type=int, default=1024, help="fresh samples of each validation peptide")
    arguments = parser.parse_args()
    if arguments.frames is None and any("frames" in row for row in arguments.rows):
        parser.error("give --frames, or --rows without them")
    arguments.output.mkdir(parents=True, exist_ok=True)
    kept, model = arguments.output / "rows.jsonl", DensityModel(BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, arguments.parent))
    begun = copied_to_cpu(model.network.state_dict())
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    wanted = [("before", 0), *((row, seed) for seed in range(arguments.seeds) for row in arguments.rows)]
    for row, seed in wanted:
        if not any((one["row"], one["seed"]) == (row, seed) for one in known):
            model.network.load_state_dict(begun)
            known.append({"row": row, "seed": seed, **made(arguments, model, row, seed)})
            with kept.open("a") as stream:
                stream.write(json.dumps(known[-1]) + "\n")
            print(known[-1], flush=True)
    table = [summary([one for one in known if one["row"] == row], known[0]) for row in dict.fromkeys(row for row, _ in wanted)]
    for line in markdown_lines(COLUMNS, table):
        print(line, flush=True)


def made(arguments: argparse.Namespace, model: DensityModel, row: str, seed: int) -> dict[str, Any]:
    """Align as a row says, and look at the peptides of validation and at those learnt from."""
    start, logged = time.perf_counter(), {}
    # drawn at once; the samples of a pool need not be the same whatever their number
    prepared.DRAWN = 512
    if row != "before":
        run = dataclasses.replace(BASE, seed=seed, **ROWS[row])
        pools = [first_pool(model, name, run, arguments, "frames" in row) for name in LEARNT]
        held_out = [first_pool(model, name, run, arguments, False) for name in VALIDATION]
        training = AlignmentTraining(
            model, pools, held_out, run, arguments.output / f"{row}-{seed}", lambda pool, n: drawn(model, pool, run, n)
        )
        try:
            logged = training.fit()[-1]
        except LossExplodedError as error:
            print(f"{row}: {error}", flush=True)
            logged = training.rows[-1] if training.rows else {}
        # the last averaged weights: which round is best, each loss would see in its own way
        model.network.load_state_dict(training.averaged.module.state_dict())
    prepared.DRAWN = arguments.looked_at
    looks, learnt = ([looked(model, name, arguments.looked_at) for name in some] for some in (VALIDATION, LEARNT))
    means = {name: float(np.mean([look[name] for look in looks])) for name in looks[0]}
    means |= {f"learnt_{name}": float(np.mean([look[name] for look in learnt])) for name in ("divergence", "ess")}
    told = {name: logged.get(name) for name in ("target_entropy", "effective_winners")}
    return {**told, **means, "each": looks, "seconds": time.perf_counter() - start}


def first_pool(model: DensityModel, name: str, run: AlignmentRun, arguments: argparse.Namespace, of_frames: bool) -> Pool:
    """Frames of a peptide, or samples of the weights that all rows start from, which are kept."""
    graph = graph_of(name)
    if of_frames:
        with np.load(arguments.frames / f"{name}.npz") as found:
            frames = found["positions"].astype(np.float64)
        positions = frames[np.random.default_rng(run.seed).permutation(len(frames))[: run.samples]]
    else:
        path = arguments.output / f"{name}-{run.seed}.npy"
        if not path.exists():
            np.save(path, model.sample(graph, BASE.samples, seed=run.seed))
        positions = np.load(path)[: run.samples]
    return pool_of(model, graph, positions, level_of(FORCE_FIELD), run)


def drawn(model: DensityModel, pool: Pool, run: AlignmentRun, seed: int) -> Pool | None:
    """A pool anew."""
    try:
        positions = model.sample(pool.graph, run.samples, seed=1000 * run.seed + seed)
        return pool_of(model, pool.graph, positions, level_of(FORCE_FIELD), run)
    except ConfGFError:
        return None


@functools.cache
def graph_of(name: str) -> MolecularGraph:
    """A peptide, the same object every time."""
    return peptide(name)


def looked(model: DensityModel, name: str, count: int) -> dict[str, Any]:
    """What fresh samples of a peptide are worth; an effective share counts as 0 where it cannot be trusted."""
    graph = graph_of(name)
    molecule = model.prepare(graph)
    positions, log_q = molecule.draw(model.network, 10**6, 0, count)
    status, energy = check_conformations(graph, positions), molecule.energy.evaluate(positions).energy
    logs = log_weights(log_q, energy, status, TEMPERATURE)
    found = diagnose(logs)
    return {
        "divergence": divergence(torch.from_numpy(logs), 0.0),  # but for a constant of the peptide
        "ess": 100 * (found.ess_fraction or 0.0),
        "trusted": bool(found.trusted),
        "right": 100 * float((status == Status.OK).mean()),
    }


def summary(found: list[dict[str, Any]], before: dict[str, Any]) -> list[Any]:
    """A row of the table: means over seeds, and their spread; the divergence from that before."""
    means = {
        name: np.array([one[name] for one in found])
        for name in ("divergence", "learnt_divergence", "learnt_ess", "ess", "right", "seconds")
    }
    of_target = [[one[name] for one in found if one[name] is not None] for name in ("target_entropy", "effective_winners")]
    entropy, winners = (float(np.mean(values)) if values else None for values in of_target)
    spread = lambda values: f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")  # noqa: E731
    trusted = sum(look["trusted"] for one in found for look in one["each"])
    return [
        found[0]["row"],
        len(found),
        entropy,
        "" if winners is None else f"{winners:.1f} of {ROWS[found[0]['row']].get('k', BASE.k)}",
        spread(means["learnt_divergence"] - before["learnt_divergence"]),
        spread(means["divergence"] - before["divergence"]),
        spread(means["learnt_ess"]),
        spread(means["ess"]),
        f"{trusted} of {6 * len(found)}",
        means["right"].mean(),
        means["seconds"].mean() / 60,
    ]


if __name__ == "__main__":
    main()
