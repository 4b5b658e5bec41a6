"""Teach a diffusion model from outside this package what a force field prefers.

All that it takes is `sample`, `denoising_errors` and `network`. This toy sees pairs of atoms of two molecules, and takes noise off ETKDG
conformations; replace it by your own model, and put that through `openmm_confgf.testing.DenoisingModelSuite` first.
"""

import math
import tempfile

import numpy as np
import torch
from torch import nn

from openmm_confgf import MolecularGraph, create_generator
from openmm_confgf.alignment import AlignmentRun, align

LEAST, MOST = 0.02, 0.2  # nm


class ToyDiffusion:
    """D(x, sigma) moves each atom along its distances to the others, by a network of their elements, length and noise."""

    least_level = 0.0

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)).double()

    def denoise(self, molecule, noisy, sigma):
        numbers, bonds = torch.from_numpy(molecule.numbers / 10.0), torch.from_numpy(np.minimum(molecule.topological_distances, 4.0) / 4)
        apart = noisy[:, :, None] - noisy[:, None]
        length = (apart.square().sum(-1) + 1e-6).sqrt()
        level = sigma[:, None, None].log().expand(length.shape)
        inputs = [numbers[:, None].expand(length.shape), numbers.expand(length.shape), bonds.expand(length.shape), 10 * length, level]
        strength = self.network(torch.stack(inputs, -1))
        strength = (strength + strength.transpose(1, 2)) / 2
        return noisy + sigma[:, None, None] * (strength * apart / length[..., None]).mean(2)

    def sample(self, molecule, n, *, seed):
        positions = torch.from_numpy(create_generator("etkdg").sample(molecule, n, seed=seed).positions.copy())
        noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            return self.denoise(molecule, positions + LEAST / 4 * noise, torch.full((n,), LEAST / 4).double()).numpy()

    def denoising_errors(self, molecule, positions, levels, noise):
        sigma = LEAST * (MOST / LEAST) ** levels
        noisy = positions[None] + sigma[:, None, None, None] * noise[:, None]
        each = sigma.repeat_interleave(len(positions))
        denoised = self.denoise(molecule, noisy.flatten(0, 1), each).view(noisy.shape)
        away = (denoised - positions) / sigma[:, None, None, None]
        return math.log(MOST / LEAST) * away.square().sum((-2, -1))


molecules = [MolecularGraph.from_smiles(smiles) for smiles in ("CCCCO", "OCCCO", "NCCCO", "CCCOC")]
with tempfile.TemporaryDirectory() as folder:
    run = AlignmentRun(k=4, alpha=0.2, samples=16, draws=16, molecules=3, steps=60, round_steps=20, learning_rate=2e-3, patience=3)
    result = align(ToyDiffusion(), molecules, "mmff94s", folder, run, compare=8, device="cpu", say=print)
for row in result.rows:
    print(f"step {row['step']}: loss {row['loss']:.3f}, held out {row['val_loss']:.3f} (before: {row['start_loss']:.3f})")
for one in result.comparisons:
    print(f"{one.molecule}: E-W2 {one.before['energy_w2']:.2f} kJ/mol before, {one.after['energy_w2']:.2f} after")
