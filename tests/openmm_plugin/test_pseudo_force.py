"""ConfGF's score as a force: the one of the generator, with its noise as a parameter, and without an energy."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from packaging.version import Version

from openmm_confgf import generate
from openmm_confgf.errors import ForceFieldError, UnsupportedMoleculeError, WeightsError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import add_pseudo_force
from openmm_confgf.openmm_plugin.graph_force import OLDEST, latest_sha256, molecule_text
from openmm_confgf.openmm_plugin.pseudo_force import SIGMA, PseudoForce
from openmm_confgf.units import kT

if Version(openmm.version.short_version) < Version(OLDEST):
    pytest.skip(f"PythonForces on particles need OpenMM {OLDEST}", allow_module_level=True)

SMILES = "CCO"


@pytest.fixture(scope="module")
def start():
    return generate(SMILES, 1, generator="etkdg", seed=1)


def system_of(graph):
    system = openmm.System()
    for atom in graph.mol.GetAtoms():
        system.addParticle(atom.GetMass())
    return system


@pytest.fixture(scope="module")
def system(start):
    system = system_of(start.graph)
    add_pseudo_force(system, start.graph, sigma=0.02)
    return system


def context_of(system, positions, integrator=None):
    made = openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    made.setPositions(positions * unit.nanometer)
    return made


def test_the_force_is_kt_times_the_score_at_the_noise_that_the_context_has(system, start):
    context = context_of(system, start.positions[0])
    force = system.getForce(0)
    compute = PseudoForce(*_arguments(force))
    x = torch.from_numpy(start.positions[0] * 10)[None, None]
    for sigma in (0.02, 0.05):
        context.setParameter(SIGMA, sigma)
        found = context.getState(forces=True, energy=True)
        denoised = compute.net(compute.net.encode(compute.batch), x, torch.full((1, 1), 10 * sigma).double(), compute.batch.hands[:, None])
        wanted = 10 * kT(298.15) * (denoised - x)[0, 0] / (10 * sigma) ** 2
        forces = found.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        np.testing.assert_allclose(forces, wanted.numpy(), atol=1e-6)
        assert found.getPotentialEnergy()._value == 0


def _arguments(force):
    """Those that the force is restored from."""
    return "confgf", latest_sha256("confgf"), molecule_text(MolecularGraph.from_smiles(SMILES))


def test_minimisation_does_nothing(system, start):
    context = context_of(system, start.positions[0])
    openmm.LocalEnergyMinimizer.minimize(context)
    after = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(after, start.positions[0], atol=1e-7)


def test_annealing_brings_a_molecule_out_of_noise_to_a_conformer(system, start):
    noisy = start.positions[0] + 0.05 * np.random.default_rng(0).standard_normal((9, 3))
    integrator = openmm.LangevinMiddleIntegrator(298.15, 20, 0.001)
    integrator.setRandomNumberSeed(1)
    context = context_of(system, noisy, integrator)
    for sigma in np.geomspace(0.05, 0.01, 12):
        context.setParameter(SIGMA, sigma)
        integrator.step(25)
    found = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    before, after = (rmsd_matrix(start.graph, start.positions, frame[None])[0, 0] for frame in (noisy, found))
    assert after < min(0.03, before)


def test_it_can_be_on_a_part_of_a_system(start):
    system = openmm.System()
    for mass in (16.0, 1.0, 1.0):
        system.addParticle(mass)
    for atom in start.graph.mol.GetAtoms():
        system.addParticle(atom.GetMass())
    add_pseudo_force(system, start.graph, atoms=range(3, 12))
    alone = system_of(start.graph)
    add_pseudo_force(alone, start.graph)
    x = start.positions[0] + 0.01 * np.random.default_rng(1).standard_normal((9, 3))
    forces = [
        context_of(made, positions).getState(forces=True).getForces(asNumpy=True)._value
        for made, positions in ((system, np.concatenate([np.ones((3, 3)), x])), (alone, x))
    ]
    assert not forces[0][:3].any()
    np.testing.assert_allclose(forces[0][3:], forces[1], atol=1e-9)


def test_particles_of_another_order_or_number_are_refused_by_name(start):
    other = MolecularGraph.from_smiles("COC")
    with pytest.raises(ForceFieldError, match="the particles are C O C .* the atoms C C O"):
        add_pseudo_force(system_of(other), start.graph)
    for atoms in (range(8), [0, 0, 1, 2, 3, 4, 5, 6, 7], range(1, 10)):
        with pytest.raises(ForceFieldError, match="each once"):
            add_pseudo_force(system_of(start.graph), start.graph, atoms=atoms)


def test_bad_values_are_refused_at_once_and_while_running(system, start):
    for sigma in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="sigma is"):
            add_pseudo_force(system_of(start.graph), start.graph, sigma=sigma)
    with pytest.raises(ValueError, match="0.0 K"):
        add_pseudo_force(system_of(start.graph), start.graph, temperature=0)
    with pytest.raises(UnsupportedMoleculeError, match="never saw"):
        add_pseudo_force(system_of(MolecularGraph.from_smiles("C[Se]C")), "C[Se]C")
    with pytest.raises(WeightsError, match="EnergyField|ConfGF"):
        add_pseudo_force(system_of(start.graph), start.graph, weights="confgf-paper")
    context = context_of(system, start.positions[0])
    context.setParameter(SIGMA, 0.0)
    with pytest.raises(openmm.OpenMMException, match="openmm_confgf, PseudoForce of 'CCO': the parameter confgf_sigma is 0.0"):
        context.getState(forces=True)
