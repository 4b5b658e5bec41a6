"""Where torch computes, and why it cannot compile there."""

from __future__ import annotations

import re
import warnings

import torch

from .errors import PlatformError

Device = str | int | torch.device
"""``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, the number of a CUDA device, or torch's own object."""

_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""What torch calls the instructions for it: of Intel's for servers, and of AMD's since Zen 4."""


def device_name(device: Device) -> str:
    """A device as text, ``"cuda:1"``, once it is known to be spelt right; whether it is there is not looked at.

    Parameters
    ----------
    device : str, int or torch.device
        As `Device` lists them.

    Returns
    -------
    str
        ``"auto"`` stays so.

    Raises
    ------
    PlatformError
        If it is none of `Device`.
    """
    name = f"cuda:{device}" if isinstance(device, int) and not isinstance(device, bool) else str(device)
    if not isinstance(device, Device) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise PlatformError(f"The device {device!r} is unknown; give auto, cpu, cuda, or cuda:1 for the second CUDA device.")
    return name


def resolve_device(device: Device) -> torch.device:
    """A torch device: CUDA where there is one for ``"auto"``.

    Parameters
    ----------
    device : str, int or torch.device
        As `Device` lists them.

    Raises
    ------
    PlatformError
        If it is none of `Device`, or there is no such device here.
    """
    name = device_name(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.device(name)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise PlatformError("torch finds no CUDA device; use --device cpu, or install a CUDA build of torch.")
    if where.index is not None and where.type == "cuda" and where.index >= (count := torch.cuda.device_count()):
        raise PlatformError(
            f"There is no CUDA device {where.index} here; there are {count}, counted from 0: give cuda:{count - 1} or less."
        )
    return where


def tell_of_halves() -> None:
    """Warn, once in a process, that a GPU's memory does not hold what it was given, so that work goes on with half as much at once."""
    warnings.warn("The memory of the GPU does not hold so many conformations at once; they are computed in halves.", stacklevel=2)


def compile_problem(error: Exception) -> str:
    """What a `torch._dynamo.exc.TorchDynamoException` says is missing, in its first line.

    Parameters
    ----------
    error : Exception
        Where it wraps another one, that one's message is taken.
    """
    return str(getattr(error, "inner_exception", error)).strip().splitlines()[0]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware, at least twice as fast as those of float32.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        known = torch.cpu.get_capabilities()
    except AttributeError:  # torch before 2.10
        return False
    return any(known.get(name) for name in _BFLOAT16)
