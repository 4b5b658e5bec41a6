import numpy as np
import openmm
import pytest

from openmm_confgf.energies import SystemBuilder
from openmm_confgf.energies.scoring import score
from openmm_confgf.errors import ForceFieldError, PlatformError, WrongTypeError
from openmm_confgf.generators.etkdg import ETKDGGenerator
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
    settings = score(ensemble, "openff-2.2.1", platform="CPU", properties={"Threads": 2}).provenance.settings
    assert settings["forcefield"] == "openff-2.2.1" and settings["platform"] == "CPU" and settings["minimized"] is False
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
    assert np.isposinf(scored.energy[[1, 3]]).all() and np.isfinite(scored.energy[[0, 2, 4]]).all()
    np.testing.assert_array_equal(scored.positions[1], bad.positions[1])


def test_a_minimum_of_the_other_hand_is_not_ok(ensemble, openff):
    mirrored = ensemble.replace(positions=ensemble.positions * [1, 1, -1])
    assert (score(mirrored, openff, minimize=True).status == Status.WRONG_STEREO).all()


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
    assert own.provenance.settings["forcefield"] == "openmm.System" and own.provenance.settings["charges"] is None
    assert own.provenance.settings["system_sha256"] == named.provenance.settings["system_sha256"]
    assert named.provenance.settings["charges"].startswith("NAGL AM1-BCC")
    minimised = score(ensemble, lambda graph: system, minimize=True, platform="Reference")
    assert minimised.counts() == {"OK": 5} and minimised.provenance.settings["system_sha256"] == own.provenance.settings["system_sha256"]


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
