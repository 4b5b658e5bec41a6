import math

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_confgf.energies import create_system
from openmm_confgf.energies.systems.parameters import read_parameters
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide

CASES = [("openff-2.2.1", "smiles:CC(=O)Nc1ccc(O)cc1"), ("amber14-all.xml", "AK"), ("charmm36.xml", "AG")]


@pytest.fixture(scope="module", params=CASES, ids=[name for name, _ in CASES])
def molecule(request):
    name, text = request.param
    graph = MolecularGraph.from_smiles(text[7:]) if text.startswith("smiles:") else peptide(text)
    system = create_system(graph, name)
    return graph, system, embed_etkdg(graph, 1, 0).positions[0], read_parameters(graph, system)


def energy_of(system, kind, positions):
    """kJ/mol of the forces of one class alone, as OpenMM has them."""
    alone = openmm.System()
    for _ in range(system.getNumParticles()):
        alone.addParticle(1.0)
    for force in system.getForces():
        if isinstance(force, kind):
            alone.addForce(openmm.XmlSerializer.clone(force))
    context = openmm.Context(alone, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def urey_bradley(graph, system, positions):
    bonded, total = {tuple(pair) for pair in graph.bonds.tolist()}, 0.0
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, stiffness = force.getBondParameters(k)
                if (min(i, j), max(i, j)) not in bonded:
                    total += 0.5 * stiffness._value * (np.linalg.norm(positions[i] - positions[j]) - length._value) ** 2
    return total


def test_bonds_give_openmms_energy(molecule):
    graph, system, x, parameters = molecule
    assert set(parameters.bonds) == {pair for i, j in graph.bonds.tolist() for pair in ((i, j), (j, i))}
    assert all(parameters.bonds[i, j] == parameters.bonds[j, i] for i, j in parameters.bonds)
    terms = [0.5 * k * (np.linalg.norm(x[i] - x[j]) - r) ** 2 for (i, j), (r, k) in parameters.bonds.items() if i < j]
    others = urey_bradley(graph, system, x)  # which are no bonds; CHARMM alone has them
    assert math.fsum(terms) + others == pytest.approx(energy_of(system, openmm.HarmonicBondForce, x), rel=1e-9)


def test_angles_give_openmms_energy(molecule):
    graph, system, x, parameters = molecule
    total = 0.0
    for (i, j, k), (at, stiffness) in parameters.angles.items():
        assert parameters.angles[k, j, i] == (at, stiffness)
        if i < k:
            u, v = x[i] - x[j], x[k] - x[j]
            total += 0.5 * stiffness * (math.acos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)) - at) ** 2
    assert total == pytest.approx(energy_of(system, openmm.HarmonicAngleForce, x), rel=1e-9)
    degrees = [sum(j == centre for j in graph.bonds.ravel()) for centre in range(len(graph))]
    assert len(parameters.angles) == sum(d * (d - 1) for d in degrees)


def test_torsions_give_openmms_energy(molecule):
    _, system, x, parameters = molecule
    total = 0.0
    for (a, b, c, d), terms in parameters.torsions.items():
        assert parameters.torsions[d, c, b, a] == terms
        first, second = np.cross(x[b] - x[a], x[c] - x[b]), np.cross(x[c] - x[b], x[d] - x[c])
        turn = math.atan2(np.linalg.norm(x[c] - x[b]) * (x[b] - x[a]) @ second, first @ second)
        total += 0.5 * math.fsum(k * (1 + math.cos(n * turn - phase)) for n, phase, k in terms)  # each is there in both orders
    assert total == pytest.approx(energy_of(system, openmm.PeriodicTorsionForce, x), rel=1e-9)


def test_charges_and_lennard_jones_are_those_of_the_force(molecule):
    graph, system, _, parameters = molecule
    (force,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    for k in range(len(graph)):
        found = parameters.charge[k], parameters.sigma[k], parameters.epsilon[k]
        assert found == tuple(value._value for value in force.getParticleParameters(k))
    assert parameters.charge.sum() == pytest.approx(graph.total_charge, abs=1e-6)


def test_a_system_without_such_terms_gets_typical_ones():
    graph = MolecularGraph.from_smiles("CC=O")
    parameters = read_parameters(graph, openmm.System())
    assert parameters.bonds[0, 1][0] == pytest.approx(0.152, abs=0.01) and parameters.bonds[1, 2][0] < 0.15
    assert parameters.angles[0, 1, 2][0] == pytest.approx(math.radians(120))
    assert parameters.angles[3, 0, 4][0] == pytest.approx(math.radians(109.5))
    assert not parameters.torsions and not parameters.charge.any() and not parameters.epsilon.any()
    assert all(k > 0 for _, k in (*parameters.bonds.values(), *parameters.angles.values()))


def test_a_term_without_stiffness_keeps_its_equilibrium():
    """Where nothing holds a bond its thermal width would be infinite."""
    graph, system = MolecularGraph.from_smiles("O"), openmm.System()
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    bonds.addBond(0, 1, 0.2, 0.0)
    angles.addAngle(1, 0, 2, 1.5, 0.0)
    system.addForce(bonds)
    system.addForce(angles)
    parameters = read_parameters(graph, system)
    assert parameters.bonds[1, 0][0] == 0.2 and parameters.bonds[1, 0][1] > 0
    assert parameters.angles[2, 0, 1][0] == 1.5 and parameters.angles[2, 0, 1][1] > 0
