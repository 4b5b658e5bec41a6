"""Seconds of a training step's density and gradient: float32 or bfloat16, operations shared by the cores or pieces on a core each.

    python devtools/benchmarks/training_step.py peptide:KS peptide:GN

Medians of a few, in turn, of the variance of log-weights; beside them the gradients' relative difference from those of whole steps in
float32.
"""

import argparse
import itertools
import statistics
import time

import torch

from openmm_confgf.files import read_molecules
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.models.density_pieces import log_prob_in_pieces
from openmm_confgf.training.boltzmann.monitor import draw_samples
from openmm_confgf.training.objectives.energies import log_variance

ROWS = 640
"""Those of `train boltzmann`: 512 of the network's own, and frames."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("molecules", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    generator = BoltzmannGenerator()
    network, parameters = generator.network.requires_grad_(True), list(generator.network.parameters())
    for entry in itertools.chain.from_iterable(map(read_molecules, arguments.molecules)):
        prepared = generator.prepare(entry.graph)
        samples = draw_samples(prepared, network, ROWS, 1, broad=False)
        frames, centre = samples.frames, samples.log_weights.median()

        def step(rounded: bool, pieces: bool, prepared=prepared, frames=frames, centre=centre) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
                of_frames = (prepared.batch, frames.coordinates, frames.placed)
                log_q = log_prob_in_pieces(network, *of_frames) if pieces else network.log_prob(*of_frames)
            gradients = torch.autograd.grad(log_variance(log_q.double(), frames.log_target, centre), parameters)
            return torch.cat([gradient.flatten() for gradient in gradients])

        kinds = list(itertools.product((False, True), repeat=2))
        seconds, found = {kind: [] for kind in kinds}, {kind: step(*kind) for kind in kinds}
        for kind in kinds * arguments.repeats:
            start = time.perf_counter()
            step(*kind)
            seconds[kind].append(time.perf_counter() - start)
        exact = found[False, False]
        for kind in kinds:
            name = ("bfloat16" if kind[0] else "float32") + (", pieces" if kind[1] else ", whole")
            off = float((found[kind] - exact).norm() / exact.norm())
            print(f"{entry.graph.name}: {name}: {statistics.median(seconds[kind]):.3f} s, gradient off by {off:.1e}", flush=True)


if __name__ == "__main__":
    main()
