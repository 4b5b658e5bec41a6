import openmm_confgf.installation
from openmm_confgf.installation import Diagnosis, PlatformReport, WeightsReport


def test_json_and_exit_code_of_this_installation(run):
    outcome = run("doctor", "--json")
    report = outcome.json
    assert report["versions"]["openmm"] and {"torch", "openmm"} == set(report["cuda"])
    assert {"platform", "precision", "energy", "deviation", "agrees"} <= set(report["platforms"][0])
    assert outcome.code == (1 if report["problems"] else 0)


def test_table_for_people_and_problems_on_stderr(run, monkeypatch):
    platforms = [
        PlatformReport("Reference", None, 27.5, 0.0, 0.0, True),
        PlatformReport("CUDA", "mixed", 29.0, 1.5, 9.0, False),
        PlatformReport("OpenCL", "single", float("nan"), float("nan"), float("nan"), False, "no device"),
    ]
    aimed = WeightsReport("boltzmann", "cd" * 32, None, "openff-2.2.1 at 300 K")
    broken = Diagnosis({"openmm": "8.6"}, platforms, [], False, [WeightsReport("confgf", "ab" * 32, "altered"), aimed])
    monkeypatch.setattr(openmm_confgf.installation, "diagnose", lambda: broken)
    outcome = run("doctor")
    assert outcome.code == 1
    assert "27.500000" in outcome.out and "no device" in outcome.out and "CUDA: torch no, OpenMM no" in outcome.out
    assert "openff-2.2.1 at 300 K" in outcome.out
    assert outcome.err.splitlines() == ["problem: platform CUDA (mixed) disagrees with Reference", "problem: weights confgf: altered"]
