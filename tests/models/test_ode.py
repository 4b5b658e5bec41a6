"""Integrators against closed forms."""

import itertools
import math

import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.models.ode import AdaptiveSteps, FixedSteps

MATRIX = torch.tensor([[-0.4, 1.3, 0.2], [-1.1, 0.3, 0.5], [0.1, -0.6, 0.8]], dtype=torch.float64)


def linear(t, positions, rows):
    """dx/dt = M x, and the log density's rate."""
    return positions @ MATRIX.T, -positions.shape[1] * MATRIX.trace().expand(len(t))


def swinging(t, positions, rows):
    """dx/dt = x cos(3 t), whose solution is x exp(sin(3 t) / 3)."""
    rate = torch.cos(3 * t)
    return positions * rate[:, None, None], -positions[0].numel() * rate


def stiffness(t, positions, rows):
    """Each row turns about z at its own pace."""
    pace = torch.tensor([1.0, 30.0, 3.0, 100.0, 10.0, 0.0, 60.0], dtype=torch.float64)[rows, None]
    x, y, z = positions.unbind(-1)
    return torch.stack([-pace * y, pace * x, 0 * z], -1), torch.cos(pace[:, 0] * t)


def start(count=4, n=2):
    return torch.randn(count, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


INTEGRATORS = [(FixedSteps(60), 1e-6), (FixedSteps(400, "heun"), 1e-4), (AdaptiveSteps(1e-8, 1e-8), 1e-6)]


@pytest.mark.parametrize(("integrator", "tolerance"), INTEGRATORS)
@pytest.mark.parametrize("to", [0, 1])
def test_a_linear_field_is_its_matrix_exponential_either_way(integrator, tolerance, to):
    found = integrator.integrate(linear, start(), to=to)
    sign = 2 * to - 1
    torch.testing.assert_close(found.positions, start() @ torch.linalg.matrix_exp(sign * MATRIX).T, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.change, torch.full((4,), -sign * 2 * MATRIX.trace().item(), dtype=torch.float64), rtol=0, atol=1e-9)
    assert found.converged.all() and found.positions.dtype == torch.float64


@pytest.mark.parametrize(("integrator", "tolerance"), INTEGRATORS)
def test_time_runs_as_it_should(integrator, tolerance):
    for to in (0, 1):
        grown = (2 * to - 1) * math.sin(3) / 3
        found = integrator.integrate(swinging, start(), to=to)
        torch.testing.assert_close(found.positions, start() * math.exp(grown), rtol=0, atol=tolerance)
        torch.testing.assert_close(found.change, torch.full((4,), -6 * grown, dtype=torch.float64), rtol=0, atol=5 * tolerance)


@pytest.mark.parametrize(("integrator", "tolerance"), INTEGRATORS)
def test_back_again_is_where_it_began(integrator, tolerance):
    there = integrator.integrate(swinging, start(), to=1)
    back = integrator.integrate(swinging, there.positions, to=0)
    torch.testing.assert_close(back.positions, start(), rtol=0, atol=tolerance)
    torch.testing.assert_close(back.change, -there.change, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("method", "order", "stages"), [("rk4", 4, 4), ("heun", 2, 2)])
def test_errors_fall_with_the_order_of_the_method(method, order, stages):
    exact = start() @ torch.linalg.matrix_exp(MATRIX).T
    errors = []
    for steps in (10, 20, 40):
        found = FixedSteps(steps, method).integrate(linear, start(), to=1)
        assert found.evaluations.tolist() == [stages * steps] * 4
        errors.append((found.positions - exact).abs().max().item())
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


def test_the_adaptive_method_is_of_order_five_and_keeps_its_tolerance():
    exact, found = start() * math.exp(math.sin(3) / 3), []
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        end = AdaptiveSteps(tolerance, tolerance).integrate(swinging, start(), to=1)
        error = max((end.positions - exact).abs().max().item(), (end.change + 2 * math.sin(3)).abs().max().item())
        assert error < 20 * tolerance
        found.append((end.evaluations.max().item(), error))
    # evaluations go like the fifth root of the error, so that 10^6 times less error costs about 16 times as much
    assert 4 < (found[3][0] - 2) / (found[0][0] - 2) < 20


def test_a_path_does_not_depend_on_the_rest_of_the_batch():
    together = AdaptiveSteps().integrate(stiffness, start(7), to=1)
    assert together.converged.all() and len(set(together.evaluations.tolist())) >= 6
    for k in range(7):
        alone = AdaptiveSteps().integrate(lambda t, x, rows, k=k: stiffness(t, x, rows + k), start(7)[k : k + 1], to=1)
        torch.testing.assert_close(alone.positions[0], together.positions[k], rtol=0, atol=1e-13)
        torch.testing.assert_close(alone.change[0], together.change[k], rtol=0, atol=1e-13)
        assert alone.evaluations[0] == together.evaluations[k]


def test_samples_that_are_through_are_not_evaluated_any_more():
    seen = torch.zeros(7, dtype=torch.long)

    def counted(t, positions, rows):
        seen[rows] += 1
        return stiffness(t, positions, rows)

    found = AdaptiveSteps().integrate(counted, start(7), to=1)
    assert torch.equal(seen, found.evaluations) and seen[5] < seen[3] / 10


def test_padding_changes_no_path():
    padded = torch.cat([start(3), torch.zeros(3, 5, 3, dtype=torch.float64)], 1)
    atoms = torch.full((3,), 2)
    whole = AdaptiveSteps().integrate(stiffness, start(3), to=1)
    found = AdaptiveSteps().integrate(stiffness, padded, to=1, atoms=atoms)
    torch.testing.assert_close(found.positions[:, :2], whole.positions, rtol=0, atol=1e-13)
    assert torch.equal(found.evaluations, whole.evaluations)


def test_errors_of_the_log_density_alone_shorten_the_steps():
    """Nothing moves, and the log density's rate is a steep wave."""
    still = AdaptiveSteps(1e-6, 1e-6).integrate(lambda t, x, rows: (0 * x, 50 * torch.sin(50 * t)), start(), to=1)
    torch.testing.assert_close(still.change, torch.full((4,), 1 - math.cos(50), dtype=torch.float64), rtol=0, atol=1e-4)


def test_samples_that_run_out_of_steps_are_marked():
    found = AdaptiveSteps(max_steps=10).integrate(stiffness, start(7), to=1)
    assert found.converged[5] and not found.converged[3] and found.evaluations[3] == 2 + 10 * 6


@pytest.mark.parametrize("integrator", [AdaptiveSteps(), FixedSteps(5)])
def test_what_is_not_finite_is_marked_soon_and_harms_no_other(integrator):
    def broken(t, positions, rows):
        velocity, rate = stiffness(t, positions, 2 * rows)
        return torch.where(rows[:, None, None] == 1, torch.nan, velocity), rate

    found = integrator.integrate(broken, start(3), to=1)
    assert found.converged.tolist() == [True, False, True]
    assert found.positions[[0, 2]].isfinite().all() and found.evaluations[1] < 200
    # beyond a wall in the middle of the way
    walled = integrator.integrate(lambda t, x, rows: (torch.where(t[:, None, None] > 0.5, torch.nan, x), 0 * t), start(3), to=1)
    assert not walled.converged.any()


def test_an_empty_batch_is_integrated_to_nothing():
    for integrator in (AdaptiveSteps(), FixedSteps(2)):
        assert integrator.integrate(linear, torch.zeros(0, 2, 3), to=1).positions.shape == (0, 2, 3)


def test_settings_that_lead_nowhere_are_refused():
    with pytest.raises(ConfGFError, match="in 0 steps; give 1 or more"):
        FixedSteps(0)
    with pytest.raises(ConfGFError, match="'euler' is unknown; use rk4 or heun"):
        FixedSteps(3, "euler")
    with pytest.raises(ConfGFError, match="atol = 0"):
        AdaptiveSteps(atol=0)
    with pytest.raises(ConfGFError, match="at most 0 of them"):
        AdaptiveSteps(max_steps=0)
