"""Weights for a run of confgf-potential to start from: what the encoder and the first block of `confgf` know of molecules.

    python devtools/training/potential/start.py start.safetensors

The energy itself starts at zero. `EnergyField` looks at a conformation as the first block of a `PairField` does, whose linear map of the
noise level is a constant here.
"""

import argparse
import dataclasses

import torch

from openmm_confgf.models.energy_field import EnergyField
from openmm_confgf.models.field import noise_features
from openmm_confgf.models.weights import load_weights, save_weights

FIRST_BLOCK = ("from_geometry", "from_atoms", "pair", "pair_norm", "atom_norm")


def main() -> None:
    """Write the weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    field, card = load_weights("confgf")
    network = EnergyField()
    block = field.blocks[0]
    own = {name: value for name, value in field.state_dict().items() if not name.startswith("blocks.")}
    own |= {f"{part}.{name}": value for part in FIRST_BLOCK for name, value in getattr(block, part).state_dict().items()}
    own["from_geometry.bias"] = own["from_geometry.bias"] + block.from_noise(noise_features(torch.tensor(network.sigma)))
    missing, unexpected = network.load_state_dict(own, strict=False)
    assert not unexpected and all(
        name.startswith(("into", "attention", "out_norm", "atom_energy", "pair_energy", "resp")) for name in missing
    )
    start = dataclasses.replace(
        card,
        name="confgf-potential-start",
        architecture="EnergyField",
        config=dataclasses.asdict(network.config),
        training={"made": "devtools/training/potential/start.py"},
        parent=card.lineage(),
        # an energy that has seen nothing: which molecules it may be asked for is what the run says, and 18 atoms of C and H are among them
        elements=[1, 6],
        min_atoms=18,
        max_atoms=18,
    )
    save_weights(arguments.output, network, start)


if __name__ == "__main__":
    main()
