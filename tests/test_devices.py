import numpy as np
import pytest
import torch

from openmm_confgf.devices import device_name, multiplies_bfloat16, resolve_device
from openmm_confgf.errors import PlatformError
from openmm_confgf.generators import generate


@pytest.mark.parametrize("given", ["cpu", torch.device("cpu")])
def test_the_cpu(given):
    assert resolve_device(given) == torch.device("cpu")
    assert len(generate("CCO", 1, generator="etkdg", device=given)) == 1


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    for available, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert resolve_device("auto").type == kind


@pytest.mark.parametrize("given", ["cuda:1", 1, torch.device("cuda", 1)])
def test_one_cuda_device_of_several(monkeypatch, given):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device(given) == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(PlatformError, match="no CUDA device 1 here; there are 1, counted from 0: give cuda:0 or less"):
        resolve_device(given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlatformError, match="finds no CUDA device"):
        resolve_device(given)


@pytest.mark.parametrize(
    "wrong", ["tpu", "cuda:", "cuda:x", "CUDA", "", "cpu:0", -1, True, None, 1.0, np.array(["cpu"]), torch.device("meta")]
)
def test_what_is_no_device(wrong):
    for call in (resolve_device, device_name, lambda device: generate("CCO", 1, generator="etkdg", device=device)):
        with pytest.raises(PlatformError, match="is unknown; give auto, cpu, cuda, or cuda:1"):
            call(wrong)


@pytest.mark.parametrize(
    ("known", "fast"),
    [({"avx512_bf16": True, "amx_bf16": False}, True), ({"amx_bf16": True}, True), ({"avx512_f": True, "avx2": True}, False)],
)
def test_which_processors_multiply_bfloat16(monkeypatch, known, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert multiplies_bfloat16(torch.device("cpu")) is fast
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not multiplies_bfloat16(torch.device("cpu"))
