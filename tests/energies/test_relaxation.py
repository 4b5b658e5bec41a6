import numpy as np
import openmm
import pytest
from rdkit.Chem import rdForceFieldHelpers

from openmm_confgf.energies import SystemBuilder
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.energies.scoring import score
from openmm_confgf.errors import ForceFieldError, PlatformError, WrongTypeError
from openmm_confgf.generators import RelaxedGenerator
from openmm_confgf.generators.etkdg import ETKDGGenerator, embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def ensemble():
    return embed_etkdg(MolecularGraph.from_smiles("C[C@H](O)CN"), 5, 2)


@pytest.fixture(scope="module")
def openff():
    return SystemBuilder("openff-2.2.1")


@pytest.fixture(params=["mmff94s", "openff"])
def forcefield(request):
    return request.param if request.param == "mmff94s" else request.getfixturevalue("openff")


def rms_force_of_mmff94s(ensemble):
    """kcal/mol/Angstrom, and energies in kcal/mol, from RDKit directly."""
    mol = ensemble.to_rdkit()
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    fields = [rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, confId=c.GetId()) for c in mol.GetConformers()]
    return np.array([np.sqrt(np.mean(np.square(f.CalcGrad()))) for f in fields]), np.array([f.CalcEnergy() for f in fields])


def test_mmff94s_minima_have_no_force_and_the_energy_that_is_told(ensemble):
    relaxed = relax(ensemble, "mmff94s")
    force, kcal = rms_force_of_mmff94s(relaxed)
    assert relaxed.counts() == {"OK": 5} and force.max() < 1e-2 < rms_force_of_mmff94s(ensemble)[0].min()
    np.testing.assert_allclose(relaxed.energy, kcal * 4.184, rtol=0, atol=1e-6)
    assert np.abs(relaxed.positions - ensemble.positions).max() < 0.2  # nm, not Angstrom


