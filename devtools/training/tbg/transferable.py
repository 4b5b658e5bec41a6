"""Trains the transferable Boltzmann generator as published (TBG + full, 128 x 9) on what ../boltzmann/dipeptides.py simulated.

Usage: python devtools/training/tbg/transferable.py FOLDER OUTPUT [--minutes 60] [--device cuda]. Run again, it goes on. Test peptides are
left out, as there.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

from openmm_confgf.devices import resolve_device
from openmm_confgf.generators.tbg.atom_types import atom_types
from openmm_confgf.models.egnn import EGNN, EGNNConfig
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.training.boltzmann.flow_loop import FlowLesson, FlowTraining
from openmm_confgf.training.boltzmann.flow_settings import FlowRun
from openmm_confgf.training.step_rounds import Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "boltzmann"))
from dipeptides import TEST, card_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--molecules", type=int, default=200)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    run = FlowRun(
        minutes=arguments.minutes,
        variant="tbg+full",
        width=arguments.width,
        layers=arguments.layers,
        scale=30.0,
        batch_size=arguments.batch_size,
        molecules=arguments.molecules,
    )
    files = sorted(path for path in arguments.folder.glob("*.npz") if path.stem not in TEST)
    graphs = [peptide(path.stem) for path in files]
    types = [atom_types(graph, run.variant) for graph in graphs]
    lessons = [
        FlowLesson.of(np.load(path)["positions"].astype(np.float64), kinds, run.scale, device)
        for path, kinds in zip(files, types, strict=True)
    ]
    print(f"{len(lessons)} peptides", flush=True)
    torch.manual_seed(run.seed)
    network = EGNN(EGNNConfig(types[0].shape[1], run.width, run.layers)).to(device)
    start = time.perf_counter()

    def tell(row: Row, rounds: int) -> None:
        print(f"{(time.perf_counter() - start) / 60:.1f} min of {rounds} rounds: {row}", flush=True)

    rows = FlowTraining(network, lessons, run, arguments.output).fit(tell)
    training = dataclasses.asdict(run) | {"rounds": len(rows), "steps_made": rows[-1]["step"]}
    told = {"variant": run.variant, "scale": run.scale}
    card = card_of("tbg", network, files, [len(lesson.positions) for lesson in lessons], training, None, settings=told)
    save_weights(arguments.output / "tbg.safetensors", network, card)


if __name__ == "__main__":
    main()
