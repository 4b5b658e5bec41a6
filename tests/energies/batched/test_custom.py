"""Custom forces of bonds, angles, torsions, pairs and coordinates against the Reference platform."""

import numpy as np
import openmm
import pytest

from openmm_confgf.energies import BatchedEnergy
from openmm_confgf.errors import UnsupportedForceError

COUNT = 7


def system_with(*forces, count=COUNT):
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(scale=0.3, size=(12, COUNT, 3))


@pytest.mark.parametrize(
    ("kind", "name", "width", "text"),
    [
        (openmm.CustomBondForce, "Bond", 2, "k*(r - b)^2 + lambda*k*(r - b)^4"),
        (openmm.CustomAngleForce, "Angle", 3, "k*(theta - b)^2 + lambda*cos(theta)"),
        (openmm.CustomTorsionForce, "Torsion", 4, "k*min(d, 2*3.1415926535 - d)^2 + lambda*sin(theta); d = abs(theta - b)"),
    ],
)
@pytest.mark.parametrize("parameters", [None, {"lambda": 2.5}])
def test_bonds_angles_and_torsions(kind, name, width, text, parameters, frames, strange_frames, holds):
    rng, force = np.random.default_rng(1), kind(text)
    for parameter in ("k", "b"):
        getattr(force, f"addPer{name}Parameter")(parameter)
    force.addGlobalParameter("lambda", 0.5)
    for _ in range(9):
        getattr(force, f"add{name}")(*rng.permutation(COUNT)[:width].tolist(), rng.uniform([10, -0.3], [100, 1]))
    system = system_with(force)
    holds(system, frames, parameters)
    for strange in strange_frames(frames).values():
        holds(system, strange, parameters)


@pytest.mark.parametrize("text", ["5", "lambda", "k", "0*r"])
def test_expressions_without_a_variable(text, frames, holds):
    """Each bond counts, though its energy is constant."""
    force = openmm.CustomBondForce(text)
    force.addPerBondParameter("k")
    force.addGlobalParameter("lambda", 0.5)
    for k in range(3):
        force.addBond(k, k + 1, [k + 0.5])
    holds(system_with(force), frames)


def test_external_forces(frames, holds):
    force = openmm.CustomExternalForce("k*((x - x0)^2 + abs(y) + sin(z*x)) + g*z")
    for name in ("k", "x0"):
        force.addPerParticleParameter(name)
    force.addGlobalParameter("g", 9.8)
    for atom in (4, 1, 6):
        force.addParticle(atom, [atom + 1.0, 0.1 * atom])
    system = system_with(force)
    holds(system, frames)
    holds(system, frames, {"g": -1.0})


def nonbonded(text="4*sqrt(e1*e2)*((s/r)^12 - (s/r)^6) + g*q1*q2/r; s = (s1 + s2)/2", names=("e", "s", "q")):
    rng, force = np.random.default_rng(2), openmm.CustomNonbondedForce(text)
    for name in names:
        force.addPerParticleParameter(name)
    if "g*" in text:
        force.addGlobalParameter("g", 138.9)
    for _ in range(COUNT):
        force.addParticle(rng.uniform(0.05, 0.3, size=len(names)))
    return force


def with_exclusions(force):
    for pair in ((0, 1), (3, 2), (6, 0)):
        force.addExclusion(*pair)


def with_cutoff(force):
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.5)


def with_switching(force):
    with_cutoff(force)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.2)


def with_groups(force):
    force.addInteractionGroup([0, 1, 2], [3, 4])
    force.addInteractionGroup([5], [6, 0])


def with_overlapping_groups(force):
    """Atoms in both sets of a group, and pairs in more than one group, which count as often."""
    force.addInteractionGroup([0, 1, 2, 3], [2, 3, 4])
    force.addInteractionGroup([4, 5], [4, 5])
    force.addInteractionGroup([2], [4, 6])


def with_unused_switching(force):
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.01)


SETTINGS = {
    "plain": [],
    "exclusions": [with_exclusions],
    "cutoff": [with_cutoff, with_exclusions],
    "switching": [with_switching],
    "switching without a cutoff": [with_unused_switching],
    "groups": [with_groups],
    "overlapping groups": [with_overlapping_groups],
    "all": [with_overlapping_groups, with_exclusions, with_switching],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_pairs(name, frames, strange_frames, holds):
    force = nonbonded()
    for change in SETTINGS[name]:
        change(force)
    system = system_with(force)
    holds(system, frames)
    holds(system, frames, {"g": 20.0})
    for strange in strange_frames(frames).values():
        holds(system, strange)


def test_computed_values(frames, holds):
    force = nonbonded("a1*a2*exp(-r) + b1*b2*r + g*e1*e2", ("e", "s"))
    force.addComputedValue("a", "e^2 + s*g")
    force.addComputedValue("b", "sqrt(e) + 1")
    system = system_with(force)
    holds(system, frames)
    holds(system, frames, {"g": 0.5})


@pytest.mark.parametrize("value", ["3", "g"])
def test_computed_values_without_parameters(value, frames, holds):
    force = nonbonded("a1*a2*exp(-r) + g*r", ())
    force.addComputedValue("a", value)
    holds(system_with(force), frames)


def test_pairs_without_parameters(frames, holds):
    holds(system_with(nonbonded("exp(-3*r)", ())), frames)


def test_pairs_beside_a_nonbonded_force(frames, holds):
    """Their exclusions are their own."""
    rng, standard, custom = np.random.default_rng(3), openmm.NonbondedForce(), nonbonded()
    for _ in range(COUNT):
        standard.addParticle(*rng.uniform([-1, 0.1, 0.1], [1, 0.3, 1]))
    for pair in ((0, 1), (2, 3), (0, 6)):
        standard.addException(*pair, 0, 1, 0)
    with_exclusions(custom)
    holds(system_with(standard, custom), frames)


def test_groups_without_pairs(frames, holds):
    force = nonbonded()
    force.addInteractionGroup([2], [2])
    holds(system_with(force), frames)


def test_one_atom(holds):
    force = openmm.CustomNonbondedForce("r")
    force.addParticle([])
    holds(system_with(force, count=1), np.zeros((2, 1, 3)))


def test_forces_without_interactions(frames, holds):
    forces = (
        openmm.CustomBondForce("r"),
        openmm.CustomAngleForce("theta"),
        openmm.CustomTorsionForce("theta"),
        openmm.CustomExternalForce("x"),
    )
    holds(system_with(*forces), frames)


@pytest.mark.parametrize(
    ("force", "name"),
    [
        (openmm.CustomBondForce("theta"), "theta"),
        (openmm.CustomAngleForce("k*theta"), "k"),
        (openmm.CustomTorsionForce("theta + psi"), "psi"),
    ],
)
def test_variables_of_other_forces_are_refused_by_name(force, name):
    atoms = list(range({"CustomBondForce": 2, "CustomAngleForce": 3, "CustomTorsionForce": 4}[force.getName()]))
    getattr(force, f"add{force.getName().removeprefix('Custom').removesuffix('Force')}")(*atoms, [])
    with pytest.raises(UnsupportedForceError, match=f"{force.getName()} uses {name} "):
        BatchedEnergy(system_with(force), device="cpu")


def test_computed_values_of_coordinates_are_refused(frames):
    force = nonbonded("a1*a2*r", ("e",))
    force.addComputedValue("a", "e*x")
    with pytest.raises(UnsupportedForceError, match="CustomNonbondedForce uses x "):
        BatchedEnergy(system_with(force), device="cpu")
