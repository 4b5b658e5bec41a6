"""What weights of confgf-noise prefer among known minima of validation molecules, and where their samples fall.

Usage: python devtools/training/alignment/preferences.py qm9_xtb_train.npz FOLDER confgf confgf-noise-eba [--molecules 14] [--samples 48]

FOLDER is that of own_minima.py. Of each of the weights: the slope of the denoising error on E / kT among the lowest minima, by noise level
(they sum to one in Boltzmann's distribution); the standard deviation, from draw to draw, of the differences of an energy of sixteen errors,
with noise of one sign and with both; and E-W2 and Jensen-Shannon of samples, each taken as the minimum that it is nearest to. Nothing is
minimised, so that it is a quick look; devtools/benchmarks/alignment.py is the measure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolAlign
from small_molecules import TEMPERATURE, pools_of

from openmm_confgf.alignment.noise_field import NOISE, NoiseField
from openmm_confgf.alignment.pool import Pool
from openmm_confgf.evaluation import boltzmann_weights, energy_w2, jensen_shannon
from openmm_confgf.generators.confgf import ConfGFGenerator
from openmm_confgf.molecules.superposition import superposed
from openmm_confgf.tables import Column, markdown_lines
from openmm_confgf.units import kT

LEVELS, REPEATS, LOWEST = 8, 12, 12
ERRORS = 2 * LEVELS
COLUMNS = (
    Column("weights", align="left"),
    *(Column(f"slope at {float(NOISE.sigma(torch.tensor([(k + 0.5) / LEVELS]))):.2f} A", layout="{:.2f}") for k in range(LEVELS)),
    Column("noise, one sign", "nats", "{:.2f}"),
    Column("both", "nats", "{:.2f}"),
    Column("E-W2", "kJ/mol", "{}"),
    Column("JS", "nats", "{}"),
)


def errors(model: NoiseField, pool: Pool, seed: int, levels: int, signs: tuple[int, ...]) -> NDArray[np.float64]:
    """(signs, levels, K) of the lowest minima."""
    rng, lowest = np.random.default_rng(seed), pool.positions[np.argsort(pool.energies)[:LOWEST]]
    centred = lowest - lowest.mean(1, keepdims=True)
    each, noise = (np.arange(levels) + rng.random(levels)) / levels, rng.standard_normal((levels, len(pool.graph), 3))
    given = (superposed(centred, centred[0]), np.concatenate([each] * len(signs)), np.concatenate([sign * noise for sign in signs]))
    with torch.no_grad():
        found = model.denoising_errors(pool.graph, *map(torch.from_numpy, given)).double().numpy()
    return np.asarray(found.reshape(len(signs), levels, -1))


def preferences(model: NoiseField, pool: Pool) -> tuple[NDArray[np.float64], float, float]:
    """Slopes by level, and the noise of the energies' differences with one sign and with both."""
    both = np.array([errors(model, pool, seed, LEVELS, (1, -1)) for seed in range(REPEATS)])
    one = np.array([errors(model, pool, seed, ERRORS, (1,)) for seed in range(REPEATS)])
    energies = np.sort(pool.energies)[:LOWEST] / kT(TEMPERATURE)
    away = energies - energies.mean()
    slopes = both.mean((0, 1)) @ away / (away @ away) / LEVELS
    totals = (one.mean((1, 2)), both.mean((1, 2)))
    noises = [(total - total.mean(1, keepdims=True)).std(0, ddof=1).mean() for total in totals]
    return slopes, *noises


def nearest(pool: Pool, positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """The minimum that each conformation is nearest to, hydrogens of carbon left out."""
    mol = Chem.RWMol(pool.graph.to_rdkit(np.concatenate([pool.positions, positions])))
    of_carbon = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 1 and a.GetNeighbors()[0].GetAtomicNum() == 6]
    mol.BeginBatchEdit()
    for index in of_carbon:
        mol.RemoveAtom(index)
    mol.CommitBatchEdit()
    known, all_of_them = range(len(pool)), range(len(pool), len(pool) + len(positions))
    return np.array([np.argmin([rdMolAlign.GetBestRMS(mol, mol, i, j, maxMatches=1000) for i in known]) for j in all_of_them])


def rows(arguments: argparse.Namespace) -> Iterator[list[Any]]:
    """A row for each of the weights; spreads are those of the mean of the differences from the first."""
    pools = pools_of(arguments.archive, arguments.folder, arguments.one_in)[1][: arguments.molecules]
    first = None
    for weights in arguments.weights:
        generator, told, fallen = ConfGFGenerator(weights, start="noise"), [], []
        drawn = dict(generator.sample_many([pool.graph for pool in pools], arguments.samples, seed=0))
        for k, pool in enumerate(pools):
            told.append(preferences(NoiseField(generator), pool))
            basin, target = nearest(pool, drawn[k].positions[drawn[k].ok]), boltzmann_weights(pool.energies, TEMPERATURE)
            shares = np.bincount(basin, minlength=len(pool)) / len(basin)
            fallen.append((energy_w2(pool.energies[basin], pool.energies, reference_weights=target), jensen_shannon(shares, target)))
        slopes, one, both = (np.mean(values, axis=0) for values in zip(*told, strict=True))
        found = np.array(fallen)
        first = found if first is None else first
        spread = (found - first).std(0) / np.sqrt(len(pools))
        yield [weights, *slopes, one, both, *(f"{m:.3f} ± {s:.3f}" for m, s in zip(found.mean(0), spread, strict=True))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--one-in", type=int, default=10)
    parser.add_argument("--molecules", type=int, default=14)
    parser.add_argument("--samples", type=int, default=48)
    for line in markdown_lines(COLUMNS, rows(parser.parse_args())):
        print(line, flush=True)
