"""Force fields, and OpenMM's standard forces by themselves, against the Reference platform."""

import copy
import itertools

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from openmm_confgf.energies import BatchedEnergy, ContextEnergy
from openmm_confgf.units import kT

CUTOFF = {"nonbondedMethod": app.CutoffNonPeriodic, "nonbondedCutoff": 1.0 * unit.nanometer}
SHORT_CUTOFF = {"nonbondedMethod": app.CutoffNonPeriodic, "nonbondedCutoff": 0.45 * unit.nanometer}
FORCE_FIELDS = {
    "amber14": (("amber14-all.xml",), {}),
    "amber14, cutoff": (("amber14-all.xml",), SHORT_CUTOFF),
    "amber99sbildn + obc": (("amber99sbildn.xml", "amber99_obc.xml"), {}),
    "amber99sbildn + obc, cutoff": (("amber99sbildn.xml", "amber99_obc.xml"), CUTOFF),
    "amber99sbildn + obc, short cutoff": (("amber99sbildn.xml", "amber99_obc.xml"), SHORT_CUTOFF),
} | {
    f"{model}{label}": (("amber14-all.xml", f"implicit/{model}.xml"), settings)
    for model in ("hct", "obc1", "obc2", "gbn", "gbn2")
    for label, settings in (("", {}), (", cutoff", SHORT_CUTOFF))
}


@pytest.fixture(scope="module")
def ala2_frames(ala2_system, ala2_positions, md_frames):
    return md_frames(ala2_system("amber14-all.xml", "implicit/obc2.xml"), ala2_positions, 12)


@pytest.mark.parametrize("name", FORCE_FIELDS)
def test_each_force_agrees_with_the_reference_platform(name, ala2_system, ala2_frames, strange_frames, holds):
    files, settings = FORCE_FIELDS[name]
    system = ala2_system(*files, **settings)
    holds(system, ala2_frames)
    for frames in strange_frames(ala2_frames[:4]).values():
        holds(system, frames)


@pytest.mark.parametrize("name", ["amber14", "amber99sbildn + obc, cutoff", "gbn2"])
def test_single_precision_is_off_by_far_less_than_thermal_energy(name, ala2_system, ala2_frames):
    files, settings = FORCE_FIELDS[name]
    system = ala2_system(*files, **settings)
    exact = BatchedEnergy(system, device="cpu").evaluate(ala2_frames, forces=True)
    single = BatchedEnergy(system, device="cpu", dtype=torch.float32).evaluate(ala2_frames, forces=True)
    assert np.median(np.abs(single.energy - exact.energy)) <= 1e-3 * kT(300)
    assert np.abs(single.forces - exact.forces).max() <= 1e-4 * np.abs(exact.forces).max()


def test_energies_logged_by_an_independent_run(shared_data, ala2_pdb, ala2_system):
    """Frame k belongs to line k of the log, which holds OpenMM's energies of another machine in single precision."""
    import mdtraj

    folder = shared_data / "ala2_md"
    system = ala2_system("amber99sbildn.xml", "amber99_obc.xml", **CUTOFF, constraints=app.HBonds)
    trajectory = mdtraj.load_dcd(str(folder / "trajectory-0.dcd"), top=mdtraj.Topology.from_openmm(ala2_pdb.topology))
    logged = np.genfromtxt(folder / "trajectory-0.log.gz", skip_header=1, usecols=3)
    rows = np.linspace(0, min(len(trajectory), len(logged)) - 1, 1000).astype(int)
    found = BatchedEnergy(system, device="cpu").evaluate(trajectory.xyz[rows])
    assert np.abs(found.energy - logged[rows]).max() <= 2e-3


CORRECTION_MAPS = {"charmm36": "charmm36.xml", "amber19": "amber19/protein.ff19SB.xml"}


@pytest.mark.parametrize("name", [pytest.param("charmm36", marks=pytest.mark.slow), "amber19"])
def test_peptides_with_correction_maps(name, peptide, md_frames, strange_frames, holds):
    system = app.ForceField(CORRECTION_MAPS[name]).createSystem(peptide.topology, constraints=None, rigidWater=False)
    assert any(isinstance(force, openmm.CMAPTorsionForce) and force.getNumTorsions() == 2 for force in system.getForces())
    frames = md_frames(system, peptide.positions, 4)
    holds(system, frames)
    for strange in strange_frames(frames).values():
        holds(system, strange)


