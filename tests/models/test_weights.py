import dataclasses
import json

import pytest
import torch

from openmm_confgf.errors import WeightsError
from openmm_confgf.models.cards import Card, available_weights, read_card
from openmm_confgf.models.confgf import ConfGF
from openmm_confgf.models.weights import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    net = ConfGF()
    card = Card("mine", "ConfGF", {}, "", [1, 6], 3, 9, ["abc"], [], {"steps": 1})
    return net, save_weights(tmp_path / "mine.safetensors", net, card), tmp_path / "mine.safetensors"


def test_weights_and_card_come_back_as_they_were(saved):
    net, card, path = saved
    loaded, loaded_card = load_weights(path)
    assert loaded_card == card and len(card.sha256) == 64
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), loaded.state_dict().values(), strict=True))
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_truncated_or_altered_weights_are_refused(saved, damage):
    path = saved[2]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsError, match="truncated or altered"):
        load_weights(path)


def test_weights_of_another_network_are_refused(saved):
    _, card, path = saved
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(card) | {"architecture": "PairField"}))
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(path)
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(card) | {"architecture": "Oracle"}))
    with pytest.raises(WeightsError, match="Oracle"):
        load_weights(path)


def test_missing_files_are_named(saved, tmp_path):
    saved[2].unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(saved[2])
    with pytest.raises(WeightsError, match=r"one of: .*confgf"):
        load_weights(tmp_path / "none.safetensors")


def test_a_pickle_is_never_loaded(saved):
    _, card, path = saved
    torch.save({"weights": 1}, path)
    import hashlib

    forged = dataclasses.replace(card, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(forged)))
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(path)


@pytest.mark.parametrize("card", available_weights(), ids=lambda card: card.stem)
def test_shipped_weights_load_and_their_card_says_what_they_are(card):
    if read_card(card).architecture == "EnergyField":
        pytest.importorskip("torchmdnet", reason="torchmd-net is not installed")
    net, read = load_weights(card.stem)
    assert read.name == card.stem and read.trained_on and read.data and {1, 6, 7, 8} <= set(read.elements)
    assert all(torch.isfinite(p).all() for p in net.parameters())
    # a density is one of something, and what was aligned follows something
    assert (read.target is not None) == (read.architecture == "AutoregressiveDensity" or "loss" in read.training)
