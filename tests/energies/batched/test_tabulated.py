"""Tabulated functions against OpenMM: in range, at its ends and outside, values and derivatives."""

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import BatchedEnergy, ContextEnergy
from openmm_confgf.energies.batched.tabulated import SplineTable
from openmm_confgf.errors import UnsupportedForceError

RNG = np.random.default_rng(0)
WAVE = np.append(wave := RNG.normal(size=11), wave[0])


def of_distances(text, atoms=3, **functions):
    """A function of the distance of each pair, and of each atom's own number k1 and k2."""
    system, force = openmm.System(), openmm.CustomNonbondedForce(text)
    for name, function in functions.items():
        force.addTabulatedFunction(name, function)
    force.addPerParticleParameter("k")
    for k in range(atoms):
        system.addParticle(1.0)
        force.addParticle([k])
    system.addForce(force)
    return system


def pair_at(distances):
    """Two atoms, (B, 2, 3)."""
    points = np.zeros((len(distances), 2, 3))
    points[:, 1, 0] = distances
    return points


def same_as_openmm(system, points):
    with ContextEnergy(system, "Reference") as context:
        theirs = context.evaluate(points, forces=True)
    ours = BatchedEnergy(system, device="cpu").evaluate(points, forces=True)
    assert theirs.ok.all() and ours.ok.all()
    np.testing.assert_allclose(ours.energy, theirs.energy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.forces, theirs.forces, rtol=1e-9, atol=1e-9)


POINTS = np.random.default_rng(1).uniform(0, 3, size=(30, 3, 3))


@pytest.mark.parametrize(
    "table",
    [
        openmm.Continuous1DFunction(RNG.normal(size=12), 0.3, 2.7),
        openmm.Continuous1DFunction(RNG.normal(size=2), 0.3, 2.7),
        openmm.Continuous1DFunction(RNG.normal(size=3), 0.0, 9.0),
        openmm.Continuous1DFunction(WAVE, 0.5, 1.1, True),
    ],
    ids=["natural", "two points", "three points", "periodic"],
)
def test_splines(table):
    same_as_openmm(of_distances("f(r) + 0.3*f(r*r/2) + f(2*r - 3)*k1", f=table), POINTS)


def test_splines_at_the_ends_of_their_range():
    """Zero outside, and the end points belong to it."""
    table = openmm.Continuous1DFunction([1.0, 4.0, 2.0], 1.0, 3.0)
    distances = [0.5, 1.0, np.nextafter(2.0, 0), 2.0, 3.0, np.nextafter(3.0, 4), 7.0]
    same_as_openmm(of_distances("f(r)", 2, f=table), pair_at(distances))


def test_lookup_tables_of_one_argument():
    same_as_openmm(of_distances("r*f(k1)*f(k2)", f=openmm.Discrete1DFunction(RNG.normal(size=3))), POINTS)


def test_lookup_tables_of_two_and_three_arguments():
    """The first argument varies fastest in OpenMM's list of values; no size is that of another axis."""
    two = openmm.Discrete2DFunction(3, 4, RNG.normal(size=12))
    three = openmm.Discrete3DFunction(3, 4, 5, RNG.normal(size=60))
    same_as_openmm(of_distances("r^2*two(k1, k2 + 1) + r^3*three(k2, k1 + 1, k1 + k2)", two=two, three=three), POINTS)


def test_lookups_round_their_arguments():
    """Sums of floating-point numbers may miss a whole number by a little; they have no derivative."""
    table = openmm.Discrete2DFunction(5, 1, [5.0, 7.0, -1.0, 3.0, 2.0])
    same_as_openmm(of_distances("f(r - 1, 0) + 2*r", 2, f=table), pair_at([0.51, 1.0, 1.49, 1.51, 2.49, 3.1, 5.4]))


def test_a_lookup_outside_of_its_table_fails_alone():
    """OpenMM leaves undefined what it gives there."""
    system = of_distances("f(r, 0)*r", 2, f=openmm.Discrete2DFunction(2, 1, [1.0, 2.0]))
    result = BatchedEnergy(system, device="cpu").evaluate(pair_at([0.7, 2.2, 0.2]), forces=True)
    assert result.ok.tolist() == [True, False, True]
    np.testing.assert_allclose(result.energy, [1.4, np.inf, 0.2])


def test_second_derivatives_of_splines():
    table = SplineTable(WAVE, 0.5, 1.1, periodic=True)
    x = torch.linspace(0.1, 2.0, 15, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(table, x) and torch.autograd.gradgradcheck(table, x)


@pytest.mark.parametrize(
    "table",
    [
        openmm.Continuous2DFunction(3, 3, [0.0] * 9, 0, 1, 0, 1),
        openmm.Continuous3DFunction(3, 3, 3, [0.0] * 27, 0, 1, 0, 1, 0, 1),
    ],
)
def test_continuous_functions_of_more_arguments_are_refused_by_name(table):
    system = of_distances("r*f(r, k1)", f=table)
    with pytest.raises(UnsupportedForceError, match=f"CustomNonbondedForce uses a {type(table).__name__}"):
        BatchedEnergy(system, device="cpu")
