import types

import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.training.best_round import BestRound, Monitor


def at(step, **metrics):
    """A trainer after a step, as far as the callbacks ask it."""
    return types.SimpleNamespace(global_step=step, callback_metrics={k: torch.tensor(v) for k, v in metrics.items()}, should_stop=False)


class Weights:
    """Averaged weights that name the step they are from."""

    def __init__(self):
        self.step = 0

    def weights(self):
        return {"w": torch.tensor(float(self.step))}


def judged(best, losses, **more):
    """Whether each round of a run with these validation losses, and these other numbers, stopped it."""
    stops = []
    for k, loss in enumerate(losses, start=1):
        best.averaged.step = 10 * k
        trainer = at(10 * k, val_loss=loss, **{name: values[k - 1] for name, values in more.items()})
        best.on_train_epoch_end(trainer, None)
        stops.append(trainer.should_stop)
    return stops


def test_best_round_is_kept_and_patience_counts_rounds_without_a_lower_loss():
    best = BestRound(Weights(), patience=2)
    assert judged(best, [0.5, 0.4, 0.45, 0.39, 0.4, 0.39]) == [False, False, False, False, False, True]
    assert (best.step, best.weights["w"].item()) == (40, 40.0) and best.value == pytest.approx(0.39)


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


def test_another_number_can_decide_and_be_better_when_it_is_higher():
    best = BestRound(Weights(), patience=2, monitor=Monitor("ess", lower_is_better=False))
    assert judged(best, [0.5, 0.4, 0.3, 0.2], ess=[0.1, 0.7, 0.6, float("inf")]) == [False, False, False, True]
    assert (best.step, best.value) == (20, pytest.approx(0.7))


def test_a_run_goes_on_only_by_what_judged_it():
    first, other = BestRound(Weights(), patience=3), BestRound(Weights(), patience=3, monitor=Monitor("ess", lower_is_better=False))
    judged(first, [0.5, 0.4])
    with pytest.raises(ConfGFError, match=r"judged by val_loss \(lower is better\), not by ess \(higher is better\); monitor the former"):
        other.load_state_dict(first.state_dict())
    earlier = {name: value for name, value in first.state_dict().items() if name != "monitor"}  # as checkpoints were before
    second = BestRound(Weights(), patience=3)
    second.load_state_dict(earlier)
    assert (second.value, second.step) == (first.value, 20)
    with pytest.raises(ConfGFError, match="judged by val_loss"):
        other.load_state_dict(earlier)


def test_a_number_that_there_is_not_cannot_be_monitored():
    monitor = Monitor("val_loss_paths")
    monitor.check_known(["val_loss_paths"])
    with pytest.raises(ConfGFError, match="use one of val_loss, other"):
        monitor.check_known(["other"])
    with pytest.raises(ConfGFError, match="gave no val_loss_paths"):  # where no molecule has paths
        judged(BestRound(Weights(), patience=2, monitor=monitor), [0.5])
