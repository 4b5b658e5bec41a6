"""Pure formulas: constants, limits and derivatives that can be checked without a System."""

import math

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import BatchedEnergy, ContextEnergy
from openmm_confgf.energies.batched import formulas, gb
from openmm_confgf.energies.batched.cmap import bicubic_patches, cmap_energy


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_coulomb_constant_is_openmms():
    """Two unit charges 1 nm apart."""
    system, force = openmm.System(), openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(1.0)
        force.addParticle(1.0, 1.0, 0.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([openmm.Vec3(0, 0, 0), openmm.Vec3(1, 0, 0)])
    theirs = context.getState(getEnergy=True).getPotentialEnergy()._value
    assert pytest.approx(theirs, rel=1e-12) == formulas.COULOMB_CONSTANT == pytest.approx(138.9354576, rel=1e-8)


def test_lennard_jones_has_its_minimum_where_it_should():
    sigma, epsilon = numbers(0.3), numbers(0.7)
    r = (sigma * 2 ** (1 / 6)).requires_grad_(True)
    energy = formulas.lennard_jones(r, sigma, epsilon)
    (slope,) = torch.autograd.grad(energy.sum(), r)
    assert energy.item() == pytest.approx(-0.7) and abs(slope.item()) < 1e-10
    assert formulas.lennard_jones(sigma, sigma, epsilon).item() == pytest.approx(0, abs=1e-12)


def test_harmonic_and_torsions():
    assert formulas.harmonic(numbers(0.25), numbers(0.15), numbers(1000.0)).item() == pytest.approx(5.0)
    assert formulas.periodic_torsion(numbers(math.pi), numbers(3.0), numbers(0.0), numbers(2.0)).item() == pytest.approx(0, abs=1e-12)
    assert formulas.periodic_torsion(numbers(0.0), numbers(2.0), numbers(math.pi), numbers(2.0)).item() == pytest.approx(0, abs=1e-12)
    # cos(phi - 180 deg) is 1 for trans
    coefficients = numbers(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert formulas.ryckaert_bellemans(numbers(math.pi), *coefficients).item() == pytest.approx(21)
    assert formulas.ryckaert_bellemans(numbers(0.0), *coefficients).item() == pytest.approx(1 - 2 + 3 - 4 + 5 - 6)


def test_the_reaction_field_ends_at_the_cutoff():
    assert formulas.reaction_field(numbers(0.9), numbers(1.0), 0.9, 78.3).item() == pytest.approx(0, abs=1e-10)
    assert formulas.reaction_field(numbers(0.4), numbers(0.5), 0.9, 1.0).item() == pytest.approx(
        formulas.COULOMB_CONSTANT * 0.5 * (1 / 0.4 - 1 / 0.9)
    )


def test_the_switching_function_and_two_derivatives_are_continuous():
    r = numbers(0.2, 0.6, 0.8, 0.9, 1.3).requires_grad_(True)
    value = formulas.switching(r, 0.6, 0.9)
    (first,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    x = 2 / 3
    np.testing.assert_allclose(value.detach().numpy(), [1, 1, 1 - 10 * x**3 + 15 * x**4 - 6 * x**5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(first.detach().numpy()[[0, 1, 3, 4]], 0, atol=1e-10)
    np.testing.assert_allclose(second.numpy()[[0, 1, 3, 4]], 0, atol=1e-9)


def test_descreening_is_an_integral():
    """Over the part of the other atom's sphere that lies outside of this atom, of ``1 / (4 pi x^4)`` at distance x."""
    for r, radius, scaled in ((0.3, 0.12, 0.1), (0.15, 0.12, 0.1), (0.05, 0.12, 0.2), (0.02, 0.2, 0.1)):
        x = np.linspace(max(radius, abs(r - scaled)), r + scaled, 200001)
        # the share of the sphere of radius x around this atom that lies inside of the other
        share = np.clip((scaled**2 - (x - r) ** 2) / (4 * x * r), 0, 1)
        lens = np.trapezoid(share / x**2, x) if r + scaled > radius else 0
        # where the other atom engulfs this one, whole spheres lie inside of it
        engulfed = 1 / radius - 1 / (scaled - r) if radius < scaled - r else 0
        found = gb.descreening(numbers(r), numbers(radius), numbers(scaled)).item()
        assert found == pytest.approx(lens + engulfed, rel=1e-6, abs=1e-9)


def test_born_radii_of_atoms_alone():
    radius = numbers(0.15, 0.2)
    born = gb.born_radii(torch.zeros(2, dtype=torch.float64), radius)
    np.testing.assert_allclose(born.numpy(), radius.numpy() - 0.009)
    contrast = 1 - 1 / 78.5
    energy = gb.polarization_self(born, numbers(1.0, -1.0), contrast)
    np.testing.assert_allclose(energy.numpy(), -0.5 * contrast * 138.9354576 / (radius.numpy() - 0.009), rtol=1e-8)


def test_polarization_of_a_pair_tends_to_coulomb_and_to_the_self_energy():
    born = numbers(0.2)
    far = gb.polarization_pair(numbers(50.0), born**2, numbers(1.0), 0.5).item()
    assert far == pytest.approx(-0.5 * formulas.COULOMB_CONSTANT / 50, rel=1e-6)
    near = gb.polarization_pair(numbers(1e-9), born**2, numbers(1.0), 0.5).item()
    assert near == pytest.approx(2 * gb.polarization_self(born, numbers(1.0), 0.5).item(), rel=1e-6)


@pytest.mark.parametrize("formula", ["lennard_jones", "reaction_field", "descreening", "born_radii", "polarization_pair", "switching"])
def test_first_and_second_derivatives(formula):
    functions = {
        "lennard_jones": lambda r: formulas.lennard_jones(r, numbers(0.3), numbers(0.5)),
        "reaction_field": lambda r: formulas.reaction_field(r, numbers(0.3), 1.0, 78.3),
        "descreening": lambda r: gb.descreening(r, numbers(0.12), numbers(0.15)),
        "born_radii": lambda r: gb.born_radii(r, numbers(0.15)),
        "polarization_pair": lambda r: gb.polarization_pair(r, r**2, numbers(0.5), 0.9),
        "switching": lambda r: formulas.switching(r, 0.3, 0.9),
    }
    # none of them at the edge of a branch
    r = numbers(0.31, 0.44, 0.8, 1.2).requires_grad_(True)
    assert torch.autograd.gradcheck(functions[formula], r) and torch.autograd.gradgradcheck(functions[formula], r)


def spread(size, frames=40):
    """Angles (2, 1, B) all over the circle, among them the map's own points and its seam."""
    angles = np.random.default_rng(size).uniform(-np.pi, np.pi, size=(2, 1, frames))
    angles[:, 0, :4] = [[0, np.pi, -np.pi, 2 * np.pi / size], [0, -np.pi, 0, -2 * np.pi / size]]
    return torch.from_numpy(angles)


@pytest.mark.parametrize("size", [4, 5, 24])
def test_correction_maps_pass_through_their_points(size):
    grid = np.random.default_rng(size).normal(size=(size, size))
    patches = torch.from_numpy(bicubic_patches(grid).reshape(size * size, 4, 4))
    start, width = torch.tensor([[0]]), torch.tensor([[size]])
    points = 2 * np.pi / size * np.arange(size)
    first, second = (torch.from_numpy(angle.reshape(1, -1)) for angle in np.meshgrid(points, points, indexing="ij"))
    # a hair beside the points: rounding decides which patch a point itself belongs to
    found = cmap_energy(patches, start, width, first + 1e-9, second + 1e-9)
    np.testing.assert_allclose(found.numpy().reshape(size, size), grid, atol=1e-6)


@pytest.mark.parametrize("size", [4, 5, 24])
def test_correction_maps_are_smooth_and_periodic(size):
    grid = np.random.default_rng(size).normal(size=(size, size))
    patches = torch.from_numpy(bicubic_patches(grid).reshape(size * size, 4, 4))
    start, width = torch.tensor([[0]]), torch.tensor([[size]])

    def energy(angles):
        return cmap_energy(patches, start, width, angles[0], angles[1])

    angles = spread(size)
    np.testing.assert_allclose(energy(angles).numpy(), energy(angles + 2 * np.pi).numpy(), atol=1e-10)
    np.testing.assert_allclose(energy(angles - 1e-7).numpy(), energy(angles + 1e-7).numpy(), atol=1e-4)
    inner = angles[..., 4:].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(energy, inner) and torch.autograd.gradgradcheck(energy, inner, atol=1e-4)


def test_correction_maps_against_openmm():
    """Two maps of different sizes, three pairs of torsions of which two share atoms; the maps are not symmetric."""
    rng = np.random.default_rng(1)
    system, force = openmm.System(), openmm.CMAPTorsionForce()
    for _ in range(8):
        system.addParticle(1.0)
    maps = [rng.normal(scale=5, size=(size, size)) for size in (6, 9)]
    for grid in maps:
        force.addMap(len(grid), grid.T.ravel())  # the first angle varies fastest
    pairs = [(0, 0, 1, 2, 3, 1, 2, 3, 4), (1, 3, 4, 5, 6, 4, 5, 6, 7), (1, 7, 3, 1, 0, 5, 2, 6, 4)]
    for pair in pairs:
        force.addTorsion(*pair)
    system.addForce(force)
    frames = rng.normal(size=(30, 8, 3))
    with ContextEnergy(system, "Reference") as context:
        theirs = context.evaluate(frames, forces=True)
    ours = BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)
    np.testing.assert_allclose(ours.energy, theirs.energy, rtol=0, atol=1e-5)
    assert np.abs(ours.forces - theirs.forces).max() <= 1e-6 * np.abs(theirs.forces).max()
