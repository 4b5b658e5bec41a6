import pytest

from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.earlier import taken_apart

RELAXED = {"relaxation": {"forcefield": "MMFF94s", "rdkit": "2026.03"}}
SCORED = {"minimized": False, "forcefield": "openff-2.2.1", "charges": "NAGL", "system_sha256": "ab"}


@pytest.mark.parametrize(
    ("told", "settings", "target", "diagnostics"),
    [
        ({}, {}, None, {}),
        ({"calls": 14, "repaired": 2, "ways": {"etkdg": 4}}, {"calls": 14}, None, {"repaired": 2, "ways": {"etkdg": 4}}),
        (RELAXED, RELAXED, Target("MMFF94s"), {}),
        (SCORED, {"minimized": False, "charges": "NAGL"}, Target("openff-2.2.1", "ab"), {}),
        (RELAXED | SCORED, RELAXED | {"minimized": False, "charges": "NAGL"}, Target("openff-2.2.1", "ab"), {}),
        (
            SCORED | {"temperature": 310.0, "ladder": [310.0], "r_hat_energy": 1.2, "picoseconds": 3.0, "exchange_acceptance": []},
            {"minimized": False, "charges": "NAGL", "temperature": 310.0, "ladder": [310.0]},
            Target("openff-2.2.1", "ab", 310),
            {"r_hat_energy": 1.2, "picoseconds": 3.0, "exchange_acceptance": []},
        ),
        (SCORED | RELAXED | {"temperature": 310.0}, None, Target("openff-2.2.1", "ab"), {}),  # minima have no temperature
    ],
)
def test_each_to_its_place(told, settings, target, diagnostics):
    found = taken_apart(told)
    assert found[1:] == (target, diagnostics)
    assert settings is None or found[0] == settings


def test_what_no_version_wrote():
    with pytest.raises((AttributeError, TypeError)):
        taken_apart({"relaxation": 3})
    with pytest.raises(ConfGFError, match="temperature"):
        taken_apart(SCORED | {"temperature": -1})