def test_a_drug_with_openff(md_frames, strange_frames, holds):
    """Celecoxib: a sulfonamide, a trifluoromethyl group and three rings."""
    from openmm_confgf.energies import SystemBuilder
    from openmm_confgf.generators.etkdg import embed_etkdg
    from openmm_confgf.molecules.graph import MolecularGraph

    drug = MolecularGraph.from_smiles("Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F")
    system = SystemBuilder("openff-2.2.1").build(drug)
    frames = md_frames(system, embed_etkdg(drug, 1, 1).positions[0], 4)
    holds(system, frames)
    for strange in strange_frames(frames).values():
        holds(system, strange)


def atoms(count):
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    return system


@pytest.fixture
def cloud():
    """Twelve conformations of eight atoms within some 0.6 nm, no two of them closer than 0.1 nm."""
    rng = np.random.default_rng(5)
    grid = 0.25 * np.array(list(itertools.product((0, 1), repeat=3)))
    return grid + rng.uniform(-0.07, 0.07, size=(12, 8, 3))


def test_bonds_angles_and_torsions(cloud, strange_frames, holds):
    rng = np.random.default_rng(1)
    system = atoms(8)
    bonds, angles, torsions, rb = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
        openmm.RBTorsionForce(),
    )
    for k in range(12):
        chosen = rng.permutation(8)[:4].tolist()
        bonds.addBond(*chosen[:2], *rng.uniform([0.1, 1e3], [0.3, 1e5]))
        angles.addAngle(*chosen[:3], *rng.uniform([0.5, 1e2], [3, 1e3]))
        torsions.addTorsion(*chosen, k % 6 + 1, *rng.uniform([-3, -10], [3, 20]))
        torsions.addTorsion(*chosen, 2, *rng.uniform([-3, -10], [3, 20]))  # several terms of the same atoms
        rb.addTorsion(*chosen, *rng.normal(scale=10, size=6))
    for force in (bonds, angles, torsions, rb):
        system.addForce(force)
    holds(system, cloud)
    for strange in strange_frames(cloud).values():
        holds(system, strange)


def random_nonbonded(rng, count=8):
    force = openmm.NonbondedForce()
    for _ in range(count):
        force.addParticle(*rng.uniform([-1, 0.1, 0.0], [1, 0.3, 1.0]))
    force.addException(0, 1, 0, 1, 0)
    force.addException(2, 1, 0, 0, 0)
    force.addException(3, 0, *rng.uniform([-1, 0.1, 0.1], [1, 0.3, 1.0]))
    force.addException(4, 6, 0, 0.2, 0.7)
    force.addException(5, 6, 0.3, 0.2, 0)
    return force


NONBONDED = {
    "no cutoff": {},
    "cutoff": {"NonbondedMethod": openmm.NonbondedForce.CutoffNonPeriodic, "CutoffDistance": 0.35},
    "switched": {
        "NonbondedMethod": openmm.NonbondedForce.CutoffNonPeriodic,
        "CutoffDistance": 0.4,
        "UseSwitchingFunction": True,
        "SwitchingDistance": 0.25,
    },
    "switched, other dielectric": {
        "NonbondedMethod": openmm.NonbondedForce.CutoffNonPeriodic,
        "CutoffDistance": 0.4,
        "UseSwitchingFunction": True,
        "SwitchingDistance": 0.1,
        "ReactionFieldDielectric": 4.0,
    },
    # a distance that is set, but not used
    "no cutoff, switching set": {"UseSwitchingFunction": True, "SwitchingDistance": 0.1, "CutoffDistance": 0.2},
}


@pytest.mark.parametrize("name", NONBONDED)
def test_nonbonded_forces_with_exceptions(name, cloud, strange_frames, holds):
    system, force = atoms(8), random_nonbonded(np.random.default_rng(3))
    for setting, value in NONBONDED[name].items():
        getattr(force, f"set{setting}")(value)
    system.addForce(force)
    holds(system, cloud)
    for strange in strange_frames(cloud).values():
        holds(system, strange)


