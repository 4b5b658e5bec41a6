"""Train a Boltzmann generator for a molecule of your own, from its SMILES: a small network for hydrogen peroxide, in half a minute.

For a molecule of twenty heavy atoms leave out ``parent`` and ``frames``, and give ``BoltzmannRun(minutes=30)``: a network of full size then
learns frames of a simulation that is run first. The same call goes on where an earlier one stopped.
"""

import sys
from pathlib import Path

import torch

from openmm_confgf import MolecularGraph, reweight, score
from openmm_confgf.energies import system_source
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.cards import Card
from openmm_confgf.models.weights import save_weights
from openmm_confgf.training.boltzmann.recipe import train_boltzmann
from openmm_confgf.training.boltzmann.settings import BoltzmannRun

SIZES = {"width": 32, "static_width": 16, "static_layers": 1, "pair_width": 8, "blocks": 1, "lengths": 3, "turns": 6, "bins": 24}

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/output") / "peroxide"
folder.mkdir(parents=True, exist_ok=True)
molecule = MolecularGraph.from_smiles("OO", name="hydrogen peroxide")
sage = system_source("openff-2.2.1")  # read once

# frames of equilibrium to learn from: here those of a harmonic density and its weights, which are at hand at once for so small a molecule
weighed = reweight(score(HarmonicGenerator(sage, temperature=300).sample(molecule, 4000, seed=1), sage))
frames = weighed.resample(3000)

# weights that know nothing yet, of a network of these sizes
torch.manual_seed(1)
card = Card("small", "AutoregressiveDensity", SIZES, "", [1, 8], 4, 4, [], [], {})
save_weights(folder / "small.safetensors", AutoregressiveDensity(AutoregressiveConfig(**SIZES)), card)

run = BoltzmannRun(rounds=2, round_steps=24, batch_size=128, samples=512, frames_share=0.5, learning_rate=1e-2, tuning_rate=2e-3)
trained = train_boltzmann(
    molecule,
    folder,
    sage,
    frames=frames,
    parent=folder / "small.safetensors",
    run=run,
    device="cpu",
    say=print,
    after_round=lambda row, rounds: print(f"round {row['round']} of {rounds}: loss {row['loss']:.2f}"),
)
print(trained.verdict)

before, after = weighed.diagnostics.ess_fraction or 0, trained.reweighted.diagnostics.ess_fraction or 0
print(f"effective samples: {100 * before:.0f} % of the harmonic ones, {100 * after:.0f} % of the generator's")
print(f"openmm-confgf generate OO --generator boltzmann --weights {trained.weights} -n 1000 -o samples.h5")
