"""Pieces, compiled code, and derivatives of whole Systems."""

import resource
import warnings

import numpy as np
import openmm
import pytest
import torch
from packaging.version import Version

from openmm_confgf.energies import BatchedEnergy, system_source
from openmm_confgf.energies.batched.potential import Potential
from openmm_confgf.energies.batched.read_system import read_systems
from openmm_confgf.errors import PlatformError
from openmm_confgf.generators.md import minimised_starts
from openmm_confgf.molecules.peptides import peptide


def potential(system, compiled=False, dtype=torch.float64):
    return Potential(read_systems([system]), [system.getNumParticles()], compiled).to(dtype)


def batch_last(frames, dtype=torch.float64):
    return torch.from_numpy(frames).permute(2, 1, 0).to(dtype)


@pytest.fixture
def springs():
    """Makes a System of springs, which compiles within seconds."""

    def make(n_atoms):
        system, bonds = openmm.System(), openmm.HarmonicBondForce()
        for k in range(n_atoms):
            system.addParticle(12.0)
            if k:
                bonds.addBond(k - 1, k, 0.15, 1e3)
        system.addForce(bonds)
        return system

    return make


def test_large_batches_are_evaluated_in_pieces(chain, chain_frames):
    whole, frames = potential(chain(12)), chain_frames(3001, 12)
    positions = batch_last(frames)
    size = whole.piece_size(len(frames), positions)
    assert size < len(frames) and len(frames) % size  # several, the last of them partial
    energy, forces = whole.evaluate(positions, True)
    assert energy.shape == (1, 3001) and forces.shape == (3, 12, 3001)
    for k in (0, size - 1, size, 2 * size - 1, len(frames) - 1):
        alone, push = whole.evaluate(positions[..., k : k + 1], True)
        torch.testing.assert_close(energy[:, k : k + 1], alone, rtol=0, atol=1e-9)
        torch.testing.assert_close(forces[..., k : k + 1], push, rtol=1e-12, atol=1e-8)


def test_pieces_are_powers_of_two_that_fit(chain):
    small, large = potential(chain(4)), potential(chain(40))
    positions = torch.empty(3, 4, 1)
    assert small.piece_size(1, positions) == small.piece_size(16, positions) == 16
    assert small.piece_size(17, positions) == 32
    assert small.piece_size(10**7, positions) > large.piece_size(10**7, positions) >= 16
    for count in (1, 100, 5000, 10**7):
        assert small.piece_size(count, positions).bit_count() == 1


def test_a_piece_that_does_not_fit_into_memory_is_halved(chain, chain_frames, monkeypatch):
    whole, positions = potential(chain(5)), batch_last(chain_frames(100, 5))
    expected = whole.evaluate(positions, True)
    sizes, evaluate = [], Potential._piece

    def tight(self, piece, size, forces):
        sizes.append(size)
        if size > 32:
            raise torch.OutOfMemoryError("a GPU's memory is full")
        return evaluate(self, piece, size, forces)

    monkeypatch.setattr(Potential, "_piece", tight)
    with pytest.warns(UserWarning, match="memory of the GPU does not hold so many"):
        result = whole.evaluate(positions, True)
    for found, known in zip(result, expected, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-12, atol=1e-9)
    assert sizes == [128, 64, 32, 32, 32, 32]


def test_memory_that_is_too_small_for_any_piece_is_told(chain, chain_frames, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("a GPU's memory is full")

    monkeypatch.setattr(Potential, "_piece", full)
    with pytest.warns(UserWarning), pytest.raises(PlatformError, match="does not hold 16 conformations; give device='cpu'"):
        potential(chain(5)).evaluate(batch_last(chain_frames(100, 5)), False)


def test_memory_does_not_grow(springs, chain_frames):
    """Over 5,000 calls, after the first 1,000 have filled every cache."""
    energy, frames = BatchedEnergy(springs(2), device="cpu"), chain_frames(4, 2)

    def kilobytes_after(calls):
        for _ in range(calls):
            energy.evaluate(frames, forces=True)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    early = kilobytes_after(1000)
    assert kilobytes_after(4000) - early < 4096


def test_forces_are_minus_the_gradient(chain, chain_frames):
    """Finite differences, of each coordinate."""
    system, step = chain(5), 1e-5
    energy, x = BatchedEnergy(system, device="cpu"), chain_frames(1, 5)
    moves = step * np.eye(15).reshape(15, 5, 3)
    slopes = (energy.evaluate(x + moves).energy - energy.evaluate(x - moves).energy) / (2 * step)
    forces = energy.evaluate(x, forces=True).forces
    np.testing.assert_allclose(-slopes, forces.ravel(), rtol=0, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("settings", [{}, {"cutoff": 0.35}])
def test_second_derivatives_are_those_of_finite_differences(settings, chain, chain_frames):
    energy, x, step = BatchedEnergy(chain(5, **settings), device="cpu"), chain_frames(2, 5), 1e-5
    positions = torch.from_numpy(x).requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy.energy(positions).sum(), positions, create_graph=True)
    rows = [torch.autograd.grad(gradient[0].flatten()[k], positions, retain_graph=True)[0] for k in range(15)]
    hessian = torch.stack(rows)
    assert not hessian[:, 1].any()  # of the other conformation
    hessian = hessian[:, 0].flatten(1).numpy()
    moves = step * np.eye(15).reshape(15, 5, 3)
    push = (energy.evaluate(x[:1] + moves, forces=True).forces - energy.evaluate(x[:1] - moves, forces=True).forces) / (2 * step)
    np.testing.assert_allclose(hessian, -push.reshape(15, 15), rtol=0, atol=1e-6 * np.abs(hessian).max())
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-9 * np.abs(hessian).max())


