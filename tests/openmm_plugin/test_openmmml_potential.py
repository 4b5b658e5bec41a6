"""MLPotential("confgf-potential"), whole and mixed."""

import importlib.util

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate
from openmm_confgf.energies import ContextEnergy, create_system
from openmm_confgf.errors import MoleculeError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.openmm_plugin import learned_system, read_system
from openmm_confgf.openmm_plugin.graph_force import TEMPERATURE
from openmm_confgf.openmm_plugin.learned_potential import POTENTIAL
from openmm_confgf.openmmml_factory import ConfGFPotentialFactory

if missing := [name for name in ("openmmml", "torchmdnet") if importlib.util.find_spec(name) is None]:
    pytest.skip(f"{' and '.join(missing)} not installed", allow_module_level=True)

SMILES = "CCO"


@pytest.fixture(scope="module")
def potential():
    from openmmml import MLPotential

    MLPotential.registerImplFactory(POTENTIAL, ConfGFPotentialFactory())  # as the entry point does
    return MLPotential(POTENTIAL)


@pytest.fixture(scope="module")
def start():
    return generate(SMILES, 2, generator="etkdg", seed=1)


def test_a_whole_system_has_the_energies_of_the_potential(potential, start):
    system = potential.createSystem(start.graph.to_topology(), temperature=300)
    (force,) = (force for force in system.getForces() if isinstance(force, openmm.PythonForce))
    assert dict(force.getGlobalParameters()) == {TEMPERATURE: 300} and system.getNumConstraints() == 0
    with ContextEnergy(system, "Reference") as theirs, ContextEnergy(learned_system(SMILES, temperature=300), "Reference") as ours:
        np.testing.assert_allclose(theirs.evaluate(start.positions).energy, ours.evaluate(start.positions).energy, rtol=1e-12)


def test_a_topology_that_is_another_molecule_is_refused(potential, start):
    with pytest.raises(MoleculeError, match="No molecule of the Topology is 'CCN'"):
        potential.createSystem(start.graph.to_topology(), molecule="CCN")


@pytest.fixture(scope="module")
def two_molecules(start):
    """Ethanol beside a methane in OpenFF, as one Topology and System."""
    pair = app.Modeller(start.graph.to_topology(), start.positions[0] * unit.nanometer)
    methane = generate("C", 1, generator="etkdg", seed=1)
    pair.add(methane.graph.to_topology(), (methane.positions[0] + [0.45, 0, 0]) * unit.nanometer)
    from openff.toolkit import ForceField, Topology

    parts = Topology.from_molecules([start.graph.to_openff(), methane.graph.to_openff()])
    system = ForceField("openff_unconstrained-2.2.1.offxml").create_openmm_system(
        parts, charge_from_molecules=[with_charges(start.graph), with_charges(methane.graph)]
    )
    return pair.topology, system, np.array(pair.positions.value_in_unit(unit.nanometer))


def with_charges(graph):
    import openff.units

    molecule, system = graph.to_openff(), create_system(graph, "openff-2.2.1")
    (force,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [force.getParticleParameters(k)[0].value_in_unit(unit.elementary_charge) for k in range(len(graph))]
    molecule.partial_charges = openff.units.Quantity(np.array(charges), "elementary_charge")
    return molecule


def test_in_a_mixed_system_the_molecule_is_learned_and_the_rest_is_not(potential, two_molecules, start):
    topology, system, positions = two_molecules
    mixed = potential.createMixedSystem(topology, system, list(range(9)))
    far = positions.copy()
    far[9:] += 50
    with (
        ContextEnergy(mixed, "Reference") as energy,
        ContextEnergy(learned_system(SMILES), "Reference") as learned,
        ContextEnergy(create_system(MolecularGraph.from_smiles("C"), "openff-2.2.1"), "Reference") as methane,
    ):
        apart, together = energy.evaluate(np.stack([far, positions])).energy
        parts = learned.evaluate(positions[:9]).energy[0] + methane.evaluate(positions[9:]).energy[0]
    assert apart == pytest.approx(parts, abs=0.01)
    assert 0.05 < abs(together - apart) < 20  # the force field's attraction and repulsion between them
    restored = read_system(openmm.XmlSerializer.serialize(mixed))
    with ContextEnergy(restored, "Reference") as energy:
        assert energy.evaluate(positions).energy[0] == pytest.approx(together, abs=1e-9)


def test_interpolation_goes_from_the_force_field_to_the_potential(potential, two_molecules):
    topology, system, positions = two_molecules
    mixed = potential.createMixedSystem(topology, system, list(range(9)), interpolate=True)
    plain = potential.createMixedSystem(topology, system, list(range(9)))
    with ContextEnergy(mixed, "Reference") as energy:
        ends = []
        for value in (0, 1):
            energy.context.setParameter("lambda_interpolate", value)
            ends.append(energy.evaluate(positions).energy[0])
    with ContextEnergy(system, "Reference") as field, ContextEnergy(plain, "Reference") as learned:
        wanted = [field.evaluate(positions).energy[0], learned.evaluate(positions).energy[0]]
    np.testing.assert_allclose(ends, wanted, rtol=1e-6)
