"""Four particles in double wells (DW4): a continuous flow is trained on samples of Markov chains, and its weights are told.

    python devtools/benchmarks/dw4.py [--minutes 6] [--samples 4000] [--seed 0] [--independent]

The system is that of Koehler, Klein & Noe (ICML 2020, doi:10.48550/arXiv.2006.02425) in three dimensions: of each pair, u is
0.9 (d - 4)^4 - 4 (d - 4)^2 kT. Noise and samples meet by optimal coupling, or, as published, independently. Minutes are those of the
processor, for the training; chains take half a minute more. The weights' mean distance and energy are held against those of the chains.
"""

import argparse
import math
import time

import torch
from torch import Tensor

from openmm_confgf.models.continuous_flow import ContinuousFlow, FlowDraws, draw_noise
from openmm_confgf.models.divergence import MolecularField
from openmm_confgf.models.egnn import EGNN, EGNNConfig, without_mean
from openmm_confgf.models.ode import AdaptiveSteps, FixedSteps
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.thermodynamics.effective_sample_size import effective_sample_size
from openmm_confgf.training.objectives.flow_matching import flow_matching_loss, optimal_coupling

FEATURES = torch.ones(4, 1)
PAIRS = torch.triu_indices(4, 4, 1)
BATCH = 256
RENEWED = 2000
"""Steps after which each sample of the chains gets other noise."""

COLUMNS = (
    Column("integrator", align="left"),
    Column("evaluations", layout="{:.1f}"),
    Column("ESS", "%", "{:.1f}"),
    Column("mean distance", layout="{:.3f}"),
    Column("by the chains", layout="{:.3f}"),
    Column("mean energy", "kT", "{:.2f}"),
    Column("by the chains", "kT", "{:.2f}"),
    Column("largest difference of log q from the first", layout="{:.1e}"),
)


def distances(positions: Tensor) -> Tensor:
    """Of all pairs, (B, 6)."""
    return (positions[:, PAIRS[0]] - positions[:, PAIRS[1]]).norm(dim=-1)


def reduced_energy(positions: Tensor) -> Tensor:
    """In kT, (B,)."""
    away = (distances(positions) - 4).square()
    return (0.9 * away.square() - 4 * away).sum(1)


def chains(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """Positions (count, 4, 3) of as many Markov chains after `steps` moves of one particle."""
    x = 3 * torch.randn(count, 4, 3, generator=generator, dtype=torch.float64)
    u = reduced_energy(x)
    for k in range(steps):
        new = x.clone()
        new[:, k % 4] += (0.3, 1.0, 3.0)[k % 3] * torch.randn(count, 3, generator=generator, dtype=torch.float64)
        other = reduced_energy(new)
        taken = torch.rand(count, generator=generator, dtype=torch.float64).log() < u - other
        x, u = torch.where(taken[:, None, None], new, x), torch.where(taken, other, u)
    return without_mean(x)


def train(frames: Tensor, minutes: float, generator: torch.Generator, independent: bool) -> EGNN:
    """The average of the weights of a training by flow matching."""
    sizes = EGNNConfig(atom_features=1, width=32, layers=3)
    network, averaged = EGNN(sizes), EGNN(sizes)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    begin, step, spent = time.process_time(), 0, 0.0
    while spent < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * spent))
        if step % RENEWED == 0:
            pool = draw_noise(len(frames), 4, generator).float()
            if not independent:
                pool = optimal_coupling(pool, frames, torch.zeros(4, dtype=torch.long))
        chosen = torch.randint(len(frames), (BATCH,), generator=generator)
        jitter, t = draw_noise(BATCH, 4, generator).float(), torch.rand(BATCH, generator=generator)
        loss = flow_matching_loss(network, t, pool[chosen], frames[chosen], jitter, FEATURES)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, max(0.002, 1 / (step + 1)))
        step += 1
        spent = (time.process_time() - begin) / (60 * minutes)
        if step % 500 == 0:
            print(f"step {step}, {spent:.0%} of the time, loss {loss.item():.4f}", flush=True)
    return averaged.requires_grad_(False)


def main(minutes: float, samples: int, seed: int, independent: bool) -> None:
    """Train, and print the table."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    frames = chains(20000, 3000, generator)
    field = MolecularField(train(frames.float(), minutes, generator, independent), FEATURES)
    noise = draw_noise(samples, 4, generator)
    integrators = {
        "Dormand-Prince, 1e-4": AdaptiveSteps(),
        **{f"{method}, {steps} steps": FixedSteps(steps, method) for method, steps in (("rk4", 5), ("heun", 10))},
    }
    first: FlowDraws | None = None
    rows = []
    for name, integrator in integrators.items():
        begin = time.process_time()
        drawn = ContinuousFlow(1.0, integrator).sample(field, noise)
        print(f"{name}: {1e3 * (time.process_time() - begin) / samples:.1f} ms a sample, {(~drawn.converged).sum()} not converged")
        first = first or drawn
        log_weights = torch.where(drawn.converged, -reduced_energy(drawn.positions) - drawn.log_q, -torch.inf)
        weights = torch.softmax(log_weights, 0)
        row = [name, drawn.evaluations.double().mean().item(), 100 * effective_sample_size(log_weights.numpy()) / samples]
        for of in (lambda x: distances(x).mean(1), reduced_energy):
            row += [(weights * of(drawn.positions)).sum().item(), of(frames).mean().item()]
        rows.append([*row, (drawn.log_q - first.log_q).abs().max().item()])
    for line in markdown_lines(COLUMNS, rows):
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--independent", action="store_true")
    main(**vars(parser.parse_args()))
