"""What is read from a System, what is refused by name, and what is left aside."""

import copy

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf.energies import SUPPORTED, BatchedEnergy, ContextEnergy, PackedEnergy, check_supported
from openmm_confgf.energies.batched.read_system import read_systems
from openmm_confgf.errors import UnsupportedForceError


def with_force(chain, force, **settings):
    system = chain(4, **settings)
    system.addForce(force)
    return system


def pme():
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    return force


def periodic(force):
    force.setUsesPeriodicBoundaryConditions(True)
    return force


def periodic_cutoff(force):
    force.setNonbondedMethod(type(force).CutoffPeriodic)
    return force


REFUSED = {
    "NonbondedForce": pme,
    "NonbondedForce ": lambda: periodic_cutoff(openmm.NonbondedForce()),
    "CustomNonbondedForce": lambda: periodic_cutoff(openmm.CustomNonbondedForce("r")),
    "GBSAOBCForce": lambda: periodic_cutoff(openmm.GBSAOBCForce()),
    "CustomGBForce": lambda: periodic_cutoff(openmm.CustomGBForce()),
    "HarmonicBondForce": lambda: periodic(openmm.HarmonicBondForce()),
    "PeriodicTorsionForce": lambda: periodic(openmm.PeriodicTorsionForce()),
    "CustomTorsionForce": lambda: periodic(openmm.CustomTorsionForce("theta")),
    "CMAPTorsionForce": lambda: periodic(openmm.CMAPTorsionForce()),
    "CustomExternalForce": lambda: openmm.CustomExternalForce("periodicdistance(x, y, z, 0, 0, 0)"),
    "CustomCompoundBondForce": lambda: openmm.CustomCompoundBondForce(2, "distance(p1, p2)"),
    "CustomCentroidBondForce": lambda: openmm.CustomCentroidBondForce(2, "distance(g1, g2)"),
    "CustomHbondForce": lambda: openmm.CustomHbondForce("distance(a1, d1)"),
    "CustomManyParticleForce": lambda: openmm.CustomManyParticleForce(3, "1"),
    "CustomCVForce": lambda: openmm.CustomCVForce("1"),
    "DrudeForce": openmm.DrudeForce,
    "AmoebaMultipoleForce": openmm.AmoebaMultipoleForce,
    "GayBerneForce": openmm.GayBerneForce,
    "RMSDForce": lambda: openmm.RMSDForce([openmm.Vec3(0, 0, 0)] * 4),
    "RPMDMonteCarloBarostat": lambda: openmm.RPMDMonteCarloBarostat(1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_forces_that_cannot_be_taken_are_refused_by_name(name, chain):
    system = with_force(chain, REFUSED[name]())
    for refuse in (check_supported, BatchedEnergy, lambda system: PackedEnergy([chain(3), system])):
        with pytest.raises(UnsupportedForceError, match=f"{name.strip()}.*ContextEnergy"):
            refuse(system)


def test_the_name_that_was_given_to_a_force_is_told_too(chain):
    force = openmm.CustomCVForce("1")
    force.setName("umbrella")
    with pytest.raises(UnsupportedForceError, match=r"CustomCVForce \(umbrella\)"):
        check_supported(with_force(chain, force))


def test_refusals_come_before_any_work(chain, monkeypatch):
    monkeypatch.setattr("openmm_confgf.energies.batched.packed.read_systems", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UnsupportedForceError):
        BatchedEnergy(with_force(chain, pme()))


def test_virtual_sites_are_refused(chain):
    system = chain(4)
    system.setParticleMass(3, 0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(UnsupportedForceError, match="virtual sites.*ContextEnergy"):
        check_supported(system)


def test_constraints_are_refused_for_weights_only(chain, chain_frames, holds):
    system = chain(4)
    system.addConstraint(0, 1, 0.15)
    check_supported(system)
    holds(system, chain_frames(2, 4))
    for refuse in (check_supported, lambda system, for_reweighting: BatchedEnergy(system, for_reweighting=for_reweighting)):
        with pytest.raises(UnsupportedForceError, match="1 constraints.*constraints=None"):
            refuse(system, for_reweighting=True)
    check_supported(chain(4), for_reweighting=True)


@pytest.mark.parametrize(
    "force",
    [
        openmm.CMMotionRemover(),
        openmm.AndersenThermostat(300, 1),
        openmm.MonteCarloBarostat(1, 300),
        openmm.MonteCarloAnisotropicBarostat(openmm.Vec3(1, 1, 1), 300),
        openmm.MonteCarloFlexibleBarostat(1, 300),
        openmm.MonteCarloMembraneBarostat(1, 1, 300, 0, 0),
    ],
    ids=lambda force: type(force).__name__,
)
def test_what_has_no_energy_is_left_aside(force, chain, chain_frames):
    frames = chain_frames(3, 4)
    plain = BatchedEnergy(chain(4), device="cpu").evaluate(frames).energy
    system = with_force(chain, copy.deepcopy(force))
    np.testing.assert_array_equal(BatchedEnergy(system, device="cpu").evaluate(frames).energy, plain)


def test_the_list_of_supported_forces(chain):
    named = "HarmonicBond HarmonicAngle PeriodicTorsion RBTorsion CMAPTorsion Nonbonded GBSAOBC"
    custom = "CustomBond CustomAngle CustomTorsion CustomNonbonded CustomExternal CustomGB"
    assert set(SUPPORTED) == {f"{name}Force" for name in f"{named} {custom}".split()}


def test_unknown_global_parameters_are_told(chain):
    force = openmm.CustomBondForce("k*lambda*r")
    for name in ("k", "lambda"):
        force.addGlobalParameter(name, 1.0)
    with pytest.raises(ValueError, match="no global parameter strength; it has: k, lambda"):
        BatchedEnergy(with_force(chain, force), parameters={"strength": 2.0})
    with pytest.raises(ValueError, match="it has: none"):
        BatchedEnergy(chain(4), parameters={"strength": 2.0})


def test_a_parameter_that_several_forces_share(chain, chain_frames, holds):
    first, second = openmm.CustomBondForce("lambda*r"), openmm.CustomExternalForce("lambda*x^2")
    for force in (first, second):
        force.addGlobalParameter("lambda", 0.4)
    first.addBond(0, 3, [])
    second.addParticle(2, [])
    system = chain(4)
    system.addForce(first)
    system.addForce(second)
    holds(system, chain_frames(3, 4))
    holds(system, chain_frames(3, 4), {"lambda": -1.5})


def test_the_same_force_of_several_systems_is_one_term(chain):
    terms = read_systems([chain(4), chain(5), chain(6, solvent=False)])
    assert [(named.name, named.molecules) for named in terms] == [
        ("HarmonicBondForce", (0, 1, 2)),
        ("HarmonicAngleForce", (0, 1, 2)),
        ("PeriodicTorsionForce", (0, 1, 2)),
        ("NonbondedForce", (0, 1, 2)),
        ("GBSAOBCForce", (0, 1)),
    ]
    assert len(read_systems([chain(4), chain(5, cutoff=0.6)])) == 7  # two settings of NonbondedForce and of GBSAOBCForce


def test_two_forces_of_one_kind_count_twice(chain, chain_frames, holds):
    system = chain(5)
    for _ in range(2):
        bonds = openmm.HarmonicBondForce()
        bonds.addBond(0, 4, 0.3, 1e3)
        system.addForce(bonds)
    holds(system, chain_frames(3, 5))


def test_the_system_is_not_changed(chain):
    system = chain(5)
    before = openmm.XmlSerializer.serialize(system)
    BatchedEnergy(system, device="cpu").evaluate(np.random.default_rng(0).normal(size=(2, 5, 3)), forces=True)
    assert openmm.XmlSerializer.serialize(system) == before


def test_pme_of_a_solvated_force_field_is_refused(ala2_pdb):
    ala2_pdb.topology.setUnitCellDimensions((3, 3, 3) * unit.nanometer)
    try:
        system = app.ForceField("amber14-all.xml").createSystem(ala2_pdb.topology, nonbondedMethod=app.PME)
    finally:
        ala2_pdb.topology.setPeriodicBoxVectors(None)
    with pytest.raises(UnsupportedForceError, match="NonbondedForce is periodic"):
        BatchedEnergy(system)


def pair_of_atoms():
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    return system


def test_systems_that_openmm_refuses_are_refused():
    system, bond = pair_of_atoms(), openmm.HarmonicBondForce()
    bond.addBond(0, 7, 0.1, 1.0)
    system.addForce(bond)
    with pytest.raises(UnsupportedForceError, match="OpenMM refuses this System"):
        BatchedEnergy(system, device="cpu")

    system = pair_of_atoms()
    for default in (1.0, 2.0):
        custom = openmm.CustomBondForce("k*r")
        custom.addGlobalParameter("k", default)
        custom.addBond(0, 1)
        system.addForce(custom)
    with pytest.raises(UnsupportedForceError, match="different default values"):
        BatchedEnergy(system, device="cpu")

    system, nonbonded = pair_of_atoms(), openmm.NonbondedForce()
    nonbonded.addParticle(0, 1, 0)
    system.addForce(nonbonded)
    with pytest.raises(UnsupportedForceError, match="1 particles where the System has 2"):
        BatchedEnergy(system, device="cpu")


def test_pairs_at_the_cutoff_are_inside_as_in_openmm():
    system, nonbonded = pair_of_atoms(), openmm.NonbondedForce()
    for charge in (1.0, -1.0):
        nonbonded.addParticle(charge, 0.3, 1.0)
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    nonbonded.setCutoffDistance(0.5)
    system.addForce(nonbonded)
    frame = [[0, 0, 0], [0.5, 0, 0]]
    with ContextEnergy(system, "Reference") as context:
        expected = context.evaluate(frame, forces=True)
    found = BatchedEnergy(system, device="cpu").evaluate(frame, forces=True)
    assert expected.energy[0] != 0
    np.testing.assert_allclose(found.energy, expected.energy, atol=1e-10)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-8)


def test_atoms_in_one_place_have_no_angle():
    system, angle = openmm.System(), openmm.HarmonicAngleForce()
    for _ in range(3):
        system.addParticle(1.0)
    angle.addAngle(0, 1, 2, 2.0, 100.0)
    system.addForce(angle)
    for forces in (False, True):
        result = BatchedEnergy(system, device="cpu").evaluate([[0, 0, 0], [0, 0, 0], [0.1, 0, 0]], forces)
        assert result.energy[0] == np.inf and not result.ok[0]
