import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf.energies import ContextEnergy, resolve_platform
from openmm_confgf.errors import PlatformError
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def ala2(shared_data):
    pdb = app.PDBFile(str(shared_data / "ala2_md" / "ala2.pdb"))
    forcefield = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    system = forcefield.createSystem(pdb.topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False)
    noise = np.random.default_rng(0).normal(scale=0.003, size=(6, pdb.topology.getNumAtoms(), 3))
    return system, np.array(pdb.positions.value_in_unit(unit.nanometer)) + noise


def test_energies_are_those_of_plain_openmm_lines(ala2):
    system, positions = ala2
    with ContextEnergy(system, "Reference") as energy:
        result = energy.evaluate(positions, forces=True)

    integrator = openmm.VerletIntegrator(0.001)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    for i, frame in enumerate(positions):
        context.setPositions(frame * unit.nanometer)
        state = context.getState(getEnergy=True, getForces=True)
        plain = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        assert abs(result.energy[i] - plain) < 1e-6
        np.testing.assert_allclose(result.forces[i], state.getForces(asNumpy=True)._value, rtol=0, atol=1e-6)


def test_forces_are_minus_the_gradient(ala2):
    system, positions = ala2
    step = 1e-5
    with ContextEnergy(system, "Reference") as energy:
        forces = energy.evaluate(positions[0], forces=True).forces[0]
        shifts = np.zeros((2, 22, 3))
        shifts[0, 8, 1], shifts[1, 8, 1] = step, -step
        up, down = energy.evaluate(positions[0] + shifts).energy
    assert forces[8, 1] == pytest.approx(-(up - down) / (2 * step), rel=1e-5)


def test_quantities_and_single_frames(ala2):
    system, positions = ala2
    with ContextEnergy(system, "Reference") as energy:
        bare = energy.evaluate(positions[0])
        angstrom = energy.evaluate(positions[0] * 10 * unit.angstrom)
    assert bare.energy.shape == (1,) and bare.forces is None
    np.testing.assert_allclose(bare.energy, angstrom.energy, rtol=1e-12)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_bad_samples_never_affect_others(ala2, platform):
    system, good = ala2
    bad = good.copy()
    bad[0, 3, 0] = np.nan
    bad[2, 5] = np.inf
    bad[4, 1] = bad[4, 15]  # two atoms that are not bonded in one place
    with ContextEnergy(system, platform) as energy:
        clean, mixed = energy.evaluate(good, forces=True), energy.evaluate(bad, forces=True)
        far = energy.evaluate(good * 1e9)
    assert mixed.status.tolist() == [Status.NON_FINITE, 0, Status.NON_FINITE, 0, Status.NON_FINITE, 0]
    assert np.isposinf(mixed.energy[[0, 2, 4]]).all() and np.isnan(mixed.forces[[0, 2, 4]]).all()
    np.testing.assert_array_equal(mixed.energy[1::2], clean.energy[1::2])
    np.testing.assert_array_equal(mixed.forces[1::2], clean.forces[1::2])
    assert not far.ok.any() and np.isposinf(far.energy).all()


def test_an_evaluation_that_raises_costs_its_sample_only():
    """OpenMM's Python forces can raise, and then the Context reports an error instead of an energy."""
    system = openmm.System()
    system.addParticle(1.0)

    def compute(state):
        x = state.getPositions(asNumpy=True)._value
        if x[0, 0] > 10:
            raise ValueError("out of range")
        return float(x[0, 0]), np.zeros((1, 3))

    system.addForce(openmm.PythonForce(compute))
    with ContextEnergy(system, "Reference") as energy:
        result = energy.evaluate([[[1.0, 0, 0]], [[11.0, 0, 0]], [[3.0, 0, 0]]])
    assert result.status.tolist() == [Status.OK, Status.FAILED, Status.OK]
    assert result.energy.tolist() == [1.0, np.inf, 3.0]


def test_wrong_number_of_atoms_names_both_numbers(ala2):
    system, positions = ala2
    with ContextEnergy(system, "Reference") as energy, pytest.raises(ValueError, match=r"21 atoms.*22 particles; give \(B, 22, 3\)"):
        energy.evaluate(positions[:, :21])


def test_empty_batches(ala2):
    system, _ = ala2
    with ContextEnergy(system, "Reference") as energy:
        for empty in (np.empty((0, 22, 3)), []):
            result = energy.evaluate(empty, forces=True)
            assert result.energy.shape == result.status.shape == (0,) and result.forces.shape == (0, 22, 3)


def test_closed_means_closed(ala2):
    system, positions = ala2
    energy = ContextEnergy(system, "Reference")
    energy.close()
    with pytest.raises(ValueError, match="closed"):
        energy.evaluate(positions)


def test_auto_takes_the_first_platform_that_works():
    chosen = resolve_platform("auto").getName()
    working = []
    for name in ("CUDA", "OpenCL", "HIP", "CPU", "Reference"):
        system = openmm.System()
        system.addParticle(1.0)
        try:
            openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(name))
        except openmm.OpenMMException:
            continue
        working.append(name)
    assert chosen == working[0]
    assert resolve_platform("reference").getName() == "Reference"


def test_one_thread_on_the_cpu_unless_asked_otherwise(ala2):
    system, _ = ala2
    for properties, threads in ((None, "1"), ({"Threads": 2}, "2")):
        with ContextEnergy(system, "CPU", properties) as energy:
            assert energy.context.getPlatform().getPropertyValue(energy.context, "Threads") == threads
            assert energy.platform == "CPU"


def test_unknown_platforms_and_properties_name_those_available():
    with pytest.raises(PlatformError, match=r"no OpenMM platform 'Quantum'.*CPU"):
        resolve_platform("Quantum")
    with pytest.raises(PlatformError, match=r"CPU has no property Precison .*Threads"):
        resolve_platform("CPU", {"Precison": "mixed"})
    with pytest.raises(PlatformError, match=r"Reference has no property Threads"):
        resolve_platform("Reference", {"Threads": 1})
    with pytest.raises(PlatformError, match=r"No OpenMM platform can be used as asked"):
        resolve_platform("auto", {"NoSuchProperty": 1})


def test_a_platform_that_cannot_take_the_system():
    system = openmm.System()
    with pytest.raises(PlatformError, match="cannot take this System"):
        ContextEnergy(system, "CPU")
