import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf.energies import SystemBuilder
from openmm_confgf.energies.systems.constrained import constrained
from openmm_confgf.errors import ConfGFError, ForceFieldError
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def ethanol():
    return MolecularGraph.from_smiles("CCO", name="ethanol")


@pytest.fixture(scope="module")
def system(toy_level, ethanol):
    return SystemBuilder(toy_level).build(ethanol)


def masses(system):
    return np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())])


def constraints_of(system):
    found = [system.getConstraintParameters(k) for k in range(system.getNumConstraints())]
    return sorted((*sorted((i, j)), length.value_in_unit(unit.nanometer)) for i, j, length in found)


def springs_of(system):
    (force,) = [force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce)]
    found = [force.getBondParameters(k) for k in range(force.getNumBonds())]
    return sorted((*sorted((i, j)), length._value, stiffness._value) for i, j, length, stiffness in found)


@pytest.mark.parametrize(("name", "kind"), [(None, None), ("HBonds", app.HBonds), ("AllBonds", app.AllBonds)])
@pytest.mark.parametrize("mass", [None, 3.0])
def test_it_is_what_openmm_makes(toy_level, ethanol, system, name, kind, mass):
    settings = {"constraints": kind, "rigidWater": False, "hydrogenMass": mass}
    wanted = app.ForceField(toy_level).createSystem(ethanol.to_topology(), **settings)
    made = constrained(system, ethanol, name, mass)
    assert constraints_of(made) == constraints_of(wanted) and springs_of(made) == springs_of(wanted)
    np.testing.assert_allclose(masses(made), masses(wanted))
    assert masses(made).sum() == pytest.approx(masses(system).sum())


def test_the_system_that_was_given_is_not_changed(system, ethanol):
    before = openmm.XmlSerializer.serialize(system)
    constrained(system, ethanol, "AllBonds", 3.0)
    assert openmm.XmlSerializer.serialize(system) == before


def test_constraints_that_are_there_stay(system, ethanol):
    once = constrained(system, ethanol, "HBonds")
    assert constraints_of(constrained(once, ethanol, "HBonds")) == constraints_of(once)


@pytest.mark.parametrize(
    ("constraints", "mass", "message"),
    [
        ("HAngles", None, "'HAngles' are unknown; give HBonds or AllBonds"),
        (None, 0.5, "0.5 Da; give 1 to 4"),
        (None, float("nan"), "nan Da"),
        (None, float("inf"), "inf Da"),
        (None, 4.0, "atom 0 of 'ethanol' would weigh 3.00 Da, less than they; give a smaller"),
    ],
)
def test_what_cannot_be(system, ethanol, constraints, mass, message):
    with pytest.raises(ConfGFError, match=message):
        constrained(system, ethanol, constraints, mass)


def test_a_bond_without_a_length_is_refused(ethanol):
    bare = openmm.System()
    for mass in ethanol.numbers:
        bare.addParticle(float(mass))
    with pytest.raises(ForceFieldError, match="atoms 0 and 3 of 'ethanol' has no HarmonicBondForce that tells its length"):
        constrained(bare, ethanol, "HBonds")