def test_gradients_of_gradients(chain, chain_frames):
    """torch's own check, in units that keep all derivatives of order one: 1e-4 kJ/mol."""
    energy, frames = BatchedEnergy(chain(4, stiffness=1e3), device="cpu"), torch.from_numpy(chain_frames(2, 4)).requires_grad_(True)

    def scaled(x):
        return 1e-4 * energy.energy(x)

    assert torch.autograd.gradcheck(scaled, frames, atol=1e-6)
    assert torch.autograd.gradgradcheck(scaled, frames, atol=1e-5)


def test_a_system_without_forces(chain_frames):
    system = openmm.System()
    for _ in range(6):
        system.addParticle(1.0)
    energy = BatchedEnergy(system, device="cpu")
    result = energy.evaluate(chain_frames(3), forces=True)
    assert not result.energy.any() and not result.forces.any() and result.ok.all()
    positions = torch.from_numpy(chain_frames(3)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy.energy(positions).sum(), positions, create_graph=True)
    assert not gradient.any()


def test_constants_have_no_forces(chain_frames):
    system, force = openmm.System(), openmm.CustomBondForce("k")
    force.addPerBondParameter("k")
    force.addBond(0, 1, [2.5])
    for _ in range(6):
        system.addParticle(1.0)
    system.addForce(force)
    result = BatchedEnergy(system, device="cpu").evaluate(chain_frames(3), forces=True)
    assert result.energy.tolist() == [2.5] * 3 and not result.forces.any()


def compiled_gives_the_same(system, dtype, frames):
    """For whole pieces and for a partial last one, with one compilation."""
    eager, compiled = potential(system, dtype=dtype), potential(system, True, dtype)
    tolerance = {torch.float64: 1e-12, torch.float32: 3e-5}[dtype]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if Version(torch.__version__).release < (2, 13):  # 2.5 and 2.6 compile some energies wrong, and are found out
            warnings.filterwarnings("ignore", message=".*compiles these energies wrong")
        for count in (16, 9, 1):
            positions = batch_last(frames[:count], dtype)
            for ours, plain in zip(compiled.evaluate(positions, True), eager.evaluate(positions, True), strict=True):
                assert ours.shape == plain.shape and ours.dtype == dtype
                torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance * float(plain.abs().max()))
    assert list(compiled._code) == [(16, True)]


@pytest.mark.parametrize("wrong", ["energy", "force"])
def test_code_that_torch_compiles_wrong_is_not_used(springs, chain_frames, monkeypatch, wrong):
    """As torch 2.5 does it, by 3 kJ/mol."""

    def miscompiled(traced, **options):
        def code(positions):
            energy, forces = traced(positions)
            return (energy + 3.2, forces) if wrong == "energy" else (energy, forces * 1.01)

        return code

    monkeypatch.setattr(torch, "compile", miscompiled)
    eager, compiled = potential(springs(4)), potential(springs(4), True)
    positions = torch.tensor(chain_frames(16, 4).transpose(2, 1, 0).copy())
    with pytest.warns(UserWarning, match="compiles these energies wrong.*upgrade torch"):
        found = compiled.evaluate(positions, True)
    for ours, plain in zip(found, eager.evaluate(positions, True), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=0)


def test_compiled_springs(springs, chain_frames):
    compiled_gives_the_same(springs(4), torch.float64, chain_frames(16, 4))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_compiled_forces_of_every_kind(dtype, chain, chain_frames):
    compiled_gives_the_same(chain(4), dtype, chain_frames(16, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gbn2", "obc2"])
def test_compiled_force_fields(name, ala2_system, ala2_positions):
    system = ala2_system("amber14-all.xml", f"implicit/{name}.xml")
    frames = ala2_positions + np.random.default_rng(0).normal(scale=0.005, size=(40, *ala2_positions.shape))
    ours, plain = (BatchedEnergy(system, device="cpu", compiled=yes).evaluate(frames, forces=True) for yes in (True, False))
    np.testing.assert_allclose(ours.energy, plain.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.forces, plain.forces, rtol=0, atol=1e-12 * np.abs(plain.forces).max())
    spoiled = frames.copy()
    spoiled[0] = np.nan  # the one that partial pieces are filled up with
    found = BatchedEnergy(system, device="cpu", compiled=True).evaluate(spoiled, forces=True)
    assert found.ok.tolist() == [False] + [True] * 39
    np.testing.assert_allclose(found.energy[1:], plain.energy[1:], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_compiled_code_is_trusted_at_minima():
    """In single precision, where large forces cancel; simulations start there."""
    graph = peptide(["ACE", "ALA", "NME"])
    system = system_source("amber99sbildn.xml,amber99_obc.xml").build(graph)
    minima = np.tile(minimised_starts(graph, system, 32, 0), (15, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential(system, True, torch.float32).evaluate(batch_last(minima, torch.float32), True)


def test_without_a_compiler_it_says_so_and_goes_on(springs, chain_frames, monkeypatch):
    def missing(*_, **__):
        raise torch._dynamo.exc.TorchDynamoException("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", missing)
    system, frames = springs(4), chain_frames(5, 4)
    energy = BatchedEnergy(system, device="cpu", compiled=True)
    with pytest.warns(UserWarning, match="No working C.. compiler found.*install a C"):
        found = energy.evaluate(frames, forces=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy.evaluate(frames, forces=True)
    plain = BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)
    np.testing.assert_allclose(found.energy, plain.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.forces, plain.forces, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_compiler_that_is_really_missing(springs, chain_frames):
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}):
        with pytest.warns(UserWarning, match="cannot compile here"):
            found = BatchedEnergy(springs(4), device="cpu", compiled=True).evaluate(chain_frames(5, 4), forces=True)
    assert found.ok.all()
