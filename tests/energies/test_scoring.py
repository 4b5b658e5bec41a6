import numpy as np
import openmm
import pytest

from openmm_confgf.energies import ContextEnergy, EnergyResult, SystemBuilder
from openmm_confgf.energies.scoring import score
from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ForceFieldError, PlatformError, WrongTypeError
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def openff():
    return SystemBuilder("openff-2.2.1")


@pytest.fixture(scope="module")
def ensemble():
    return ETKDGGenerator().sample("C[C@H](O)CN", 5, seed=2)


def plain_energy(system, positions):
    """A user's own lines."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)


def test_energies_are_the_users_own_in_the_same_order(ensemble, openff):
    scored = score(ensemble, openff, platform="Reference")
    system = openff.build(ensemble.graph)
    plain = [plain_energy(system, frame) for frame in scored.positions]
    np.testing.assert_allclose(scored.energy, plain, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(scored.positions, ensemble.positions)


def test_provenance_tells_how(ensemble):
    scored = score(ensemble, "openff-2.2.1", platform="CPU", properties={"Threads": 2})
    settings = scored.provenance.settings
    assert scored.target.forcefield == "openff-2.2.1" and len(scored.target.system_sha256) == 64 and scored.target.temperature is None
    assert settings["platform"] == "CPU" and settings["minimized"] is False
    assert not {"forcefield", "system_sha256"} & set(settings)
    assert settings["platform_properties"] == {"Threads": "2"}
    assert settings["rdkit"] == ensemble.provenance.settings["rdkit"]


def test_minimised_energies_are_those_of_the_new_positions(ensemble, openff):
    before, after = (score(ensemble, openff, minimize=flag, platform="Reference") for flag in (False, True))
    assert after.counts() == {"OK": 5} and (after.energy < before.energy).all()
    system = openff.build(ensemble.graph)
    np.testing.assert_allclose(after.energy, [plain_energy(system, frame) for frame in after.positions], rtol=0, atol=1e-6)
    assert after.provenance.settings["minimized"] is True


@pytest.mark.parametrize("minimize", [False, True])
def test_bad_samples_keep_status_and_row(ensemble, openff, minimize):
    positions = ensemble.positions.copy()
    positions[3] = np.nan
    bad = ensemble.replace(positions=positions, status=np.array([0, Status.CLASH, 0, 0, 0], np.int8), energy=None)
    scored = score(bad, openff, minimize=minimize, platform="Reference")
    assert scored.status.tolist() == [0, Status.CLASH, 0, Status.NON_FINITE, 0]
    assert np.isposinf(scored.energy[3]) and np.isfinite(scored.energy[[0, 2, 4]]).all()
    np.testing.assert_array_equal(scored.positions[1], bad.positions[1])
    if minimize:
        assert np.isposinf(scored.energy[1])  # it was not evaluated
    else:
        assert scored.energy[1] == pytest.approx(plain_energy(openff.build(ensemble.graph), bad.positions[1]), abs=1e-6)


def test_a_minimum_of_the_other_hand_is_not_ok(ensemble, openff):
    mirrored = ensemble.replace(positions=ensemble.positions * [1, 1, -1])
    minima = score(mirrored, openff, minimize=True, platform="Reference")
    assert (minima.status == Status.WRONG_STEREO).all()
    system = openff.build(ensemble.graph)
    np.testing.assert_allclose(minima.energy, [plain_energy(system, frame) for frame in minima.positions], rtol=0, atol=1e-6)


def test_a_clash_costs_what_it_costs(ensemble, openff):
    """Two atoms that are not bonded, 0.04 nm apart: a large energy that is a number, and not the lowest of any ranking."""
    positions = ensemble.positions.copy()
    pair = np.argwhere(ensemble.graph.topological_distances > 4)[0]
    positions[1, pair[0]] = positions[1, pair[1]] + [0.04, 0, 0]
    status = check_conformations(ensemble.graph, positions)
    scored = score(ensemble.replace(positions=positions, status=status), openff, platform="Reference")
    assert scored.status[1] == status[1] != Status.OK and 1e3 < scored.energy[1] < np.inf
    assert scored.energy[1] == pytest.approx(plain_energy(openff.build(ensemble.graph), positions[1]), rel=1e-9)
    assert len(scored.ranked()) == 4 and scored.ranked().energy.max() < scored.energy[1]


def test_what_earlier_evaluations_said_is_said_anew(ensemble, openff):
    positions = ensemble.positions.copy()
    positions[3] = np.nan
    positions[4] *= [1, 1, -1]
    told = np.array([Status.NON_FINITE, Status.FAILED, Status.NOT_CONVERGED, Status.FAILED, Status.FAILED], np.int8)
    scored = score(ensemble.replace(positions=positions, status=told), openff, platform="Reference")
    assert scored.status.tolist() == [0, 0, Status.NOT_CONVERGED, Status.NON_FINITE, Status.WRONG_STEREO]
    assert np.isfinite(scored.energy).tolist() == [True, True, True, False, True]


def test_an_evaluation_that_raised_is_said_of_bad_rows_too(ensemble, openff, monkeypatch):
    def failing(self, positions, forces=False):
        status = np.array([Status.FAILED, Status.FAILED, Status.NON_FINITE, Status.NON_FINITE, Status.OK], np.int8)
        return EnergyResult(np.where(status == Status.OK, 1.0, np.inf), None, status)

    monkeypatch.setattr(ContextEnergy, "evaluate", failing)
    marked = ensemble.replace(status=np.array([0, Status.CLASH, 0, Status.CLASH, Status.CLASH], np.int8))
    assert score(marked, openff, platform="Reference").status.tolist() == [6, 6, Status.NON_FINITE, Status.CLASH, Status.CLASH]


def test_the_target_of_the_samples_is_kept_where_they_are_scored_in_another(ensemble, openff):
    here = score(ensemble, openff, platform="Reference").target
    sampled = ensemble.replace(target=Target("other.xml", "ab", 320))
    scored = score(sampled, openff, platform="Reference")
    assert scored.target == Target(here.forcefield, here.system_sha256, 320)
    told = {"forcefield": "other.xml", "system_sha256": "ab", "temperature": 320}
    assert scored.provenance.settings["sampled"] == told
    assert score(scored, openff, platform="Reference").provenance.settings["sampled"] == told
    minimised = score(sampled, openff, minimize=True, platform="Reference")
    assert minimised.target == here and minimised.provenance.settings["sampled"] == told
    same = score(ensemble.replace(target=Target(here.forcefield, here.system_sha256, 320)), openff, platform="Reference")
    assert "sampled" not in same.provenance.settings and "sampled" not in score(ensemble, openff).provenance.settings


def test_density_is_dropped_with_the_positions_it_belongs_to(ensemble, openff):
    dense = ensemble.replace(log_q=np.zeros(5))
    assert score(dense, openff).log_q is not None
    assert score(dense, openff, minimize=True).log_q is None


def test_an_empty_ensemble(ensemble, openff):
    assert score(ensemble.select([]), openff).energy.shape == (0,)
    assert score(ensemble.select([]), openff, minimize=True).energy.shape == (0,)


def test_bad_calls(ensemble, openff):
    with pytest.raises(ForceFieldError, match="nope"):
        score(ensemble, "nope")
    with pytest.raises(PlatformError, match="Quantum"):
        score(ensemble, openff, platform="Quantum")


def test_a_system_of_ones_own(ensemble, openff):
    system = openff.build(ensemble.graph)
    named, own = score(ensemble, openff, platform="Reference"), score(ensemble, system, platform="Reference")
    np.testing.assert_array_equal(own.energy, named.energy)
    assert own.target.forcefield == "openmm.System" and own.provenance.settings["charges"] is None
    assert own.target.system_sha256 == named.target.system_sha256
    assert named.provenance.settings["charges"].startswith("NAGL AM1-BCC")
    minimised = score(ensemble, lambda graph: system, minimize=True, platform="Reference")
    assert minimised.counts() == {"OK": 5} and minimised.target.system_sha256 == own.target.system_sha256


def test_a_system_of_another_molecule_is_refused(ensemble, openff):
    other = ETKDGGenerator().sample("C[C@H](N)CO", 1)
    assert len(other.graph) == len(ensemble.graph)
    for minimize in (False, True):
        with pytest.raises(ForceFieldError, match="in another atom order"):
            score(other, openff.build(ensemble.graph), minimize=minimize)


def test_wrong_types(ensemble):
    with pytest.raises(WrongTypeError, match="score takes an Ensemble, not a str"):
        score("CCO")
    with pytest.raises(WrongTypeError, match="an int is not taken for a force field"):
        score(ensemble, 3)
