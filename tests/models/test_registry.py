import dataclasses

import pytest
import torch
from torch import nn

from openmm_confgf.errors import ConfGFError, WeightsError
from openmm_confgf.models import registry
from openmm_confgf.models.confgf import ConfGFConfig
from openmm_confgf.models.field import FieldConfig, PairField
from openmm_confgf.models.registry import NETWORKS, Architecture, build_network, describe_network, register_network

SMALL = {"pair_width": 8, "atom_width": 8, "vectors": 2, "references": 2, "graph_layers": 1, "blocks": 1}


class Other(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "NETWORKS", dict(NETWORKS))


@pytest.mark.parametrize(("name", "sizes"), [("PairField", SMALL), ("ConfGF", {})])
def test_a_network_is_built_from_what_a_card_says_of_it(name, sizes):
    network = build_network(name, sizes)
    assert describe_network(network) == (name, sizes)
    assert type(network) is NETWORKS[name].network


def test_sizes_that_are_not_given_have_their_defaults():
    torch.manual_seed(0)
    network = build_network("PairField")
    torch.manual_seed(0)
    expected = PairField()
    assert describe_network(network)[1] == dataclasses.asdict(FieldConfig())
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), expected.state_dict().values(), strict=True))


def test_unknown_networks_name_those_that_are_here():
    with pytest.raises(
        WeightsError,
        match=r"'Oracle' is unknown, only PairField, ConfGF, AutoregressiveDensity, EGNN, EnergyField are here; update this package",
    ):
        build_network("Oracle")
    with pytest.raises(WeightsError, match="Other has no name"):
        describe_network(Other(ConfGFConfig()))


def test_a_network_has_one_name_and_a_name_one_network(own_registry):
    architecture = Architecture(ConfGFConfig, Other)
    register_network("Other", architecture)
    register_network("Other", architecture)  # as a module that is imported again does
    assert describe_network(build_network("Other")) == ("Other", {})
    with pytest.raises(ConfGFError, match="'PairField' is PairField already"):
        register_network("PairField", architecture)
    for name, other in (("Another", architecture), ("Other", Architecture(FieldConfig, Other))):
        with pytest.raises(ConfGFError, match="'Other' is Other already"):
            register_network(name, other)
    assert list(registry.NETWORKS) == ["PairField", "ConfGF", "AutoregressiveDensity", "EGNN", "EnergyField", "Other"]


@dataclasses.dataclass(frozen=True)
class NoDefault:
    width: int


@dataclasses.dataclass(frozen=True)
class NoInt:
    width: float = 0.5


@pytest.mark.parametrize(("config", "message"), [(NoDefault, "defaults"), (dict, "no dataclass"), (NoInt, "width of 'Other' are no int")])
def test_sizes_that_no_card_could_hold_are_refused(own_registry, config, message):
    with pytest.raises(ConfGFError, match=message):
        register_network("Other", Architecture(config, Other))
    assert "Other" not in registry.NETWORKS
