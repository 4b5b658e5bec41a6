"""Where torch computes, and why it cannot compile there."""

from __future__ import annotations

import torch

from .errors import PlatformError


def resolve_device(device: str) -> torch.device:
    """A torch device: CUDA where there is one for ``"auto"``.

    Raises
    ------
    PlatformError
        If it is not ``"auto"``, ``"cpu"`` or ``"cuda"``, or there is no CUDA device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise PlatformError(f"The device {device!r} is unknown; give auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise PlatformError("torch finds no CUDA device; use --device cpu, or install a CUDA build of torch.")
    return torch.device(device)


def compile_problem(error: Exception) -> str:
    """What a `torch._dynamo.exc.TorchDynamoException` says is missing, in its first line."""
    return str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