def test_openmm_minima_are_those_of_the_users_own_system(ensemble, openff):
    relaxed = relax(ensemble, openff, platform="Reference")
    assert relaxed.counts() == {"OK": 5}
    context = openmm.Context(openff.build(ensemble.graph), openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    for frame, energy in zip(relaxed.positions, relaxed.energy, strict=True):
        context.setPositions(frame)
        state = context.getState(energy=True, forces=True)
        assert state.getPotentialEnergy()._value == pytest.approx(energy, abs=1e-6)
        assert np.sqrt(np.mean(np.square(state.getForces(asNumpy=True)._value))) <= 5.0 * 1.001


def test_it_is_what_score_does_when_it_minimises(ensemble, openff):
    relaxed, scored = relax(ensemble, openff, platform="Reference"), score(ensemble, openff, minimize=True, platform="Reference")
    np.testing.assert_array_equal(relaxed.positions, scored.positions)
    np.testing.assert_array_equal(relaxed.energy, scored.energy)
    assert (relaxed.provenance.generator, scored.provenance.generator) == ("etkdg+openff-2.2.1", "etkdg")


@pytest.mark.parametrize(("name", "used"), [("mmff94s", "MMFF94s"), ("mmff", "MMFF94s"), ("openff-2.2.1", "openff-2.2.1")])
def test_provenance_names_the_step(ensemble, name, used):
    provenance = relax(ensemble, name).provenance
    assert provenance.generator == f"etkdg+{name}" and provenance.seed == 2
    assert provenance.settings["relaxation"]["forcefield"] == used == relax(ensemble, name).target.forcefield
    assert provenance.settings["rdkit"] == ensemble.provenance.settings["rdkit"]


def test_uff_steps_in_only_where_it_is_asked_for():
    boronic = embed_etkdg(MolecularGraph.from_smiles("CB(O)O"), 2, 0)
    assert relax(boronic, "mmff").provenance.settings["relaxation"]["forcefield"] == "UFF"
    with pytest.raises(ForceFieldError, match="MMFF94s has no parameters for 'CB.*mmff"):
        relax(boronic, "mmff94s")
    hypervalent = embed_etkdg(MolecularGraph.from_smiles("FS(F)(F)(F)(F)F"), 1, 0)
    with pytest.raises(ForceFieldError, match="Neither MMFF94s nor UFF"):
        relax(hypervalent, "mmff")


def test_bad_samples_keep_row_and_status_and_affect_no_other(ensemble, forcefield):
    positions = ensemble.positions.copy()
    positions[3] = np.nan
    bad = ensemble.replace(positions=positions, status=np.array([0, Status.CLASH, 0, 0, 0], np.int8), log_q=np.zeros(5))
    clean, relaxed = relax(ensemble, forcefield), relax(bad, forcefield)
    assert relaxed.status.tolist() == [0, Status.CLASH, 0, Status.NON_FINITE, 0]
    np.testing.assert_array_equal(relaxed.positions[1], bad.positions[1])
    np.testing.assert_array_equal(relaxed.positions[[0, 2, 4]], clean.positions[[0, 2, 4]])
    assert np.isposinf(relaxed.energy[[1, 3]]).all() and relaxed.log_q is None
    assert np.isnan(bad.positions[3]).all()  # the input is not written to


def test_a_minimum_that_is_another_stereoisomer_is_found_out(ensemble, forcefield):
    mirrored = ensemble.replace(positions=ensemble.positions * [1, 1, -1])
    relaxed = relax(mirrored, forcefield)
    assert relaxed.counts() == {"WRONG_STEREO": 5}
    # mirror images cost the same, and the energy stays whatever the status is
    np.testing.assert_allclose(relaxed.energy, relax(ensemble, forcefield).energy, atol=0.5)


def test_the_step_limit_is_told(ensemble, monkeypatch):
    monkeypatch.setattr("openmm_confgf.energies.mmff.MAX_STEPS", 2)
    relaxed = relax(ensemble)
    assert relaxed.counts() == {"NOT_CONVERGED": 5} and np.isfinite(relaxed.energy).all() and not len(relaxed.ranked())
    assert (relaxed.positions != ensemble.positions).any()


def test_an_empty_ensemble_and_one_without_usable_samples(ensemble, forcefield):
    assert len(relax(ensemble.select([]), forcefield)) == 0
    broken = ensemble.replace(positions=np.full_like(ensemble.positions, np.nan))
    assert relax(broken, forcefield).counts() == {"NON_FINITE": 5}


def test_bad_calls(ensemble):
    with pytest.raises(ForceFieldError, match="nope"):
        relax(ensemble, "nope")
    with pytest.raises(PlatformError, match="Quantum"):
        relax(ensemble, "openff-2.2.1", platform="Quantum")


def test_a_system_and_a_function_of_ones_own(ensemble, openff):
    named = relax(ensemble, openff, platform="Reference")
    for own, label in ((openff.build(ensemble.graph), "openmm.System"), (openff.build, "SystemBuilder.build")):
        relaxed = relax(ensemble, own, platform="Reference")
        np.testing.assert_array_equal(relaxed.positions, named.positions)
        assert relaxed.provenance.generator == f"etkdg+{label}"
        assert relaxed.provenance.settings["relaxation"]["system_sha256"] == named.provenance.settings["relaxation"]["system_sha256"]
    assert RelaxedGenerator(ETKDGGenerator(), openff.build).sample("CCO", 1).provenance.generator == "etkdg+SystemBuilder.build"


def test_wrong_types(ensemble):
    with pytest.raises(WrongTypeError, match="relax takes an Ensemble, not an ndarray|not a numpy ndarray"):
        relax(ensemble.positions)
    with pytest.raises(WrongTypeError, match="None is not taken for a force field"):
        relax(ensemble, None)
    with pytest.raises(WrongTypeError, match="None is not taken for a force field"):
        RelaxedGenerator(ETKDGGenerator(), None)
