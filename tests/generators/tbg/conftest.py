import dataclasses

import pytest
import torch

from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.generators.tbg.atom_types import atom_types
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.egnn import EGNN, EGNNConfig
from openmm_confgf.models.weights import save_weights
from openmm_confgf.training.boltzmann.flow_loop import FlowLesson, FlowTraining
from openmm_confgf.training.boltzmann.flow_settings import FlowRun

SCALE = 10.0
CARD = Card(
    "water",
    "EGNN",
    {},
    "",
    [1, 8],
    3,
    3,
    ["x"],
    [],
    {},
    target=CardTarget("openff-2.2.1", 300.0),
    settings={"variant": "tbg", "scale": SCALE},
)


@pytest.fixture(scope="session")
def water_weights(tmp_path_factory):
    """Of a flow that learnt water for some seconds, and is broader than it."""
    folder = tmp_path_factory.mktemp("flow")
    frames = HarmonicGenerator("openff-2.2.1", 300.0).sample("O", 600, seed=0, device="cpu")
    lesson = FlowLesson.of(frames.positions, atom_types(frames.graph, "tbg"), SCALE, torch.device("cpu"))
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(5, 32, 3))
    FlowTraining(network, [lesson], FlowRun(rounds=8, batch_size=128, learning_rate=2e-3), folder).fit()
    path = folder / "tbg.safetensors"
    save_weights(path, network, dataclasses.replace(CARD, config=dataclasses.asdict(network.config)))
    return path
