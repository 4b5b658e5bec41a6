import errno
import json
import os
import types

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from openmm_confgf.errors import ConfGFError, FileFormatError
from openmm_confgf.training.config import RunConfig
from openmm_confgf.training.rounds import AveragedWeights, BestRound, FitResult, RoundLog, WholeCheckpoints, _saved, read_log


def at(step, **metrics):
    """A trainer after a step, as far as the callbacks ask it."""
    return types.SimpleNamespace(global_step=step, callback_metrics={k: torch.tensor(v) for k, v in metrics.items()}, should_stop=False)


class Weights:
    """Averaged weights that name the step they are from."""

    def __init__(self):
        self.step = 0

    def weights(self):
        return {"w": torch.tensor(float(self.step))}


def judged(best, losses):
    """Whether each round of a run with these validation losses stopped it."""
    stops = []
    for k, loss in enumerate(losses, start=1):
        best.averaged.step = 10 * k
        trainer = at(10 * k, val_loss=loss)
        best.on_train_epoch_end(trainer, None)
        stops.append(trainer.should_stop)
    return stops


def test_average_follows_fast_at_first_and_slowly_later():
    averaging, module = AveragedWeights(), lightning.LightningModule()
    module.net = nn.Linear(1, 1, bias=False)
    averaging.setup(None, module, "fit")
    values, expected = torch.linspace(3.0, -2.0, 30), None
    for n, value in enumerate(values):
        module.net.weight.data.fill_(value)
        averaging.on_train_batch_end(types.SimpleNamespace(global_step=n + 1), module, None, None, 0)
        decay = min(0.999, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    torch.testing.assert_close(averaging.weights()["net.weight"].squeeze(), expected)
    assert abs(expected - values[-1]) < 0.2 * abs(values[0] - values[-1])  # with 0.999 from the start it would be 0.99


def test_checkpoints_of_the_average_have_kept_their_name():
    assert AveragedWeights().state_key == EMAWeightAveraging().state_key


def test_best_round_is_kept_and_patience_counts_rounds_without_a_lower_loss():
    best = BestRound(Weights(), patience=2)
    assert judged(best, [0.5, 0.4, 0.45, 0.39, 0.4, 0.39]) == [False, False, False, False, False, True]
    assert (best.step, best.weights["w"].item()) == (40, 40.0) and best.loss == pytest.approx(0.39)


def test_a_loss_that_is_not_a_number_is_no_improvement():
    best = BestRound(Weights(), patience=2)
    assert judged(best, [0.5, float("nan"), float("nan")]) == [False, False, True] and best.step == 10


def test_best_round_goes_on_from_its_state_and_judges_no_round_twice():
    whole, first = BestRound(Weights(), patience=3), BestRound(Weights(), patience=3)
    losses = [0.5, 0.4, 0.45, 0.46, 0.47]
    stops = judged(whole, losses)
    judged(first, losses[:3])
    second = BestRound(Weights(), patience=3)
    second.load_state_dict(first.state_dict())
    assert judged(second, losses) == stops  # Lightning repeats the end of the round that it resumes from
    expected, resumed = whole.state_dict(), second.state_dict()
    assert torch.equal(expected.pop("weights")["w"], resumed.pop("weights")["w"]) and expected == resumed


def test_log_forgets_rounds_whose_checkpoint_was_lost(tmp_path):
    seen = []
    log = RoundLog(tmp_path / "log.jsonl", seen.append)
    for step in (0, 10, 20):
        log.append(step, {"val_loss": torch.tensor(0.5)})
    with open(log.path, "a") as stream:
        stream.write('{"step": 30, "ti')  # killed while writing
    assert [row["step"] for row in read_log(log.path)] == [0, 10, 20]
    log.on_train_start(at(10), None)
    log.append(20, {"loss": torch.tensor(0.123456)}, seconds=1.5)
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 10, 20] and rows[-1]["loss"] == 0.12346 and seen == 4 * [log.path]
    assert read_log(tmp_path / "none.jsonl") == []


def test_seconds_are_those_of_all_rounds_or_unknown():
    rows = [{"step": 0}, {"step": 10, "seconds": 1.25}, {"step": 20, "seconds": 2.0}]
    assert FitResult(20, 20, False, rows, "cpu").seconds == 3.2
    assert FitResult(20, 20, False, [*rows, {"step": 30}], "cpu").seconds is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"steps": 5, "round_steps": 2}, "multiple"), ({"patience": -1}, "patience is -1"), ({"learning_rate": 0.0}, "learning_rate is 0")],
)
def test_nonsense_settings_are_refused(settings, message):
    with pytest.raises(ConfGFError, match=message):
        RunConfig(**settings)


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "another"])
def test_a_damaged_checkpoint_says_what_to_delete(tmp_path, damage):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(1000)}, "callbacks": {}, "global_step": 4}, path)
    content = path.read_bytes()
    assert _saved(path)["global_step"] == 4
    if damage == "another":
        torch.save({"w": torch.zeros(1)}, path)
    else:
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"garbage" * 100}[damage])
    with pytest.raises(ConfGFError, match=r"last.ckpt is damaged and the run cannot go on from it; delete it, and the same command begins"):
        _saved(path)


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        with pytest.raises(FileFormatError, match="No space left on device, and the earlier file is as it was"):
            WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1} and os.listdir(tmp_path) == ["last.ckpt"]
