import json
import sys

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_confgf.checksums import sha256_of
from openmm_confgf.installation import Diagnosis, PlatformReport, check_weights, compare_platforms, diagnose, small_system
from openmm_confgf.models.cards import Card, CardTarget, available_weights
from openmm_confgf.models.confgf import ConfGF
from openmm_confgf.models.weights import save_weights


def test_every_platform_and_precision_is_reported_and_agrees_with_reference():
    reports = compare_platforms()
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    assert list(dict.fromkeys(r.platform for r in reports)) == names
    for report in reports:
        assert report.agrees or report.error, report
    reference = next(r for r in reports if r.platform == "Reference")
    assert reference.deviation == 0.0 and reference.precision is None


def test_the_built_in_energy_is_openmms_own():
    system, positions = small_system()
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    expected = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert next(r.energy for r in compare_platforms() if r.platform == "Reference") == pytest.approx(expected, abs=1e-9)
    # every kind of force takes part, so that a platform that drops one is seen
    for force in range(system.getNumForces()):
        partial = openmm.XmlSerializer.clone(system)
        partial.removeForce(force)
        other = openmm.Context(partial, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        other.setPositions(positions)
        without = other.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        assert abs(expected - without) > 1.0


def test_altered_and_incomplete_weights_are_named(tmp_path):
    card = Card("good", "ConfGF", {}, "", [1, 6], 3, 9, [], [], {})
    save_weights(tmp_path / "good.safetensors", ConfGF(), card)
    tensors, text = (tmp_path / "good.safetensors").read_bytes(), (tmp_path / "good.json").read_text()
    (tmp_path / "truncated.safetensors").write_bytes(tensors[:-100])
    (tmp_path / "truncated.json").write_text(text)
    (tmp_path / "cardless.safetensors").write_bytes(tensors)
    (tmp_path / "misnamed.safetensors").write_bytes(tensors)
    (tmp_path / "misnamed.json").write_text(text.replace('"ConfGF"', '"ConfGH"'))
    (tmp_path / "lonely.json").write_text(text)
    found = {report.name: report for report in check_weights(tmp_path)}
    assert found["good"].error is None and found["good"].sha256 == sha256_of(tmp_path / "good.safetensors")
    assert "truncated or altered" in found["truncated"].error
    assert "no card" in found["cardless"].error
    assert "ConfGH" in found["misnamed"].error
    assert found["lonely"].sha256 is None and "cannot be read" in found["lonely"].error


def test_weights_that_need_a_package_of_an_extra_are_no_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmdnet.models.torchmd_et", None)
    found = {report.name: report for report in check_weights(available_weights()[0].parent)}
    assert (found["confgf-potential"].error, found["confgf-potential"].missing) == (None, "torchmd-net")
    assert found["confgf"].missing is None


def test_the_target_of_weights_is_told(tmp_path):
    card = Card("aimed", "ConfGF", {}, "", [1, 6], 3, 9, [], [], {}, target=CardTarget("openff-2.2.1", 300.0))
    save_weights(tmp_path / "aimed.safetensors", ConfGF(), card)
    assert [(report.error, report.target) for report in check_weights(tmp_path)] == [(None, "openff-2.2.1 at 300 K")]


def test_diagnosis_of_this_installation_is_json_and_without_problems():
    found = diagnose()
    assert json.loads(json.dumps(found.to_dict(), default=str))["command"] == "doctor"
    assert openmm.version.version.startswith(found.versions["openmm"])
    assert found.problems() == []


def test_problems_name_what_is_wrong():
    ok = PlatformReport("Reference", None, 1.0, 0.0, 0.0, True)
    wrong = PlatformReport("CPU", None, 2.0, 1.0, 3.0, False)
    absent = PlatformReport("CUDA", "mixed", np.nan, np.nan, np.nan, False, "no device")
    assert Diagnosis({}, [ok, absent], [], False, []).problems() == []
    assert Diagnosis({"rdkit": None}, [ok, wrong], [], False, []).problems() == [
        "platform CPU (None) disagrees with Reference",
        "rdkit is not installed",
    ]
    assert "no OpenMM platform works" in Diagnosis({}, [absent], [], False, []).problems()
