"""Devices that are not there: torch computes types, shapes and devices alone, and raises where an operation mixes devices."""

import contextlib
import itertools
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from openmm_confgf import devices
from openmm_confgf.generators.network.row_batches import PAIRS_PER_BATCH

FAKE = torch.device("lazy", 0)
"""Stands in for ``cuda``, of which a CPU build of torch takes neither a slice nor a gradient: a device like any other, and not the CPU."""

_CPUGenerator = torch.Generator
aten = torch.ops.aten


class Answers(TorchDispatchMode):
    """What a device would say: any number is `number` (true, for a condition), and any mask has `number` true entries, at the start."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is aten._local_scalar_dense.default:
            return torch.tensor(self.number).to(args[0].dtype).tolist()
        if func is aten.nonzero.default:
            return torch.zeros(self.number, args[0].ndim, dtype=torch.int64, device=args[0].device)
        if func is aten.bincount.default:
            return torch.zeros(args[2], dtype=torch.int64, device=args[0].device)
        if func is aten.index.Tensor and any(index is not None and index.dtype == torch.bool for index in args[1]):
            (mask,) = args[1]
            return args[0].new_zeros(self.number, *args[0].shape[mask.ndim :])
        return func(*args, **(kwargs or {}))


class Arrays(TorchFunctionMode):
    """What a tensor's array would be: zeros; an error, as from torch, where it is not on the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.numpy:
            (tensor,) = args
            if tensor.device.type != "cpu":
                raise TypeError(f"can't convert {tensor.device} device type tensor to numpy.")
            return np.zeros(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        return func(*args, **(kwargs or {}))


class FakeCuda:
    """A CUDA device for the package while a test runs.

    Modules may be brought there anywhere; other tensors are made, moved and asked within `answering`.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    """

    def __init__(self, monkeypatch):
        self._mode, self._to = FakeTensorMode(allow_non_fake_inputs=True), nn.Module.to
        there = SimpleNamespace(is_available=lambda: True)
        monkeypatch.setattr(
            devices, "torch", SimpleNamespace(cuda=there, device=lambda name: FAKE if name == "cuda" else torch.device(name))
        )
        monkeypatch.setitem(PAIRS_PER_BATCH, FAKE.type, PAIRS_PER_BATCH["cuda"])
        monkeypatch.setattr(nn.Module, "to", lambda module, *where: self._brought(module, *where))
        monkeypatch.setattr(torch, "Generator", self._generator)
        self.generators = []

    @contextlib.contextmanager
    def answering(self, number=1):
        """Questions are answered with this number."""
        with self._mode, Answers(number), Arrays():
            yield

    def _brought(self, module, *where):
        if where[0] != FAKE:
            return self._to(module, *where)
        if any(isinstance(tensor, FakeTensor) for tensor in itertools.chain(module.parameters(), module.buffers())):
            return module  # it is there, and torch cannot replace fake parameters
        with self._mode:
            return self._to(module, *where)

    def _generator(self, device):
        self.generators.append(device)
        return _CPUGenerator()
