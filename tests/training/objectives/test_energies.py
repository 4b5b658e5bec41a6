"""Losses of exact densities against closed forms."""

import math

import numpy as np
import pytest
import torch

from openmm_confgf.training.objectives.energies import (
    FARTHEST,
    LOWEST,
    TRUSTED,
    effective_share,
    log_variance,
    tempered_weights,
    weighted_likelihood,
)


def test_the_minimiser_of_the_likelihood_is_the_sample():
    """Of three states with weights 1 : 2 : 5."""
    weights, logits = torch.tensor([1.0, 2.0, 5.0]), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = weighted_likelihood(torch.log_softmax(logits, 0), weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(torch.softmax(logits.detach(), 0), weights / 8, rtol=0, atol=1e-4)


def test_log_variance_is_zero_where_q_is_proportional_to_p():
    log_q = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert log_variance(log_q, log_q + 3.7, torch.tensor(3.7)) < 1e-24


def test_log_variance_is_the_variance_of_log_weights_and_its_gradient():
    generator = torch.Generator().manual_seed(1)
    log_q, target = (0.4 * torch.randn(500, generator=generator, dtype=torch.float64) for _ in range(2))
    log_q.requires_grad_()
    loss = log_variance(log_q, target, torch.tensor(0.0))
    away = (target - log_q).detach()
    assert float(away.abs().max()) < LOWEST
    assert float(loss.detach()) == pytest.approx(float(away.var(correction=0)), rel=1e-12)
    loss.backward()
    torch.testing.assert_close(log_q.grad, -2 / 500 * (away - away.mean()))


def test_a_clash_does_not_decide_a_step_and_is_unlearnt():
    log_q = torch.zeros(5, requires_grad=True)
    loss = log_variance(log_q, torch.tensor([0.1, -LOWEST, -1e6, -math.inf, 50.0]), torch.tensor(0.0))
    loss.backward()
    assert loss < FARTHEST**2 and torch.isfinite(log_q.grad).all()
    # as what is just so far: a step lowers log q of it; and raises it where q is far too small
    assert (log_q.grad[1:4] > 0).all() and (log_q.grad[2:4] == log_q.grad[1]).all() and log_q.grad[4] < 0


def test_samples_that_have_moved_far_enough_are_let_go():
    """Two clashes and two that q nearly lacks: of each kind one has gone where it is pushed, the other has not."""
    log_q, target = torch.zeros(4, dtype=torch.float64, requires_grad=True), torch.tensor([-1e6, -1e6, 50.0, 50.0])
    drawn = torch.tensor([TRUSTED + 0.1, -TRUSTED - 0.1, -TRUSTED - 0.1, TRUSTED + 0.1])
    loss = log_variance(log_q, target, torch.tensor(0.0), drawn)
    assert float(loss.detach()) == float(log_variance(log_q, target, torch.tensor(0.0)).detach())
    loss.backward()
    assert (log_q.grad != 0).tolist() == [False, True, False, True]
    # of what nobody drew there is no limit
    log_q.grad = None
    log_variance(log_q, target, torch.tensor(0.0), torch.full_like(drawn, torch.nan)).backward()
    assert (log_q.grad != 0).all()


@pytest.mark.parametrize("spread", [0.1, 2.0, 30.0])
def test_tempered_weights_have_the_effective_share_that_is_asked_for(spread):
    log_weights = spread * torch.randn(4000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    log_weights[:7] = -torch.inf
    weights = tempered_weights(log_weights, 0.6)
    assert not weights[:7].any() and float(weights.sum()) == pytest.approx(1)
    if spread == 0.1:  # nothing to temper
        torch.testing.assert_close(weights, torch.softmax(log_weights, 0))
    else:
        assert effective_share(weights) == pytest.approx(0.6, abs=1e-3)
        order = np.argsort(log_weights.numpy())
        assert (np.diff(weights.numpy()[order]) >= 0).all()
