"""How the default sampler's settings were chosen: coverage and matching on the validation molecules, one row for each setting.

    python devtools/benchmarks/sampler_settings.py qm9_xtb_train.npz [--weights FILE] [--molecules 40] [--all] [--only PART-OF-A-NAME ...]

Validation molecules are those that training leaves out (`training.data.split_validation`), or all with --all, that have at least three
references. The references of the training archive are fewer than those of the test archive: these figures compare settings with each
other, and no more.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmm_confgf.benchmarks.conformers import evaluate_molecule
from openmm_confgf.checksums import molecule_hash
from openmm_confgf.files.archive import ReferenceMolecule, load_archive
from openmm_confgf.generators import ConfGFGenerator, ETKDGGenerator, Generator
from openmm_confgf.generators.samplers import annealed_langevin
from openmm_confgf.models.features import GraphBatch
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.training.data import validates

SETTINGS = {
    "default: 0.3, settle 2 6 4, or 6 6 4 above nine heavy atoms": {},
    "0.3, settle 2 6 4": {"mode_seeking_sigmas": 2 * (0.2,) + 6 * (0.1,) + 4 * (0.05,)},
    "0.3, settle 6 6 4": {"mode_seeking_sigmas": 6 * (0.2,) + 6 * (0.1,) + 4 * (0.05,)},
    "0.3, settle 1 5 3": {"mode_seeking_sigmas": (0.2,) + 5 * (0.1,) + 3 * (0.05,)},
    "0.3, settle 4 4 4": {"mode_seeking_sigmas": 4 * (0.2,) + 4 * (0.1,) + 4 * (0.05,)},
    "0.3, settle 8 4 4": {"mode_seeking_sigmas": 8 * (0.2,) + 4 * (0.1,) + 4 * (0.05,)},
    "0.3, settle 20 4 4": {"mode_seeking_sigmas": 20 * (0.2,) + 4 * (0.1,) + 4 * (0.05,)},
    "1 candidate": {"candidates": 1},
    "2 candidates": {"candidates": 2},
    "8 candidates": {"candidates": 8},
    "flow only, 0.3 to 0.01": {"flow_calls": 25, "mode_seeking_sigmas": (0.01,)},
    "0.6": {"sigma_max": 0.6, "flow_calls": 3},
    "0.3, settle 0 8 6": {"mode_seeking_sigmas": 8 * (0.1,) + 6 * (0.05,)},
    "0.3, settle 8 16 8": {"mode_seeking_sigmas": 8 * (0.2,) + 16 * (0.1,) + 8 * (0.05,)},
    "starts relaxed in MMFF94s: 0.3, settle 2 6 4": {"start": "etkdg+mmff"},
    "starts relaxed in MMFF94s: 0.1, settle 0 6 4": {
        "start": "etkdg+mmff",
        "sigma_max": 0.1,
        "flow_calls": 1,
        "mode_seeking_sigmas": 6 * (0.1,) + 4 * (0.05,),
    },
    "from noise": {"start": "noise"},
    "from noise, 80 calls of the flow": {"start": "noise", "flow_calls": 80},
}


COLUMNS = (
    Column("settings", align="left"),
    Column("calls"),
    Column("COV-R", "%", "{:.1f}"),
    Column("MAT-R", "A", "{:.3f}"),
    Column("COV-P", "%", "{:.1f}"),
    Column("MAT-P", "A", "{:.3f}"),
    Column("rejected", "%", "{:.1f}"),
    Column("seconds", layout="{:.0f}"),
)


class AnnealedLangevin(ConfGFGenerator):
    """The published sampler on the default field, from noise: 50 levels from 5 to 0.01 Angstrom, 100 steps of 0.02 sigma^2 at each."""

    def calls(self, graph: MolecularGraph) -> int:
        return 5000

    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        graph, net = self.net.encode(batch), self.net
        hands = batch.hands[:, None].expand(*starts.shape[:2], *batch.hands.shape[1:])
        present = batch.atom_mask[:, None, :, None]
        drawn = torch.Generator().manual_seed(int(streams[0][0].integers(2**31)))

        def noise() -> Tensor:
            fresh = torch.randn(starts.shape, generator=drawn) * present
            return fresh - present * fresh.sum(2, keepdim=True) / present.sum(2, keepdim=True)

        def score(positions: Tensor, sigma: Tensor) -> Tensor:
            return (net(graph, positions, sigma.expand(positions.shape[:2]), hands) - positions) / sigma**2

        sigmas = torch.logspace(np.log10(5.0), -2, 50)
        return annealed_langevin(score, sigmas[0] * noise(), sigmas, 0.02 * sigmas**2, 100, noise)


def validation_molecules(path: str, count: int, every: bool) -> list[ReferenceMolecule]:
    """Molecules of an archive, every one or those that training holds out for validation."""
    held = (m for m in load_archive(path) if every or validates(molecule_hash(m.graph.constitution)))
    return [m for m in held if len(m.positions) >= 3][:count]


def row(name: str, generator: Generator, references: Sequence[ReferenceMolecule]) -> list[Any]:
    """Mean recall and precision at 0.5 Angstrom, twice as many conformers as references."""
    start = time.perf_counter()
    counts = [2 * len(m.positions) for m in references]
    calls = max(generator.calls(m.graph) for m in references)
    outcomes = generator.sample_many([m.graph for m in references], counts)
    found = [evaluate_molecule(references[k], outcome, counts[k], 0.5) for k, outcome in outcomes]
    mean = {key: np.nanmean([getattr(f.matching, key) for f in found]) for key in ("cov_r", "mat_r", "cov_p", "mat_p")}
    rejected = sum(f.rejected for f in found) / sum(counts)
    figures = [100 * mean["cov_r"], mean["mat_r"], 100 * mean["cov_p"], mean["mat_p"], 100 * rejected]
    return [name, calls, *figures, time.perf_counter() - start]


def chosen(weights: str, only: Sequence[str]) -> Iterator[tuple[str, Generator]]:
    """The generators of whose names a part is asked for."""
    for name, generator in (("etkdg", ETKDGGenerator()), ("etkdg+mmff", ETKDGGenerator(mmff=True))):
        if any(part in name for part in only):
            yield name, generator
    if any(part in "langevin" for part in only) and only != [""]:  # hours: only where it is asked for
        yield "annealed langevin", AnnealedLangevin(weights, start="noise")
    for name, settings in SETTINGS.items():
        if any(part in name for part in only):
            yield name, ConfGFGenerator(weights, **settings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--weights", default="confgf")
    parser.add_argument("--molecules", type=int, default=40)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", nargs="*", default=[""])
    arguments = parser.parse_args()
    references = validation_molecules(arguments.archive, arguments.molecules, arguments.all)
    measured = (row(name, generator, references) for name, generator in chosen(arguments.weights, arguments.only))
    for line in markdown_lines(COLUMNS, measured):
        print(line, flush=True)
