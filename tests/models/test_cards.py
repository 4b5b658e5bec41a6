import dataclasses
import json
import math

import pytest

from openmm_confgf.errors import ConfGFError, WeightsError
from openmm_confgf.models.cards import Card, CardTarget, read_card

CARD = Card("mine", "ConfGF", {}, "", [1, 6], 3, 9, ["abc"], [], {"steps": 1})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.json"


@pytest.mark.parametrize("target", [None, CardTarget("openff-2.2.1", 300.0), CardTarget("amber14-all.xml", 310)])
def test_a_card_is_read_as_it_was_written(path, target):
    card = dataclasses.replace(CARD, target=target)
    path.write_text(card.to_json())
    assert read_card(path) == card


def test_a_card_from_before_targets_has_none(path):
    path.write_text(json.dumps({name: value for name, value in dataclasses.asdict(CARD).items() if name != "target"}))
    assert read_card(path) == CARD


def test_a_target_is_named_in_a_few_words():
    assert str(CardTarget("openff-2.2.1", 298.15)) == "openff-2.2.1 at 298.15 K"
    with pytest.raises(ConfGFError, match="temperature of a target is -1; give"):
        CardTarget("openff-2.2.1", -1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("elements", True), ("elements", [1, "6"]), ("elements", [True]), ("trained_on", 3), ("trained_on", [1]), ("min_atoms", None)),
        *(("max_atoms", "9"), ("name", []), ("sha256", None), ("data", [[]]), ("training", []), ("parent", "confgf"), ("config", [])),
        *(("target", "openff-2.2.1"), ("target", []), ("target", {}), ("target", {"forcefield": "openff-2.2.1"})),
        *(("target", {"forcefield": f, "temperature": t}) for f, t in (("", 300.0), (None, 300.0), (["a"], 300.0), ("gaff", 0.0))),
        *(("target", {"forcefield": "gaff", "temperature": t}) for t in (-1, "300", None, True, math.nan, math.inf, 10**400)),
        *(("target", {"forcefield": "gaff", "temperature": 300.0, **more}) for more in ({"pressure": 1.0}, {"inputs": ""}, {"inputs": 1})),
        *(("config", {"blocks": 10**9}), ("config", {"blocks": 0}), ("config", {"blocks": True}), ("config", {"blocks": "x"})),
    ],
)
def test_cards_with_other_types_or_sizes_are_refused_in_one_line(path, field, value):
    path.write_text(json.dumps(dataclasses.asdict(CARD) | {field: value}))
    with pytest.raises(WeightsError, match=f"is not a weights card .*{'blocks|config' if field == 'config' else field}") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"name": "x"}', "[" * 100_000, "\x00"])
def test_other_texts_are_no_cards(path, text):
    path.write_text(text)
    with pytest.raises(WeightsError, match="is not a weights card"):
        read_card(path)
