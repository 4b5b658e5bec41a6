import numpy as np
import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.generators.tbg.atom_types import atom_types
from openmm_confgf.models.egnn import EGNN, EGNNConfig
from openmm_confgf.training.boltzmann.flow_loop import LOOKS, FlowLesson, FlowTraining
from openmm_confgf.training.boltzmann.flow_recipe import train_tbg
from openmm_confgf.training.boltzmann.flow_settings import FlowRun
from openmm_confgf.training.boltzmann.frames import FEWEST

CPU = torch.device("cpu")
SHORT = {"round_steps": 3, "batch_size": 32, "width": 16, "layers": 2}


def network(seed=0):
    torch.manual_seed(seed)
    return EGNN(EGNNConfig(5, 16, 2))


@pytest.fixture(scope="module")
def lessons():
    made = []
    for smiles in ("O", "CO"):
        frames = HarmonicGenerator("openff-2.2.1", 300.0).sample(smiles, 200, seed=0, device="cpu")
        made.append(FlowLesson.of(frames.positions, atom_types(frames.graph, "tbg"), 10.0, CPU))
    return made


@pytest.mark.parametrize("coupling", ["independent", "optimal"])
def test_a_stopped_run_goes_on_bit_for_bit(coupling, lessons, tmp_path):
    run = FlowRun(rounds=4, coupling=coupling, **SHORT)
    whole, parts = network(), network()
    rows = FlowTraining(whole, lessons, run, tmp_path / "whole").fit()

    def stop(row, rounds):
        if row["round"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FlowTraining(parts, lessons, run, tmp_path / "parts").fit(stop)
    again = network(seed=1)
    resumed = FlowTraining(again, lessons, run, tmp_path / "parts").fit()
    assert [row["loss"] for row in resumed] == [row["loss"] for row in rows]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_it_learns(lessons, tmp_path):
    """The first velocities are nearly zero, whose loss is the variance of the frames and of the noise."""
    run = FlowRun(rounds=6, round_steps=40, batch_size=64, learning_rate=3e-3, width=16, layers=2)
    rows = FlowTraining(network(), lessons[:1], run, tmp_path).fit()
    before = 2 / 3 + float(lessons[0].positions.square().mean())
    assert rows[0]["loss"] < 1.1 * before and rows[-1]["loss"] < 0.75 * before


def test_optimal_coupling_makes_paths_shorter(lessons, tmp_path):
    """So that a network that does not move yet has less of a loss."""
    losses = {}
    for coupling in ("independent", "optimal"):
        run = FlowRun(rounds=1, round_steps=1, batch_size=64, coupling=coupling)
        losses[coupling] = FlowTraining(network(), lessons, run, tmp_path / coupling).fit()[0]["loss"]
    assert losses["optimal"] < 0.8 * losses["independent"]


def test_a_step_sees_several_molecules_the_smaller_ones_padded(lessons, tmp_path):
    training = FlowTraining(network(), lessons, FlowRun(rounds=1, batch_size=8, molecules=2), tmp_path)
    loss = training._loss(np.random.default_rng(3))
    seen = []
    plain = training.network.forward
    training.network.forward = lambda t, x, features, mask: seen.append((x, mask)) or plain(t, x, features, mask)
    assert torch.equal(training._loss(np.random.default_rng(3)), loss)
    (x, mask) = seen[0]
    assert x.shape == (8, 6, 3) and sorted(mask.sum(1).tolist()) == [3] * 4 + [6] * 4


def test_frames_are_seen_as_often_as_is_asked(lessons):
    positions = lessons[0].positions.numpy()
    probability = np.zeros(len(positions))
    probability[[5, 9]] = 0.5
    lesson = FlowLesson(torch.from_numpy(positions), lessons[0].types, probability)
    drawn = lesson.draw(200, np.random.default_rng(0))
    assert {tuple(row) for row in drawn[:, 0].tolist()} == {tuple(row) for row in positions[[5, 9], 0].tolist()}


def test_fresh_samples_are_looked_at_some_times(lessons, tmp_path):
    looked = []
    run = FlowRun(rounds=12, **SHORT | {"round_steps": 1})
    rows = FlowTraining(network(), lessons, run, tmp_path, lambda averaged: looked.append(averaged) or {"k_hat": 0.5}).fit()
    assert len(looked) == LOOKS and "k_hat" in rows[-1]


def test_frames_with_positive_phi_are_seen_as_often_as_the_others(tmp_path):
    frames = HarmonicGenerator("openff-2.2.1", 300.0).sample("O", FEWEST, seed=0, device="cpu")
    with pytest.raises(ConfGFError, match="has no phi whose frames could be up-weighted; train without it"):
        train_tbg(frames.graph, tmp_path, frames=frames, run=FlowRun(rounds=1, upweighted=True), device="cpu")


def test_frames_that_cannot_teach_are_refused_before_the_first_step(tmp_path):
    frames = HarmonicGenerator("openff-2.2.1", 300.0).sample("O", FEWEST, seed=0, device="cpu")
    positions = frames.positions.copy()
    positions[3] = np.nan
    bad = [
        (frames.replace(positions=positions, log_q=None), "1 of 100 frames of 'O' are not finite"),
        (frames.select(range(5)), "5 frames of 'O'"),
    ]
    for given, message in bad:
        with pytest.raises(ConfGFError, match=message):
            train_tbg(frames.graph, tmp_path, frames=given, run=FlowRun(rounds=1), device="cpu")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 0}, "There are 0 rounds"),
        ({"scale": 0}, "scale is 0; give a finite number above 0"),
        ({"variant": "x"}, "There is no variant 'x'"),
        ({"coupling": "x"}, "There is no coupling 'x'"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_settings_that_cannot_be(wrong, message):
    with pytest.raises(ConfGFError, match=message):
        FlowRun(**wrong)
