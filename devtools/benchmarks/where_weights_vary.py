"""At which atoms of a molecule the weights of a Boltzmann generator go apart.

    python devtools/benchmarks/where_weights_vary.py peptide:KS [--weights boltzmann] [-n 8192] [--without-broad]

Of two samples, the first k atoms are drawn by the same random numbers, and the others by different ones: the covariance of their
log-weights (each at most 6 from the median) is the variance of what those k atoms decide of a log-weight. It grows from 0 to the variance
of log w, by what each atom adds.
"""

import argparse
import math

import torch
from torch import Tensor

from openmm_confgf.files import read_molecules
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.generators.boltzmann.prepared import DRAWN, PreparedMolecule
from openmm_confgf.tables import Column, Table
from openmm_confgf.training.boltzmann.monitor import samples_of
from openmm_confgf.training.objectives.energies import FARTHEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecule")
    parser.add_argument("--weights", default="boltzmann")
    parser.add_argument("-n", type=int, default=8 * DRAWN, help="pairs of samples for each number of atoms")
    parser.add_argument("--without-broad", action="store_true", help="draw from no broad component")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    graph = read_molecules(arguments.molecule)[0].graph
    assert graph is not None
    generator = BoltzmannGenerator(weights=arguments.weights)
    prepared = PreparedMolecule.of(graph, generator.source, generator.temperature)
    random = torch.Generator().manual_seed(arguments.seed)
    uniform = lambda: torch.rand(arguments.n, len(graph), 6, dtype=torch.float64, generator=random)  # noqa: E731

    def log_weights(numbers: Tensor) -> Tensor:
        return samples_of(prepared, generator.network, numbers.split(DRAWN), broad=not arguments.without_broad).log_weights

    first = uniform()
    of_first = log_weights(first)
    centre = of_first.median()
    of_first = (of_first - centre).clamp(-FARTHEST, FARTHEST)
    of_first = of_first - of_first.mean()
    print(f"{graph.name}: the variance of log w is {float(of_first.square().mean()):.2f}")
    rows = []
    for k in range(4, len(graph)):
        numbers = uniform()
        numbers[:, :k] = first[:, :k]
        of_others = (log_weights(numbers) - centre).clamp(-FARTHEST, FARTHEST)
        products = of_first * (of_others - of_others.mean())
        last = prepared.placement.steps[k - 1].atom
        atom = graph.mol.GetAtomWithIdx(int(last))
        rows.append([k, f"{atom.GetSymbol()}{last}", float(products.mean()), float(products.std()) / math.sqrt(len(products))])
    columns = [Column("atoms"), Column("the last"), Column("variance", layout="{:.3f}"), Column("error", layout="{:.3f}")]
    print(Table(columns, rows).to_markdown())


if __name__ == "__main__":
    main()
