"""A network and an objective from outside: one file, two calls of a registry, and everything else takes them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from openmm_confgf.errors import ConfGFError
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.features import ATOM_VOCABULARY, GraphBatch, TensorRecord
from openmm_confgf.models.registry import NETWORKS, Architecture, build_network, describe_network, register_network
from openmm_confgf.models.weights import load_weights, save_weights
from openmm_confgf.plots.training import plot_training
from openmm_confgf.training import recipe
from openmm_confgf.training.batches import StepDataset
from openmm_confgf.training.best_round import Monitor
from openmm_confgf.training.config import RunConfig
from openmm_confgf.training.module import TrainingModule
from openmm_confgf.training.objectives.base import Objective, Part
from openmm_confgf.training.objectives.conformers import draw_conformers
from openmm_confgf.training.objectives.registry import PRESETS, register_objective
from openmm_confgf.training.rounds import fit


@dataclasses.dataclass(frozen=True)
class RadiusConfig:
    width: int = 4


class Radius(nn.Module):
    """Root mean square distance (M,) of a molecule's atoms from their centre, Angstrom, as a sum of what each element adds to it."""

    def __init__(self, config: RadiusConfig = RadiusConfig()) -> None:
        super().__init__()
        self.config = config
        self.elements = nn.Sequential(nn.Embedding(ATOM_VOCABULARY[0], config.width), nn.Linear(config.width, 1))

    def forward(self, graph: GraphBatch) -> Tensor:
        return (self.elements(graph.atoms[..., 0]).squeeze(-1) * graph.atom_mask).sum(1)


@dataclasses.dataclass(frozen=True)
class Radii(TensorRecord):
    graph: GraphBatch
    radius: Tensor


@dataclasses.dataclass(frozen=True)
class GuessRadius(Objective[Radius, Radii]):
    architecture: ClassVar[str] = "Radius"
    title: ClassVar[str] = "squared error"
    parts: ClassVar[tuple[Part, ...]] = (Part("val_small", "up to nine atoms"), Part("val_close", "within 0.5 Å", graded=False))
    parts_title: ClassVar[str] = "validation"
    draws: int = 1

    def batch(self, molecules: Sequence, rng: np.random.Generator) -> Radii:
        graph, positions, _ = draw_conformers(molecules, self.draws, rng)
        return Radii(graph, torch.sqrt((positions[:, 0] ** 2).sum((-2, -1)) / graph.atom_mask.sum(1)))

    def losses(self, network: Radius, batch: Radii) -> Tensor:
        return (network(batch.graph) - batch.radius) ** 2

    def members(self, batch: Radii) -> int:
        return len(batch.radius)

    def part_values(self, losses: Tensor, batch: Radii) -> Mapping[str, Tensor]:
        return {"val_small": losses[batch.graph.atom_mask.sum(1) <= 9], "val_close": (losses < 0.25).float()}


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_network("Radius", Architecture(RadiusConfig, Radius))
    register_objective("radius", GuessRadius())
    yield
    del NETWORKS["Radius"], PRESETS["radius"]


def trained(molecules, directory, run, **options):
    torch.manual_seed(0)
    module = TrainingModule(GuessRadius(), build_network("Radius", {"width": 6}), run.learning_rate, run.steps)
    training, validation = (StepDataset(molecules, steps, GuessRadius(), 100, seed) for seed, steps in ((0, run.steps), (1, 4)))
    return module.net, fit(module, training, validation, run, directory, "cpu", progress=False, **options)


def test_two_rounds_and_the_weights_on_disk(molecules, tmp_path):
    net, result = trained(molecules, tmp_path, RunConfig("radius", steps=8, round_steps=4, learning_rate=0.01))
    assert result.steps == 8 and [row["step"] for row in result.rows] == [4, 8]
    assert {"loss", "val_loss", "val_small", "val_close"} <= result.rows[0].keys()
    assert result.rows[1]["val_loss"] < result.rows[0]["val_loss"]
    target = CardTarget("openff-2.2.1", 300.0)
    card = Card("radius", *describe_network(net), "", [1, 6], 3, 9, [], [], {}, target=target)
    written = save_weights(tmp_path / "radius.safetensors", net, card)
    loaded, read = load_weights(tmp_path / "radius.safetensors")
    assert read == written and (read.architecture, read.config, read.target) == ("Radius", {"width": 6}, target)
    assert type(loaded) is Radius
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), loaded.state_dict().values(), strict=True))


def test_the_monitored_part_decides_the_best_round(molecules, tmp_path):
    run = RunConfig("radius", steps=12, round_steps=2, learning_rate=0.5, patience=6)
    for name, lower, choose in (("val_close", False, max), ("val_small", True, min), ("val_loss", True, min)):
        net, result = trained(molecules, tmp_path / name, run, monitor=Monitor(name, lower))
        values = {row["step"]: row[name] for row in result.rows}
        assert result.chosen_step == next(step for step, value in values.items() if value == choose(values.values()))
        checking = StepDataset(molecules, 4, GuessRadius(), 100, 1)
        parts = [(net(batch.graph) - batch.radius) ** 2 for batch in (checking[k] for k in range(4))]
        losses = torch.cat(parts)
        expected = {"val_close": (losses < 0.25).float().mean(), "val_loss": losses.mean()}
        if name in expected:  # the weights are those of that round
            assert expected[name].item() == pytest.approx(values[result.chosen_step], abs=2e-5, rel=1e-5)
    with pytest.raises(ConfGFError, match=r"judged by val_close \(higher is better\), not by val_loss"):
        trained(molecules, tmp_path / "val_close", run)


def test_what_the_objective_does_not_have_is_no_monitor(molecules, tmp_path):
    with pytest.raises(ConfGFError, match="'loss' cannot be monitored.* use one of val_loss, val_small, val_close"):
        trained(molecules, tmp_path / "run", RunConfig("radius", steps=2, round_steps=1, patience=2), monitor=Monitor("loss"))
    assert not (tmp_path / "run").exists()


def test_recipe_and_picture_know_the_preset(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "VALIDATION_STEPS", 2)
    run = RunConfig("radius", steps=4, round_steps=2, pair_budget=100)
    weights = recipe.train([archive], tmp_path / "run", run, device="cpu", progress=False)
    card = load_weights(weights)[1]
    assert (weights.name, card.architecture, card.config, card.target) == ("radius.safetensors", "Radius", {"width": 4}, None)
    # whatever a parent is to sample, what is fine-tuned from it is
    content = json.loads(weights.with_suffix(".json").read_text()) | {"target": {"forcefield": "gaff-2.2.20", "temperature": 310}}
    weights.with_suffix(".json").write_text(json.dumps(content))
    tuned = recipe.train([archive], tmp_path / "tuned", run, parent=weights, device="cpu", progress=False)
    assert load_weights(tuned)[1].target == CardTarget("gaff-2.2.20", 310)
    picture = plot_training(tmp_path / "run" / "log.jsonl", tmp_path / "loss.png", GuessRadius())
    assert picture.stat().st_size > 10_000
    with pytest.raises(ConfGFError, match="train them with the preset radius, not confgf"):
        recipe.train([archive], tmp_path / "other", RunConfig("confgf"), parent=weights, device="cpu")