@pytest.mark.parametrize("parameters", [None, {"growth": 0.3}, {"growth": 1.0, "turn": -0.5}, {"turn": 0.0}])
@pytest.mark.parametrize("method", ["no cutoff", "cutoff"])
def test_parameter_offsets(method, parameters, cloud, holds):
    system, force = atoms(8), random_nonbonded(np.random.default_rng(4))
    for setting, value in NONBONDED[method].items():
        getattr(force, f"set{setting}")(value)
    force.addGlobalParameter("growth", 0.0)
    force.addGlobalParameter("turn", 0.7)
    force.addParticleParameterOffset("growth", 2, 0.5, 0.05, 0.2)
    force.addParticleParameterOffset("turn", 2, -0.5, 0.01, 0.1)
    force.addParticleParameterOffset("turn", 5, 1.0, 0.0, 0.0)
    # the excluded pair 0-1 interacts where growth is not zero, and so does its other exception
    force.addExceptionParameterOffset("growth", 0, 0.4, 0.1, 0.3)
    force.addExceptionParameterOffset("turn", 2, 0.4, 0.02, 0.3)
    system.addForce(force)
    holds(system, cloud, parameters)


def test_excluded_atoms_may_coincide(cloud):
    system, force = atoms(8), random_nonbonded(np.random.default_rng(3))
    system.addForce(force)
    cloud[::2, 1] = cloud[::2, 0]
    with ContextEnergy(system, "Reference") as context:
        theirs = context.evaluate(cloud, forces=True)
    ours = BatchedEnergy(system, device="cpu").evaluate(cloud, forces=True)
    assert theirs.ok.all() and ours.ok.all()
    np.testing.assert_allclose(ours.energy, theirs.energy, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.forces, theirs.forces, rtol=0, atol=1e-6 * np.abs(theirs.forces).max())


@pytest.mark.parametrize("second", [openmm.NonbondedForce, openmm.GBSAOBCForce])
def test_forces_that_share_the_pairs(second, cloud, holds):
    """A second NonbondedForce has exceptions of its own; GBSAOBCForce counts excluded pairs too."""
    rng = np.random.default_rng(6)
    system, force = atoms(8), second()
    system.addForce(random_nonbonded(rng))
    for _ in range(8):
        force.addParticle(*rng.uniform([-1, 0.12, 0.7], [1, 0.2, 0.9]))
    system.addForce(force)
    holds(system, cloud)
    holds_alone = copy.deepcopy(system)
    holds_alone.removeForce(0)
    holds(holds_alone, cloud)


def test_generalized_born_settings(cloud, holds):
    system, force = atoms(8), openmm.GBSAOBCForce()
    rng = np.random.default_rng(7)
    for _ in range(8):
        force.addParticle(*rng.uniform([-1, 0.1, 0.3], [1, 0.3, 1.2]))
    force.setSoluteDielectric(2.0)
    force.setSolventDielectric(40.0)
    force.setSurfaceAreaEnergy(10.0)
    system.addForce(force)
    holds(system, cloud)
    holds(system, cloud * 0.3)  # atoms engulf each other
    force = system.getForce(0)
    force.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.35)
    holds(system, cloud)


@pytest.mark.parametrize("kind", [openmm.NonbondedForce, openmm.GBSAOBCForce])
def test_one_atom_has_no_pairs(kind, holds):
    system, force = atoms(1), kind()
    force.addParticle(1.0, 0.15, 0.8)
    system.addForce(force)
    holds(system, np.zeros((3, 1, 3)))


def test_direct_space_may_be_left_out(cloud, holds):
    system, force = atoms(8), random_nonbonded(np.random.default_rng(3))
    force.setIncludeDirectSpace(False)
    system.addForce(force)
    holds(system, cloud)


def test_forces_without_interactions_cost_nothing(cloud, holds):
    system = atoms(8)
    for kind in (openmm.HarmonicBondForce, openmm.PeriodicTorsionForce, openmm.RBTorsionForce, openmm.CMAPTorsionForce):
        system.addForce(kind())
    holds(system, cloud)


def test_atoms_on_a_line(holds):
    """Where an angle has no derivative, OpenMM's forces and ours are finite."""
    system, angles = atoms(4), openmm.HarmonicAngleForce()
    angles.addAngle(0, 1, 2, 3.0, 100.0)
    angles.addAngle(1, 2, 3, 2.0, 100.0)
    system.addForce(angles)
    frames = np.array([[[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0.3, 0.1, 0]], [[0, 0, 0], [0.1, 0, 0], [0.05, 0, 0], [0.3, 0.1, 0]]])
    result = BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)
    with ContextEnergy(system, "Reference") as context:
        theirs = context.evaluate(frames, forces=True)
    assert result.status.tolist() == theirs.status.tolist()
    np.testing.assert_allclose(result.energy, theirs.energy, rtol=0, atol=1e-5)
