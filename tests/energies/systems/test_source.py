import copy

import numpy as np
import openmm
import pytest
from openmm import app
from rdkit import Chem

from openmm_confgf.energies import ContextEnergy, SystemBuilder
from openmm_confgf.energies.batched.read_system import system_hash
from openmm_confgf.energies.systems.forcefields import CHARGE_MODEL
from openmm_confgf.energies.systems.source import system_source
from openmm_confgf.errors import ForceFieldError, WrongTypeError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def openff():
    return SystemBuilder("openff-2.2.1")


@pytest.fixture(scope="module")
def frame(alanine):
    return embed_etkdg(alanine, 1, 0).positions


@pytest.fixture(scope="module")
def ethanol():
    return MolecularGraph.from_smiles("CCO", name="ethanol")


def energy(system, frame):
    with ContextEnergy(system, "Reference") as context:
        return context.evaluate(frame).energy[0]


def test_all_ways_to_the_same_system(alanine, frame, openff):
    system = openff.build(alanine)
    wanted = energy(system, frame)

    def mine(graph):
        return openff.build(graph)

    for given, label in ((openff, "openff-2.2.1"), (system, "openmm.System"), (openff.build, "SystemBuilder.build"), (mine, None)):
        source = system_source(given)
        assert energy(source.build(alanine), frame) == wanted
        assert source.forcefield == label or (label is None and source.forcefield.endswith("mine"))
        assert system_source(source) is source
    told = system_source(openff).settings(system)
    assert told == {
        "forcefield": "openff-2.2.1",
        "charges": f"NAGL AM1-BCC ({CHARGE_MODEL})",
        "system_sha256": system_hash(system),
    }
    assert system_source(system).settings(system)["charges"] is None


def test_a_force_field_of_openmm(toy_level, ethanol):
    source = system_source(app.ForceField(toy_level))
    named = system_source(toy_level)
    assert system_hash(source.build(ethanol)) == system_hash(named.build(ethanol))
    assert named.charges == "of its XML files"


def test_a_system_generator_takes_the_molecule_with_the_charges_that_it_was_given(alanine, frame, openff):
    from openmmforcefields.generators import SystemGenerator

    molecule = alanine.to_openff()
    molecule.assign_partial_charges("gasteiger")
    source = system_source(SystemGenerator(small_molecule_forcefield="openff-2.2.1", molecules=[molecule]))
    system = source.build(alanine)
    (nonbonded,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(len(alanine))]
    np.testing.assert_allclose(charges, molecule.partial_charges.magnitude, atol=1e-3)
    assert source.forcefield == "SystemGenerator" and np.isfinite(energy(system, frame))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (5, "an int is not taken for a force field; give the name of one, a SystemBuilder"),
        (None, "None is not taken"),
        (["openff-2.2.1"], "a list is not taken"),
        (openmm.System, "the class openmm System is not taken"),
        (SystemBuilder, "the class openmm_confgf SystemBuilder is not taken"),
        (openmm.VerletIntegrator(0.001), "an openmm VerletIntegrator is not taken"),
    ],
)
def test_wrong_types_are_one_sentence(wrong, message):
    with pytest.raises(WrongTypeError, match=message):
        system_source(wrong)


def test_functions_that_make_no_system(ethanol):
    with pytest.raises(WrongTypeError, match="<lambda> makes an int of 'ethanol'; let it return an openmm.System"):
        system_source(lambda graph: 3).build(ethanol)
    with pytest.raises(ForceFieldError, match="makes no System of 'ethanol' .division by zero"):
        system_source(lambda graph: 1 / 0).build(ethanol)
    with pytest.raises(ForceFieldError, match="openmm.app.ForceField makes no System of 'ethanol' .No template found"):
        system_source(app.ForceField("amber14-all.xml")).build(ethanol)


def reordered(graph, *swaps):
    order = list(range(len(graph)))
    for i, j in swaps:
        order[i], order[j] = order[j], order[i]
    return MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order), "other")


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        ((0, 2), r"particle 0 weighs 14.01 Da, and atom 0 is C; the particles are N C C C O O .*the atoms C C N C O O .*to_topology"),
        ((0, 1), r"its particles 0 and [23] are bonded, and atoms 0 \(C\) and [23] \([CN]\) are not"),  # two carbons
        ((4, 5), r"its particles 4 and 12 are bonded"),  # the oxygens of the acid
        ((6, 9), r"its particles [0-9]+ and [0-9]+ are bonded"),  # hydrogens
    ],
)
def test_another_atom_order_is_refused(alanine, openff, swap, message):
    system = openff.build(reordered(alanine, swap))
    with pytest.raises(ForceFieldError, match=f"in another atom order than 'alanine'.*{message}"):
        system_source(system).build(alanine)


def test_the_order_of_atoms_that_are_alike_does_not_matter(alanine, frame, openff):
    system = openff.build(reordered(alanine, (6, 7)))  # two hydrogens of the methyl
    assert energy(system_source(system).build(alanine), frame) == pytest.approx(energy(openff.build(alanine), frame), abs=1e-6)


def test_another_order_with_constraints_and_without_springs_is_refused_too(alanine):
    def constrained_only(graph):
        system = openmm.System()
        for atom in graph.mol.GetAtoms():
            system.addParticle(atom.GetMass())
        for i, j in graph.bonds.tolist():
            system.addConstraint(i, j, 0.15)
        return system

    assert system_source(constrained_only).build(alanine).getNumConstraints() == 12
    with pytest.raises(ForceFieldError, match="in another atom order"):
        system_source(constrained_only(reordered(alanine, (0, 1)))).build(alanine)


def test_other_particles_are_refused(alanine, ethanol, openff):
    system = openff.build(alanine)
    with pytest.raises(ForceFieldError, match="13 particles where 'ethanol' has 9 atoms, hydrogens included; .*without solvent"):
        system_source(system).build(ethanol)
    with_site = copy.deepcopy(system)
    with_site.addParticle(0)
    with_site.setVirtualSite(13, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(ForceFieldError, match="1 virtual sites, which 'alanine' has no atoms for"):
        system_source(with_site).build(alanine)
    propane = openff.build(MolecularGraph.from_smiles("CCC"))
    with pytest.raises(ForceFieldError, match="11 particles where 'other' has 10|weighs"):
        system_source(propane).build(MolecularGraph.from_smiles("CCN", "other"))


def test_moved_masses_frozen_atoms_and_restraints_are_the_users_own_business(alanine, openff):
    topology = alanine.to_topology()
    system = openff.build(alanine)
    for bond in topology.bonds():
        heavy, light = sorted((bond[0], bond[1]), key=lambda atom: -atom.element.atomic_number)
        if light.element.atomic_number == 1:
            moved = 3.024 - system.getParticleMass(light.index)._value
            system.setParticleMass(light.index, 3.024)
            system.setParticleMass(heavy.index, system.getParticleMass(heavy.index)._value - moved)
    assert system_source(system).build(alanine) is system
    with pytest.raises(ForceFieldError, match="another atom order"):  # also where hydrogens are heavy
        system_source(system).build(reordered(alanine, (0, 2)))
    frozen = openff.build(alanine)
    frozen.setParticleMass(3, 0)
    restraint = openmm.HarmonicBondForce()
    restraint.addBond(0, 5, 0.4, 100.0)
    frozen.addForce(restraint)
    assert system_source(frozen).build(alanine) is frozen
