"""CustomGBForce against the Reference platform, and two of OpenMM's models against one another."""

import copy

import numpy as np
import openmm
import pytest

from openmm_confgf.energies import BatchedEnergy
from openmm_confgf.errors import UnsupportedForceError

COUNT = 6
ONE, PAIR, ALL = openmm.CustomGBForce.SingleParticle, openmm.CustomGBForce.ParticlePair, openmm.CustomGBForce.ParticlePairNoExclusions


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(scale=0.2, size=(10, COUNT, 3))


def system_with(*forces, count=COUNT):
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


def solvent(first, count=COUNT, parameters=("q", "radius", "scale"), second="tanh(a*radius) + 0.1*x", energies=True):
    """A first value of pairs, a second one that depends on it, energies of atoms and pairs."""
    rng, force = np.random.default_rng(1), openmm.CustomGBForce()
    for name in parameters:
        force.addPerParticleParameter(name)
    force.addGlobalParameter("solventDielectric", 78.5)
    for _ in range(count):
        force.addParticle(rng.uniform(0.1, 0.5, size=len(parameters)))
    # not symmetric in the two atoms of a pair
    force.addComputedValue("a", "radius1*scale2*exp(-r/(radius1 + 2*scale2)) + 0.01*solventDielectric", first)
    force.addComputedValue("b", second, ONE)
    if energies:
        force.addEnergyTerm("-q^2/(2*b + 1)*(1 - 1/solventDielectric) + 0.3*z*a", ONE)
        force.addEnergyTerm("q1*q2*(b1 + b2)*exp(-r*r)", PAIR)
        force.addEnergyTerm("0.1*a1*a2/(r + 1)", ALL)
    return force


@pytest.mark.parametrize("first", [PAIR, ALL])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("cutoff", [None, 0.3])
def test_values_and_energies(first, excluded, cutoff, frames, strange_frames, holds):
    force = solvent(first)
    if excluded:
        for pair in ((0, 1), (4, 2), (5, 0)):
            force.addExclusion(*pair)
    if cutoff:
        force.setNonbondedMethod(openmm.CustomGBForce.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)
    system = system_with(force)
    holds(system, frames)
    holds(system, frames, {"solventDielectric": 4.0})
    for strange in strange_frames(frames).values():
        holds(system, strange)


def test_beside_a_nonbonded_force_with_exceptions(frames, holds):
    """Both take their pairs from one list, which the exceptions order."""
    rng, standard, force = np.random.default_rng(2), openmm.NonbondedForce(), solvent(PAIR)
    for _ in range(COUNT):
        standard.addParticle(*rng.uniform([-1, 0.1, 0.1], [1, 0.2, 1]))
    standard.addException(0, 1, 0, 1, 0)
    standard.addException(4, 2, 0.3, 0.1, 0.2)
    force.addExclusion(0, 3)
    force.addExclusion(1, 0)
    swapped = copy.deepcopy(force), copy.deepcopy(standard)
    holds(system_with(standard, force), frames)
    holds(system_with(*swapped), frames)


def test_tabulated_functions(frames, holds):
    force = solvent(PAIR)
    force.addTabulatedFunction("neck", openmm.Discrete2DFunction(3, 3, np.arange(9.0)))
    force.addTabulatedFunction("fade", openmm.Continuous1DFunction([1.0, 0.5, 0.1, 0.0], 0.0, 0.8))
    force.addEnergyTerm("neck(floor(4*radius1), floor(4*radius2))*fade(r)", ALL)
    holds(system_with(force), frames)


def test_no_energies(frames, holds):
    """Without values, OpenMM's Reference platform crashes, so there is nothing to compare."""
    holds(system_with(solvent(PAIR, energies=False)), frames)


def test_no_parameters(frames, holds):
    force = openmm.CustomGBForce()
    for _ in range(COUNT):
        force.addParticle([])
    force.addComputedValue("a", "exp(-r)", ALL)
    force.addEnergyTerm("a^2", ONE)
    force.addEnergyTerm("a1*a2*r", ALL)
    holds(system_with(force), frames)


@pytest.mark.parametrize("kind", [PAIR, ALL])
@pytest.mark.parametrize("cutoff", [None, 0.3])
def test_expressions_without_a_distance(kind, cutoff, frames, holds):
    """Values and energies that are constants, or count pairs, or depend on other values only."""
    force = openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    for k in range(COUNT):
        force.addParticle([k + 1.0])
    force.addComputedValue("constant", "q1*q2^2", kind)
    force.addComputedValue("number", "2", ONE)
    force.addComputedValue("own", "q^2", ONE)
    force.addEnergyTerm("q1*q2", kind)
    force.addEnergyTerm("constant1 + constant2 + 2*own1*own2 + number1*number2", kind)
    force.addEnergyTerm("constant + own*number", ONE)
    force.addEnergyTerm("3", ONE)
    force.addExclusion(0, 1)
    if cutoff:
        force.setNonbondedMethod(openmm.CustomGBForce.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)
    holds(system_with(force), frames)


def test_one_atom(holds):
    holds(system_with(solvent(PAIR, count=1), count=1), np.ones((2, 1, 3)))


def test_unknown_names_are_refused():
    force = solvent(PAIR)
    force.addEnergyTerm("charge", ONE)
    with pytest.raises(UnsupportedForceError, match="CustomGBForce uses charge "):
        BatchedEnergy(system_with(force), device="cpu")
