import dataclasses
from typing import ClassVar

import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.models.registry import NETWORKS
from openmm_confgf.training.objectives import registry
from openmm_confgf.training.objectives.base import Part
from openmm_confgf.training.objectives.denoising import Denoising
from openmm_confgf.training.objectives.distance_scores import DistanceScores
from openmm_confgf.training.objectives.registry import PRESETS, find_objective, presets_of, register_objective


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "PRESETS", dict(PRESETS))


@dataclasses.dataclass(frozen=True)
class OfNobody(Denoising):
    architecture: ClassVar[str] = "Nobody"


@dataclasses.dataclass(frozen=True)
class Clashing(Denoising):
    parts: ClassVar[tuple[Part, ...]] = tuple(Part(name, name) for name in ("loss", "val_loss", "val_x", "val_x", "val_y"))


def test_every_preset_trains_a_network_that_cards_can_name():
    assert {name: objective.architecture for name, objective in PRESETS.items()} == {
        "confgf": "PairField",
        "confgf-paper": "ConfGF",
        "confgf-potential": "EnergyField",
    }
    assert all(objective.architecture in NETWORKS for objective in PRESETS.values())
    for objective in PRESETS.values():
        names = [part.name for part in objective.parts]
        assert len(set(names)) == len(names) and all(name.startswith("val_") for name in names)


def test_a_network_can_have_several_presets_of_which_the_first_is_its_default(own_registry):
    weak = Denoising(sigma_max=0.3)
    register_objective("confgf-weak", weak)
    register_objective("confgf-weak", Denoising(sigma_max=0.3))  # as a module that is imported again does
    assert presets_of("PairField") == ["confgf", "confgf-weak"] and presets_of("ConfGF") == ["confgf-paper"]
    assert find_objective("confgf-weak") is not find_objective("confgf") == Denoising()
    with pytest.raises(ConfGFError, match="'confgf-weak' is another objective already"):
        register_objective("confgf-weak", DistanceScores())


def test_what_is_unknown_is_refused_with_what_is_known(own_registry):
    with pytest.raises(ConfGFError, match="'magic' is unknown; use one of confgf, confgf-paper, confgf-potential"):
        find_objective("magic")
    with pytest.raises(ConfGFError, match=r"No preset trains a Nobody, only ConfGF, EnergyField, PairField; register"):
        presets_of("Nobody")
    with pytest.raises(ConfGFError, match="unknown network 'Nobody'; register it first"):
        register_objective("nobody", OfNobody())
    with pytest.raises(ConfGFError, match="parts loss, val_loss, val_x, val_x; give each a name of its own"):
        register_objective("clashing", Clashing())
    assert list(registry.PRESETS) == ["confgf", "confgf-paper", "confgf-potential"]
