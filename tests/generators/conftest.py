import pytest
import torch

from openmm_confgf.models.cards import Card
from openmm_confgf.models.confgf import ConfGF
from openmm_confgf.models.field import FieldConfig, PairField
from openmm_confgf.models.weights import save_weights

SIZES = {"pair_width": 8, "atom_width": 8, "vectors": 2, "references": 2, "graph_layers": 1, "blocks": 2}


@pytest.fixture(scope="session")
def untrained_field(tmp_path_factory):
    """Weights of a small PairField that was never trained: enough for what does not depend on their values."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "field.safetensors"
    card = Card("untrained", "PairField", SIZES, "", [1, 6, 7, 8], 3, 20, ["x"], [], {})
    save_weights(path, PairField(FieldConfig(**SIZES)), card)
    return path


@pytest.fixture(scope="session")
def untrained_confgf(tmp_path_factory):
    """Weights of a published network that was never trained."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "paper.safetensors"
    save_weights(path, ConfGF(), Card("untrained", "ConfGF", {}, "", [1, 6, 7, 8], 3, 20, ["x"], [], {}))
    return path
