"""How much arithmetic energies take, and how much of it a processor can do: what a measured time is to be compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

COSTS = {
    **dict.fromkeys(("div", "sqrt", "rsqrt", "reciprocal"), 4),
    **dict.fromkeys(
        ("exp", "log", "sin", "cos", "tan", "tanh", "acos", "asin", "atan2", "atan", "pow", "erf", "erfc", "expm1", "log1p"), 8
    ),
    **dict.fromkeys(("addcmul", "linalg_cross", "tanh_backward"), 3),
}
"""Floating-point operations of one element: 4 for a division or a root and 8 for a transcendental function, as McMahon counts them (The
Livermore Fortran Kernels, 1986), and 1 for any other elementwise operation: sums, products, comparisons, selections. Integer powers are
products."""

_REDUCTIONS = ("sum", "mean", "amax", "cumsum", "index_add", "index_put", "scatter_add")
_MOVES = ("clone", "copy", "_to_copy", "fill", "detach", "alias", "lift_fresh")

_ELEMENTS = 2**14
_POLYNOMIALS, _DEGREE = 12, 16
_PEAK_SECONDS = 0.3


def count_operations(call: Callable[[], Any]) -> int:
    """Floating-point operations that torch executes in a call, by `COSTS`; autograd's are among them, compiled code's are not seen.

    A reduction counts each element that it reads, a matrix product ``2 m n k``, moving data nothing.

    Parameters
    ----------
    call : callable
        Without arguments; it is called once.
    """
    with _Counting() as counting:
        call()
    return counting.operations


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("mm", "bmm", "matmul", "mv", "addmm"):
            self.operations += 2 * result.numel() * args[-2].shape[-1]
        elif name in _REDUCTIONS:
            self.operations += max(x.numel() for x in args if isinstance(x, torch.Tensor))
        elif isinstance(result, torch.Tensor) and (name in COSTS or torch.Tag.pointwise in func.tags) and name not in _MOVES:
            self.operations += _cost(name, args) * result.numel()
        return result


def _cost(name: str, args: tuple[Any, ...]) -> int:
    if name == "pow" and isinstance(args[1], (int, float)) and float(args[1]).is_integer():
        return max(1, abs(int(args[1])) - 1)
    return COSTS.get(name, 1)


def peak_gflops() -> float:
    """Billions of float32 operations a second that compiled elementwise code reaches here, on as many threads as torch has now.

    Twelve polynomials of degree 16 of each of 2^14 numbers, which stay in the cache, side by side so that none waits for its own sums;
    the fastest of some thousand calls, each too short to be interrupted by other processes.
    """
    # each thread has as much to do as one has alone
    x = torch.linspace(-0.5, 0.5, _ELEMENTS * torch.get_num_threads())
    # traced first: compiled functions of one source share a limit of how often they are compiled anew
    code = torch.compile(make_fx(_polynomials)(x), dynamic=False)
    with torch.no_grad():
        code(x)
        fastest, end = float("inf"), time.perf_counter() + _PEAK_SECONDS
        while (start := time.perf_counter()) < end:
            code(x)
            fastest = min(fastest, time.perf_counter() - start)
    return x.numel() * _POLYNOMIALS * (2 * _DEGREE + 1) / fastest / 1e9


def _polynomials(x: torch.Tensor) -> torch.Tensor:
    values = [torch.full_like(x, 1.0 + 0.1 * k) for k in range(_POLYNOMIALS)]
    for power in range(_DEGREE):
        values = [value * x + (0.5 + 0.01 * (k + power)) for k, value in enumerate(values)]
    return sum(values, torch.zeros_like(x))
