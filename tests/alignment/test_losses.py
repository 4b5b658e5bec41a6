"""Losses of an alignment against closed forms."""

import math

import pytest
import torch

from openmm_confgf.alignment.losses import boltzmann_target, dpo_loss, eba_loss, effective_winners
from openmm_confgf.errors import ConfGFError
from openmm_confgf.units import kT

T = 300.0


@pytest.fixture
def energies():
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 * kT(T)


@pytest.fixture
def model_energies():
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_the_least_loss_is_at_the_boltzmann_distribution(energies, alpha):
    model = torch.zeros_like(energies, requires_grad=True)
    optimizer = torch.optim.LBFGS([model], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = eba_loss(model, energies, temperature=T, alpha=alpha)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = torch.softmax(-alpha * model.detach(), -1)
    wanted = torch.softmax(-energies / kT(T), -1)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_the_least_loss_is_the_entropy_of_the_target(energies):
    target = boltzmann_target(energies, temperature=T)
    entropy = -(target * target.log()).sum(-1).mean()
    assert eba_loss(energies / kT(T), energies, temperature=T).item() == pytest.approx(entropy.item(), abs=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda m, e: eba_loss(m, e, temperature=T, alpha=0.7, lengths=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])),
        lambda m, e: dpo_loss(m[:, :2], e[:, :2], alpha=0.7, reference_energies=e[:, 2:]),
    ],
    ids=["eba", "dpo"],
)
def test_gradients_are_those_of_finite_differences(loss, model_energies, energies):
    assert torch.autograd.gradcheck(lambda m: loss(m, energies), model_energies.requires_grad_(True), eps=1e-6, atol=1e-8)


def test_constants_of_a_molecule_change_nothing(model_energies, energies):
    shift = torch.tensor([[1e3], [-50.0], [0.0], [7.0], [2.0]], dtype=torch.float64)
    before = eba_loss(model_energies, energies, temperature=T)
    assert torch.allclose(eba_loss(model_energies, energies + shift, temperature=T), before, atol=1e-10)
    assert torch.allclose(eba_loss(model_energies + shift, energies, temperature=T), before, atol=1e-10)
    pairs = dpo_loss(model_energies[:, :2], energies[:, :2])
    assert torch.allclose(dpo_loss(model_energies[:, :2] + shift, energies[:, :2] - shift), pairs, atol=1e-10)


def test_two_conformations_at_zero_kelvin_are_preferences_without_reference(model_energies, energies):
    two, model = energies[:, :2], model_energies[:, :2]
    cold = eba_loss(model, two, temperature=1e-6, alpha=0.4)
    assert cold.item() == pytest.approx(dpo_loss(model, two, alpha=0.8).item(), abs=1e-12)


def test_two_conformations_have_the_gradient_derived_by_hand():
    # d/dE_0 of -p log s(d) - (1-p) log s(-d), d = -alpha (E_0 - E_1): alpha (p - s(d))
    energies, alpha = torch.tensor([[0.0, 2.0]], dtype=torch.float64), 0.6
    model = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    eba_loss(model, energies, temperature=T, alpha=alpha).backward()
    p = 1 / (1 + math.exp(-2.0 / kT(T)))
    s = 1 / (1 + math.exp(alpha * 0.7))
    assert model.grad[0].tolist() == pytest.approx([alpha * (p - s), -alpha * (p - s)], abs=1e-12)


def test_a_reference_is_where_preferences_start():
    energies = torch.tensor([[0.0, 5.0]])
    same = torch.tensor([[3.0, -8.0]])
    assert dpo_loss(same, energies, reference_energies=same).item() == pytest.approx(math.log(2))


def test_what_has_no_energy_is_unlearnt_and_rows_without_any_are_left_out():
    energies = torch.tensor([[0.0, math.inf], [math.inf, math.inf]])
    model = torch.zeros(2, 2, requires_grad=True)
    loss = eba_loss(model, energies, temperature=T)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert model.grad[0, 1] < 0 < model.grad[0, 0]  # down the gradient the second one's energy rises
    assert (model.grad[1] == 0).all()
    nothing = eba_loss(model, torch.full((2, 2), math.inf), temperature=T)
    assert nothing.item() == 0 and nothing.requires_grad


def test_pairs_of_equal_energies_say_nothing():
    model = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    energies = torch.tensor([[4.0, 4.0], [math.inf, math.inf]])
    loss = dpo_loss(model, energies)
    loss.backward()
    assert loss.item() == 0 and (model.grad == 0).all()


def test_the_target_of_a_long_molecule_is_softer(energies):
    plain = boltzmann_target(energies, temperature=T)
    soft = boltzmann_target(energies, temperature=T, lengths=torch.full((5,), 16.0))
    assert torch.allclose(soft, torch.softmax(-energies / (4 * kT(T)), -1))
    assert (effective_winners(soft) > effective_winners(plain)).all()
    assert torch.allclose(boltzmann_target(energies, temperature=math.inf), torch.full_like(energies, 0.25))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: eba_loss(torch.zeros(2, 3), torch.zeros(2, 2), temperature=T), "give \\(B, K\\) of both"),
        (lambda: eba_loss(torch.zeros(2, 1), torch.zeros(2, 1), temperature=T), "at least two conformations"),
        (lambda: eba_loss(torch.zeros(1, 2), torch.tensor([[math.nan, 0.0]]), temperature=T), "NaN or -inf"),
        (lambda: eba_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0.0), "above 0 K"),
        (lambda: eba_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=T, lengths=torch.zeros(1)), "length is not above 0"),
        (lambda: dpo_loss(torch.zeros(2, 3), torch.zeros(2, 3)), "preferences are between 2"),
        (lambda: dpo_loss(torch.zeros(1, 2), torch.tensor([[math.nan, 0.0]])), "energy is NaN"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ConfGFError, match=message):
        call()
