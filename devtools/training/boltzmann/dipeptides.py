"""Simulates dipeptides for the transferable Boltzmann generator, one .npz each, in a random order; run again, it goes on.

Usage: python devtools/training/boltzmann/dipeptides.py FOLDER [--worker 0/2]. Test peptides are never simulated here: see TEST.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmm_confgf.checksums import molecule_hash, sha256_of
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.md import MDGenerator
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.registry import describe_network
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.writing import whole_file

FORCE_FIELD = "amber14-all.xml,implicit/obc1.xml"
TEMPERATURE = 310.0
TEST = tuple("KS KG AT GN LW KQ NY IM TD HT NF RL ET AC GP RV".split())
"""As in the transferable Boltzmann generators' paper; never in the training."""

SETTINGS = MDSettings(
    temperature=TEMPERATURE, ladder=(310.0, 400.0, 520.0), replicas=32, frame_interval=0.25, equilibration=6.0, precision="single"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worker", default="0/1", help="which part of the list: 0/2 or 1/2 for two processes")
    parser.add_argument("--frames", type=int, default=2048, help="of each peptide: 64 for each of 32 replicas, 16 ps")
    parser.add_argument("--only", nargs="*", help="these sequences, the test peptides too")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = ["".join(pair) for pair in itertools.product("ACDEFGHIKLMNPQRSTVWY", repeat=2)]
    random.Random(0).shuffle(names)
    names = arguments.only or [name for name in names if name not in TEST]
    worker, workers = map(int, arguments.worker.split("/"))
    generator = MDGenerator(FORCE_FIELD, SETTINGS)
    for name in names[worker::workers]:
        path = arguments.folder / f"{name}.npz"
        if path.exists():
            continue
        start = time.perf_counter()
        try:
            ensemble = generator.sample(peptide(name), arguments.frames, seed=0)
        except ConfGFError as error:
            print(f"{name}: {error}", flush=True)
            continue
        with whole_file(path) as stream:
            np.savez(stream, positions=ensemble.positions.astype(np.float32), energy=ensemble.energy)
        seconds, agreement = time.perf_counter() - start, ensemble.diagnostics.get("r_hat_energy")
        print(f"{name}: {len(ensemble)} frames in {seconds:.0f} s, R-hat {agreement:.3f}", flush=True)


def card_of(
    name: str,
    network: torch.nn.Module,
    files: list[Path],
    frames: list[int],
    training: dict[str, Any],
    parent: Card | None,
    learnt: Sequence[MolecularGraph] | None = None,
    **more: Any,
) -> Card:
    """The card of weights that learnt these peptides: those that were simulated, unless energies of own samples taught others as well."""
    architecture, config = describe_network(network)
    graphs = [peptide(path.stem) for path in files] if learnt is None else learnt
    return Card(
        name=name,
        architecture=architecture,
        config=config,
        sha256="",
        elements=sorted({int(z) for graph in graphs for z in graph.numbers}),
        min_atoms=min(map(len, graphs)),
        max_atoms=max(map(len, graphs)),
        trained_on=sorted(molecule_hash(graph.constitution) for graph in graphs),
        data=[
            {"file": path.name, "sha256": sha256_of(path), "molecules": 1, "frames": count}
            for path, count in zip(files, frames, strict=True)
        ],
        training=training | {"torch": torch.__version__},
        parent=None if parent is None else parent.lineage(),
        target=CardTarget(FORCE_FIELD, TEMPERATURE),
        **more,
    )


if __name__ == "__main__":
    main()
