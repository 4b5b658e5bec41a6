"""Gives weights of an `AutoregressiveDensity` the profiles that torsions start from, or more to see in them.

New profiles change nothing until they are learnt. Where there are some, the atoms that a torsion carries begin with a share of what its own
counts, and charged groups (--reach 200) with ATTRACTION.

Usage: python devtools/training/boltzmann/with_profiles.py WEIGHTS OUTPUT [--nodes 30] [--ahead 16] [--share 0.3] [--reach 1]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from openmm_confgf.models.autoregressive import AutoregressiveDensity
from openmm_confgf.models.registry import describe_network
from openmm_confgf.models.weights import load_weights, save_weights

ATTRACTION = (0.1, 0.2, 0.1, 0.1, 1.0)
"""How much each function of the distance of two charged groups counts at first: chosen by samples of KA and KS (../alignment/README.md)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("output", type=Path)
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--ahead", type=int, default=16)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--reach", type=int, default=1)
    arguments = parser.parse_args()
    network, card = load_weights(arguments.weights)
    assert isinstance(network, AutoregressiveDensity)
    grown = AutoregressiveDensity(dataclasses.replace(network.config, nodes=arguments.nodes, ahead=arguments.ahead, reach=arguments.reach))
    # the new weights are zero
    grown.load_state_dict(network.state_dict(), strict=False)
    if grown.carried_strengths is not None and network.carried_strengths is None and network.pair_strengths is not None:
        for name, weight in network.pair_strengths.state_dict().items():
            grown.carried_strengths.get_parameter(name).data = arguments.share * weight
    if grown.group_strengths is not None and network.group_strengths is None:
        grown.group_strengths.bias.data = grown.group_strengths.bias.new_tensor(ATTRACTION)
    arguments.output.mkdir(parents=True, exist_ok=True)
    card = dataclasses.replace(card, config=describe_network(grown)[1], sha256="", parent=card.lineage())
    save_weights(arguments.output / f"{card.name}.safetensors", grown, card)


if __name__ == "__main__":
    main()
