import pytest
import torch

from openmm_confgf.benchmarks.arithmetic import count_operations

X, M = torch.ones(10), torch.ones(4, 5)


@pytest.mark.parametrize(
    ("call", "operations"),
    [
        (lambda: X + X * X, 20),
        (lambda: X / X, 40),
        (lambda: torch.exp(X).sqrt(), 120),
        (lambda: X**2, 10),
        (lambda: X**6, 50),
        (lambda: X**2.5, 80),
        (lambda: X.sum(), 10),
        (lambda: torch.zeros(2).index_add(0, torch.zeros(10, dtype=torch.long), X), 10),
        (lambda: torch.where(X > 0, X, -X), 30),
        (lambda: M @ M.T, 2 * 4 * 4 * 5),
        (lambda: torch.cat([X, X]).reshape(4, 5).clone()[1], 0),
    ],
)
def test_each_operation_has_its_price(call, operations):
    assert count_operations(call) == operations


def test_the_backward_pass_counts():
    def gradient():
        x = X.clone().requires_grad_(True)
        torch.autograd.grad((x * x).sum(), x)

    # x x, the sum, two products of the chain rule and their sum
    assert count_operations(gradient) == 10 + 10 + 20 + 10
