"""Conformations of several molecules side by side: each as if it were alone."""

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import BatchedEnergy, PackedEnergy
from openmm_confgf.errors import ConfGFError
from openmm_confgf.status import Status


def alone(system, frames):
    return BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)


def same(found, expected):
    assert found.status.tolist() == expected.status.tolist()
    np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-12 * max(1, np.nanmax(np.abs(expected.forces), initial=0)))


def with_global(system, name, value):
    force = openmm.CustomBondForce(f"{name}*r^2")
    force.addGlobalParameter(name, value)
    force.addBond(0, 1, [])
    system.addForce(force)
    return system


@pytest.fixture(scope="module")
def mixture(chain, chain_frames):
    """Six molecules, of all sizes, with other forces and settings, and other numbers of conformations."""
    lone = openmm.System()
    lone.addParticle(1.0)
    lone.addParticle(1.0)
    systems = [chain(6), chain(3, solvent=False), chain(8, cutoff=0.4), chain(6, stiffness=2e5), lone, with_global(chain(5), "lambda", 3.0)]
    counts = (7, 3, 12, 1, 2, 0)
    frames = [chain_frames(count, system.getNumParticles(), seed) for seed, (system, count) in enumerate(zip(systems, counts, strict=True))]
    return systems, frames


def test_each_molecule_has_the_energy_that_it_has_alone(mixture):
    systems, frames = mixture
    packed = PackedEnergy(systems, device="cpu")
    assert packed.n_atoms == (6, 3, 8, 6, 2, 5)
    found = packed.evaluate(frames, forces=True)
    assert [len(result.energy) for result in found] == [7, 3, 12, 1, 2, 0]
    for system, x, result in zip(systems, frames, found, strict=True):
        same(result, alone(system, x))
        assert result.forces.shape == x.shape


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [1], [4, 4]])
def test_the_order_of_molecules_changes_nothing(order, mixture):
    systems, frames = mixture
    found = PackedEnergy([systems[k] for k in order], device="cpu").evaluate([frames[k] for k in order], forces=True)
    for k, result in zip(order, found, strict=True):
        same(result, alone(systems[k], frames[k]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9, 0.0])
def test_a_bad_conformation_of_one_molecule_does_not_touch_another(bad, mixture):
    systems, frames = mixture
    spoiled = [x.copy() for x in frames]
    spoiled[0][[0, 3, 6]] = bad  # all atoms; at 0.0 they coincide
    packed = PackedEnergy(systems, device="cpu")
    found, clean = packed.evaluate(spoiled, forces=True), packed.evaluate(frames, forces=True)
    for k in range(1, len(systems)):
        np.testing.assert_array_equal(found[k].energy, clean[k].energy)
        np.testing.assert_array_equal(found[k].forces, clean[k].forces)
    assert found[0].status.tolist() == [Status.NON_FINITE, 0, 0, Status.NON_FINITE, 0, 0, Status.NON_FINITE]
    np.testing.assert_array_equal(found[0].energy[found[0].ok], clean[0].energy[[1, 2, 4, 5]])


def test_systems_with_the_same_parameter_at_other_defaults(chain, chain_frames):
    systems = [with_global(chain(4), "lambda", value) for value in (1.0, 20.0, 300.0)]
    frames = [chain_frames(2, 4)] * 3
    for system, x, result in zip(systems, frames, PackedEnergy(systems, device="cpu").evaluate(frames, forces=True), strict=True):
        same(result, alone(system, x))


