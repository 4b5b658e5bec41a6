"""Trains the transferable Boltzmann generator on what dipeptides.py simulated; run again, it goes on, with more peptides if there are more.

Usage: python devtools/training/boltzmann/transferable.py FOLDER OUTPUT [--minutes 60] [--from WEIGHTS]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from dipeptides import FORCE_FIELD, TEMPERATURE, TEST, card_of

from openmm_confgf.devices import resolve_device
from openmm_confgf.energies import system_source
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.weights import load_weights, save_weights
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.training.boltzmann.frames import training_frames
from openmm_confgf.training.boltzmann.loop import BoltzmannTraining, Lesson
from openmm_confgf.training.boltzmann.settings import BoltzmannRun
from openmm_confgf.training.step_rounds import Row

HELD_OUT = 400
"""Frames of each peptide that nothing learns from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, help="How many, whatever they take, instead of --minutes.")
    parser.add_argument("--round-steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--molecules", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--energies", type=float, default=0.0, help="Share of the rounds that learn the energies of samples, at the end.")
    parser.add_argument("--from", dest="parent")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    files = sorted(path for path in arguments.folder.glob("*.npz") if path.stem not in TEST)
    lessons = [lesson(path, device) for path in files]
    print(f"{len(lessons)} peptides", flush=True)
    torch.manual_seed(0)
    parent = load_weights(arguments.parent) if arguments.parent else None
    network = AutoregressiveDensity(AutoregressiveConfig(**parent[1].config) if parent else None)
    if parent:
        network.load_state_dict(parent[0].state_dict())
    run = BoltzmannRun(
        minutes=arguments.minutes,
        rounds=arguments.rounds,
        tuning="log-variance" if arguments.energies else "none",
        frames_share=1 - arguments.energies,
        samples=1024,
        kept=len(lessons),
        round_steps=arguments.round_steps,
        batch_size=arguments.batch_size,
        molecules=arguments.molecules,
        learning_rate=arguments.learning_rate,
    )
    start = time.perf_counter()

    def tell(row: Row, rounds: int) -> None:
        values = " ".join(f"{key} {value:.4g}" for key, value in row.items() if value is not None)
        print(f"{(time.perf_counter() - start) / 60:.1f} min of {rounds} rounds: {values}", flush=True)

    rows = BoltzmannTraining(network.to(device), lessons, run, arguments.output).fit(tell)
    training = dataclasses.asdict(run) | {"rounds": len(rows), "steps_made": rows[-1]["step"]}
    card = card_of("boltzmann", network, files, [len(one.frames) for one in lessons], training, parent and parent[1])
    save_weights(arguments.output / "boltzmann.safetensors", network, card)


def lesson(path: Path, device: torch.device) -> Lesson:
    """A peptide's frames, and what the network needs of it."""
    prepared = PreparedMolecule.of(peptide(path.stem), system_source(FORCE_FIELD), TEMPERATURE, device)
    frames = training_frames(prepared, np.load(path)["positions"].astype(np.float64))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(frames)))
    return Lesson(prepared, frames[order[HELD_OUT:]], frames[order[:HELD_OUT]])


if __name__ == "__main__":
    main()
