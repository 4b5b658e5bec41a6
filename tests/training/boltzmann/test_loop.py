import json
import math

import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.training.boltzmann.frames import training_frames
from openmm_confgf.training.boltzmann.loop import BoltzmannTraining, Lesson
from openmm_confgf.training.boltzmann.monitor import divergence
from openmm_confgf.training.boltzmann.settings import BoltzmannRun

SHORT = {"round_steps": 3, "batch_size": 64, "samples": 512, "frames_share": 0.4}


@pytest.fixture(scope="module")
def lesson(methanol, methanol_ensemble):
    frames = training_frames(methanol, methanol_ensemble.positions)
    return Lesson(methanol, frames[torch.arange(500)], frames[torch.arange(500, 600)])


@pytest.mark.parametrize("tuning", ["log-variance", "distillation", "none"])
def test_a_stopped_run_goes_on_bit_for_bit(tuning, lesson, small_network, tmp_path):
    run = BoltzmannRun(rounds=5, tuning=tuning, **SHORT)
    whole, parts = small_network(), small_network()
    rows = BoltzmannTraining(whole, [lesson], run, tmp_path / "whole").fit()

    def stop(row, rounds):
        if row["round"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BoltzmannTraining(parts, [lesson], run, tmp_path / "parts").fit(stop)
    again = BoltzmannTraining(small_network(seed=1), [lesson], run, tmp_path / "parts")
    resumed = again.fit()
    strip = lambda log: [{k: v for k, v in row.items() if k != "seconds"} for row in log]  # noqa: E731
    assert strip(resumed) == strip(rows)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    assert [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()] == resumed
    assert [row["energies"] for row in rows] == ([0.0] * 5 if tuning == "none" else [0.0, 0.0, 1.0, 1.0, 1.0])
    assert {"ess", "k_hat", "mean_log_q", "torus_distance"} <= rows[-1].keys()


def test_frames_and_energies_teach(lesson, small_network, tmp_path):
    """From a hundredth of the samples to most of them, within seconds."""
    run = BoltzmannRun(rounds=12, round_steps=25, batch_size=128, samples=1024, learning_rate=5e-3, tuning_rate=2e-3)
    rows = BoltzmannTraining(small_network(), [lesson], run, tmp_path).fit()
    assert rows[0]["loss"] > rows[2]["loss"] and rows[-1]["ess"] > 0.7 and rows[-1]["k_hat"] < 0.7


def test_it_ends_early_when_enough_are_effective(lesson, small_network, tmp_path):
    run = BoltzmannRun(rounds=40, round_steps=25, batch_size=128, samples=1024, learning_rate=5e-3, until_ess=0.3)
    rows = BoltzmannTraining(small_network(), [lesson], run, tmp_path).fit()
    assert len(rows) < 40 and rows[-1]["ess"] >= 0.3


def test_minutes_become_rounds_once(lesson, small_network, tmp_path):
    run = BoltzmannRun(minutes=0.02, **SHORT)
    told = []
    rows = BoltzmannTraining(small_network(), [lesson], run, tmp_path).fit(lambda row, rounds: told.append(rounds))
    assert len(set(told[1:])) == 1 and len(rows) == told[-1] >= 3


def test_energies_alone(lesson, small_network, tmp_path):
    """Without a share for the frames, the first round tells what rounds of energies take."""
    run = BoltzmannRun(minutes=0.02, **SHORT | {"frames_share": 0.0})
    rows = BoltzmannTraining(small_network(), [lesson], run, tmp_path).fit()
    assert len(rows) >= 2 and all(row["energies"] == 1.0 for row in rows)


def test_several_molecules(lesson, small_network, tmp_path):
    rows = BoltzmannTraining(small_network(), [lesson, lesson], BoltzmannRun(rounds=4, **SHORT), tmp_path).fit()
    assert len(rows) == 4


def test_a_damaged_checkpoint_is_said_to_be_one(lesson, small_network, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"nothing")
    with pytest.raises(ConfGFError, match=r"last.pt is damaged.*delete it to begin anew"):
        BoltzmannTraining(small_network(), [lesson], BoltzmannRun(rounds=2, **SHORT), tmp_path).fit()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": 0}, "minutes is 0; give a finite number above 0"),
        ({"rounds": 0}, "There are 0 rounds"),
        ({"until_ess": 1.5}, "until_ess is 1.5; give a share"),
        ({"frames_share": -1}, "frames_share is -1"),
        ({"tuning": "magic"}, "There is no tuning 'magic'; use one of log-variance, distillation, none"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(ConfGFError, match=message):
        BoltzmannRun(**wrong)


def test_a_run_that_falls_apart_goes_on_from_its_best_round(lesson, small_network, tmp_path):
    """Energies at a rate that breaks the network: it ends with the best weights that it had, and slower."""
    first = BoltzmannRun(rounds=10, round_steps=25, batch_size=128, samples=512, learning_rate=5e-3, tuning="none")
    network = small_network()
    begun = BoltzmannTraining(network, [lesson], first, tmp_path / "first")
    begun.fit()
    wild = BoltzmannRun(rounds=15, round_steps=10, batch_size=64, samples=512, tuning_rate=0.3, frames_share=0.0)
    training = BoltzmannTraining(network, [lesson], wild, tmp_path / "wild")
    rows = training.fit()
    looks = [row["divergence"] for row in rows if "divergence" in row]
    assert max(looks) > begun.best_divergence + 0.5 and training._pace < 1
    # that of before, of 512 other samples whose log-weights are spread by 3 at most
    assert training.best_divergence <= min(looks) and training.best_divergence < begun.best_divergence + 6 * 3 * math.sqrt(2 / 512)
    for name, tensor in training.best.items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_samples_that_k_hat_distrusts_must_be_better_by_half_a_nat(lesson, small_network, tmp_path):
    training = BoltzmannTraining(small_network(), [lesson], BoltzmannRun(rounds=2, **SHORT), tmp_path)
    looks = [
        (1.0, 0.3, True),
        (0.8, None, False),
        (0.4, None, True),
        (0.8, 0.2, True),
        (0.85, 0.4, False),
        (0.7, 0.1, True),
        (None, None, False),
    ]
    name, tensor = next(iter(training.averaged.module.named_parameters()))
    for number, (found, ess, kept) in enumerate(looks):
        with torch.no_grad():
            tensor.fill_(number)
        training._keep_the_best({"divergence": found, "ess": ess})
        assert bool((training.best[name] == number).all()) == kept, number
    assert training.best_divergence == 0.7


def test_a_loss_that_is_not_finite_sends_back_to_the_best(lesson, small_network, tmp_path, monkeypatch):
    run = BoltzmannRun(rounds=4, round_steps=2, batch_size=16, samples=128, tuning_rate=1e-3, frames_share=0.0)
    training = BoltzmannTraining(small_network(), [lesson], run, tmp_path)
    right = training._loss_of_energies
    monkeypatch.setattr(training, "_loss_of_energies", lambda rng: right(rng) * (math.nan if training.step == 3 else 1.0))
    rows = training.fit()
    assert [row["loss"] is None for row in rows] == [False, True, False, False]
    assert training._pace == 0.5 and math.isfinite(rows[-1]["divergence"])


def test_the_divergence_is_that_of_jeffreys():
    """Two Gaussians: KL(q|p) + KL(p|q), without the constant log Z and entropy of the target, by hand."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400_000, dtype=torch.float64, generator=generator) for _ in range(2))
    q = lambda z: -0.5 * (z / 1.2) ** 2 - math.log(1.2)  # noqa: E731
    found = divergence(-0.5 * (1.2 * x) ** 2 - q(1.2 * x), float(q(y).mean()))
    wanted = [0.5 * (1.44 - 1) - math.log(1.2), 0.5 / 1.44 + math.log(1.2)]
    assert found == pytest.approx(sum(wanted), abs=6 * 1.5 / math.sqrt(400_000))
    assert divergence(torch.full((3,), -torch.inf), 0.0) is None