def test_parameters_are_set_in_all_systems(chain, chain_frames):
    systems = [with_global(chain(4), "lambda", value) for value in (1.0, 20.0)]
    x = chain_frames(2, 4)
    first, second = PackedEnergy(systems, device="cpu", parameters={"lambda": 5.0}).evaluate([x, x])
    expected = BatchedEnergy(systems[0], device="cpu", parameters={"lambda": 5.0}).evaluate(x)
    np.testing.assert_allclose(first.energy, expected.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(second.energy, expected.energy, rtol=0, atol=1e-9)


def solvated(chain, dielectric):
    """With generalized Born as a CustomGBForce whose dielectric constant is a global parameter, as OpenMM's own models have it."""
    system, force = chain(4, solvent=False), openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    force.addGlobalParameter("solventDielectric", dielectric)
    for k in range(4):
        force.addParticle([0.1 * k])
    force.addComputedValue("B", "exp(-r)", openmm.CustomGBForce.ParticlePair)
    force.addEnergyTerm("-138*(1 - 1/solventDielectric)*q^2/B", openmm.CustomGBForce.SingleParticle)
    system.addForce(force)
    return system


def test_solvents_of_other_dielectric_constants(chain, chain_frames):
    systems, x = [solvated(chain, 4.0), solvated(chain, 78.5)], chain_frames(2, 4)
    for system, result in zip(systems, PackedEnergy(systems, device="cpu").evaluate([x, x], forces=True), strict=True):
        same(result, alone(system, x))


def test_real_force_fields_side_by_side(ala2_system, ala2_positions, chain, chain_frames):
    """With tabulated functions of their own (gbn2), and with forces that only one of them has."""
    noise = np.random.default_rng(0).normal(scale=0.005, size=(4, *ala2_positions.shape))
    systems = [ala2_system("amber14-all.xml", "implicit/gbn2.xml"), chain(6), ala2_system("amber99sbildn.xml", "amber99_obc.xml")]
    frames = [ala2_positions + noise, chain_frames(3), (ala2_positions + noise)[:2]]
    for system, x, result in zip(systems, frames, PackedEnergy(systems, device="cpu").evaluate(frames, forces=True), strict=True):
        same(result, alone(system, x))


def test_differentiable_energies(mixture):
    systems, frames = mixture
    packed = PackedEnergy(systems, device="cpu")
    positions = [torch.from_numpy(x).requires_grad_(True) for x in frames]
    energies = packed.energy(positions)
    gradients = torch.autograd.grad([energy.sum() for energy in energies], positions)
    for energy, gradient, result in zip(energies, gradients, packed.evaluate(frames, forces=True), strict=True):
        np.testing.assert_allclose(energy.detach().numpy(), result.energy, rtol=0, atol=1e-9)
        np.testing.assert_allclose(-gradient.numpy(), result.forces, rtol=0, atol=1e-9)


def test_second_derivatives_of_one_molecule_alone(chain, chain_frames):
    """The others' positions may be constants."""
    packed = PackedEnergy([chain(4), chain(5)], device="cpu")
    moved, fixed = torch.from_numpy(chain_frames(2, 4)).requires_grad_(True), torch.from_numpy(chain_frames(2, 5))

    def gradient(x, y):
        first, second = packed.energy([x, y])
        return torch.autograd.grad(first.sum() + second.sum(), x, create_graph=True)[0]

    (found,) = torch.autograd.grad((gradient(moved, fixed) ** 2).sum(), moved)
    both = fixed.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad((gradient(moved, both) ** 2).sum(), moved)
    torch.testing.assert_close(found, expected)


def test_wrong_numbers_are_told(chain, chain_frames):
    packed = PackedEnergy([chain(4), chain(5)], device="cpu")
    with pytest.raises(ValueError, match="1 molecules for 2 Systems"):
        packed.evaluate([chain_frames(2, 4)])
    with pytest.raises(ValueError, match="4 atoms.*5 particles"):
        packed.evaluate([chain_frames(2, 4), chain_frames(2, 4)])
    with pytest.raises(ValueError, match=r"give floating-point \(B, 5, 3\)"):
        packed.energy([torch.zeros(2, 4, 3), torch.zeros(2, 4, 3)])
    with pytest.raises(ConfGFError, match="at least one"):
        PackedEnergy([])


def test_nothing_to_evaluate(chain):
    packed = PackedEnergy([chain(4), chain(5)], device="cpu")
    for result, n_atoms in zip(packed.evaluate([[], np.empty((0, 5, 3))], forces=True), (4, 5), strict=True):
        assert result.energy.shape == result.status.shape == (0,) and result.forces.shape == (0, n_atoms, 3)
