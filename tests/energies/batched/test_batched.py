"""BatchedEnergy and energy(): what they take, and that nothing bad spreads."""

import warnings

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_confgf.energies import BatchedEnergy, ContextEnergy, energy
from openmm_confgf.errors import ConfGFError, UnsupportedForceError
from openmm_confgf.status import Status


@pytest.fixture(scope="module", params=[{}, {"solvent": False}, {"cutoff": 0.4}], ids=["solvent", "vacuum", "cutoff"])
def system(request, chain):
    return chain(6, **request.param)


def spoil(frame, how):
    match how:
        case "nan":
            frame[2, 1] = np.nan
        case "inf":
            frame[0, 0] = -np.inf
        case "coincident":
            frame[5] = frame[0]  # not bonded
        case "collapsed":
            frame[:] = 0.0
        case "exploded":
            frame *= 1e6


@pytest.mark.parametrize("how", ["nan", "inf", "coincident", "collapsed", "exploded"])
@pytest.mark.parametrize("forces", [False, True])
def test_bad_conformations_affect_themselves_only(how, forces, system, chain_frames):
    clean = chain_frames(9)
    batched = BatchedEnergy(system, device="cpu")
    expected = batched.evaluate(clean, forces)
    bad = [0, 4, 8]
    spoiled = clean.copy()
    for k in bad:
        spoil(spoiled[k], how)
    found = batched.evaluate(spoiled, forces)
    with ContextEnergy(system, "Reference") as context:
        assert found.status.tolist() == context.evaluate(spoiled, forces).status.tolist()
    assert np.flatnonzero(found.status).tolist() == bad
    assert (found.status[bad] == Status.NON_FINITE).all() and np.isposinf(found.energy[bad]).all()
    np.testing.assert_array_equal(found.energy[found.ok], expected.energy[found.ok])
    if forces:
        assert np.isnan(found.forces[bad]).all()
        np.testing.assert_array_equal(found.forces[found.ok], expected.forces[found.ok])
    else:
        assert found.forces is None


@pytest.mark.parametrize("how", ["nan", "inf", "coincident", "collapsed", "exploded"])
def test_bad_conformations_have_no_gradient(how, system, chain_frames):
    frames = chain_frames(3)
    batched = BatchedEnergy(system, device="cpu")
    expected = batched.evaluate(frames, forces=True)
    spoil(frames[1], how)
    positions = torch.from_numpy(frames).requires_grad_(True)
    values = batched.energy(positions)
    (gradient,) = torch.autograd.grad(values.sum(), positions, create_graph=True)
    (second,) = torch.autograd.grad((gradient**2).sum(), positions)
    assert values[1] == torch.inf and not gradient[1].any() and not second[1].any()
    assert gradient.isfinite().all() and second.isfinite().all() and second[0].any()
    np.testing.assert_allclose(gradient.detach()[[0, 2]].numpy(), -expected.forces[[0, 2]], rtol=1e-12, atol=1e-8)


def test_bonded_atoms_that_coincide_are_as_in_openmm(chain_frames):
    """A spring of no length has an energy; OpenMM gives it a force of zero, since there is no direction."""
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    for k in range(6):
        system.addParticle(1.0)
        if k:
            bonds.addBond(k - 1, k, 0.15, 1e4)
    system.addForce(bonds)
    frames = chain_frames(3)
    frames[1, 3] = frames[1, 2]
    with ContextEnergy(system, "Reference") as context:
        theirs = [context.evaluate(frames, forces) for forces in (False, True)]
    ours = [BatchedEnergy(system, device="cpu").evaluate(frames, forces) for forces in (False, True)]
    for found, expected in zip(ours, theirs, strict=True):
        assert found.status.tolist() == expected.status.tolist()
        np.testing.assert_allclose(found.energy, expected.energy, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours[1].forces, theirs[1].forces, rtol=0, atol=1e-6 * np.abs(theirs[1].forces).max())


def test_a_batch_of_one_is_a_batch_of_many(system, chain_frames):
    frames, batched = chain_frames(20), BatchedEnergy(system, device="cpu")
    many = batched.evaluate(frames, forces=True)
    for k, frame in enumerate(frames):
        for one in (batched.evaluate(frame, forces=True), batched.evaluate(frame[None], forces=True)):
            assert one.energy.shape == (1,) and one.forces.shape == (1, 6, 3)
            np.testing.assert_allclose(one.energy[0], many.energy[k], rtol=0, atol=1e-9)
            np.testing.assert_allclose(one.forces[0], many.forces[k], rtol=1e-12, atol=1e-9)


def test_batches_that_print_alike_have_their_own_energies(system, chain_frames):
    """Nothing is remembered from one call to the next."""
    first = chain_frames(2000)
    second = first.copy()
    second[1000, 2] += 1e-3
    assert str(first) == str(second)
    batched = BatchedEnergy(system, device="cpu")
    before, after = batched.evaluate(first).energy.copy(), batched.evaluate(second).energy
    assert np.flatnonzero(before != after).tolist() == [1000]
    first[5] = second[6]  # in place
    assert batched.evaluate(first).energy[5] == pytest.approx(after[6], abs=1e-9)


def test_permuted_conformations_have_permuted_energies(system, chain_frames):
    frames, batched = chain_frames(33), BatchedEnergy(system, device="cpu")
    expected, order = batched.evaluate(frames, forces=True), np.random.default_rng(0).permutation(33)
    found = batched.evaluate(frames[order], forces=True)
    np.testing.assert_allclose(found.energy, expected.energy[order], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.forces, expected.forces[order], rtol=1e-12, atol=1e-9)


def test_any_view_of_an_array_will_do(system, chain_frames):
    """Backwards, strided, transposed, read-only, of other byte order: without an error, and without a warning."""
    frames, batched = chain_frames(10), BatchedEnergy(system, device="cpu")
    expected = batched.evaluate(frames).energy
    read_only = frames.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view, order in (
            (np.asfortranarray(frames), slice(None)),
            (frames.astype(">f8"), slice(None)),
            (frames.tolist(), slice(None)),
            (torch.from_numpy(frames), slice(None)),
            (read_only, slice(None)),
            (frames[::3], slice(None, None, 3)),
            (frames[::-1], slice(None, None, -1)),
        ):
            np.testing.assert_allclose(batched.evaluate(view).energy, expected[order], rtol=0, atol=1e-9)


def test_input_is_not_changed(system, chain_frames):
    frames = chain_frames(3)
    frames[1] = np.nan
    before = frames.copy()
    BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("empty", [[], np.empty((0, 6, 3)), np.empty((0, 6, 3), np.float32), np.empty((0, 6, 3)) * unit.angstrom])
def test_empty_batches(empty, system):
    result = BatchedEnergy(system, device="cpu").evaluate(empty, forces=True)
    assert result.energy.shape == result.status.shape == (0,) and result.forces.shape == (0, 6, 3)


def test_wrong_numbers_of_atoms_are_told(system, chain_frames):
    batched = BatchedEnergy(system, device="cpu")
    for evaluate in (batched.evaluate, batched.decompose):
        with pytest.raises(ValueError, match="5 atoms.*6 particles"):
            evaluate(chain_frames(2, 5))
        for shape in ((6, 2), (1, 1, 6, 3), (18,), ()):
            with pytest.raises(ValueError, match="shape"):
                evaluate(np.zeros(shape))
    for positions in (torch.zeros(6, 3), torch.zeros(2, 5, 3), torch.zeros(2, 6, 3, dtype=torch.int64), torch.zeros(2, 6, 2)):
        with pytest.raises(ValueError, match=r"\(B, 6, 3\)"):
            batched.energy(positions)


def test_types_of_positions(chain):
    """Whole numbers are nm, Quantities are converted, single precision stays what it is."""
    batched = BatchedEnergy(chain(3), device="cpu")
    whole = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    expected = batched.evaluate(whole.astype(float)).energy
    for given in (whole, whole.tolist(), whole.astype(np.int8), whole.astype(np.float32), whole.astype(np.float16)):
        np.testing.assert_array_equal(batched.evaluate(given).energy, expected)
    for quantity in (10.0 * whole * unit.angstrom, [openmm.Vec3(*row) for row in whole.tolist()] * unit.nanometer):
        np.testing.assert_allclose(batched.evaluate(quantity).energy, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_other_precisions_are_refused(dtype, system):
    with pytest.raises(ConfGFError, match="torch.float64 or torch.float32"):
        BatchedEnergy(system, dtype=dtype)


def test_results_are_double_precision_and_tensors_keep_their_type(system, chain_frames):
    batched = BatchedEnergy(system, device="cpu", dtype=torch.float32)
    result = batched.evaluate(chain_frames(2), forces=True)
    assert result.energy.dtype == result.forces.dtype == np.float64 and result.status.dtype == np.int8
    for dtype in (torch.float32, torch.float64):
        positions = torch.from_numpy(chain_frames(2)).to(dtype).requires_grad_(True)
        values = batched.energy(positions)
        values.sum().backward()
        assert values.dtype == positions.grad.dtype == dtype


def test_gradients_are_minus_the_forces(system, chain_frames):
    batched, frames = BatchedEnergy(system, device="cpu"), chain_frames(4)
    positions = torch.from_numpy(frames).requires_grad_(True)
    weights = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    (batched.energy(positions) * weights).sum().backward()
    expected = -weights[:, None, None].numpy() * batched.evaluate(frames, forces=True).forces
    np.testing.assert_allclose(positions.grad.numpy(), expected, rtol=1e-12, atol=1e-9)
    assert not batched.energy(positions.detach()).requires_grad


def test_decomposition(chain, chain_frames):
    system, frames = chain(6), chain_frames(4)
    second = openmm.HarmonicBondForce()
    second.addBond(0, 5, 0.4, 10.0)
    second.setForceGroup(7)
    system.addForce(second)
    system.addForce(openmm.RBTorsionForce())  # holds nothing
    frames[2] = np.nan
    batched = BatchedEnergy(system, device="cpu")
    total = batched.evaluate(frames).energy
    by_force, by_group = batched.decompose(frames), batched.decompose(frames, by="group")
    names = "HarmonicBondForce HarmonicAngleForce PeriodicTorsionForce NonbondedForce GBSAOBCForce"
    assert list(by_force) == [*names.split(), "HarmonicBondForce 2"] and list(by_group) == [0, 7]
    for parts in (by_force, by_group):
        np.testing.assert_allclose(sum(parts.values()), total, rtol=0, atol=1e-9)
        assert all(np.isposinf(part[2]) and part.shape == (4,) for part in parts.values())
    np.testing.assert_array_equal(by_force["HarmonicBondForce 2"], by_group[7])
    with pytest.raises(ValueError, match="by='force' or by='group'"):
        batched.decompose(frames, by="atom")


def unsupported(chain, **settings):
    """A chain with a force that is not supported, whose strength is a global parameter."""
    system, force = chain(6, **settings), openmm.CustomCompoundBondForce(2, "strength*distance(p1, p2)")
    force.addGlobalParameter("strength", 3.0)
    force.addBond([0, 5], [])
    system.addForce(force)
    return system


def test_one_line(chain, chain_frames):
    frames = chain_frames(3)
    found = energy(chain(6), frames, forces=True, device="cpu")
    expected = BatchedEnergy(chain(6), device="cpu").evaluate(frames, forces=True)
    np.testing.assert_array_equal(found.energy, expected.energy)
    np.testing.assert_array_equal(found.forces, expected.forces)
    assert energy(chain(6), frames, device="cpu").forces is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy(chain(6), frames, fallback="context", device="cpu")


def test_the_fallback_warns_once_and_gives_the_energies_of_a_context(chain, chain_frames):
    system, frames = unsupported(chain), chain_frames(3)
    with pytest.raises(UnsupportedForceError, match="CustomCompoundBondForce"):
        energy(system, frames)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = energy(system, frames, forces=True, fallback="context", platform="Reference")
    assert [warning.category for warning in caught] == [UserWarning]
    assert "CustomCompoundBondForce" in str(caught[0].message) and caught[0].filename == __file__
    with ContextEnergy(system, "Reference") as context:
        expected = context.evaluate(frames, forces=True)
    np.testing.assert_array_equal(found.energy, expected.energy)
    np.testing.assert_array_equal(found.forces, expected.forces)


def test_the_fallback_takes_parameters(chain, chain_frames):
    """Or refuses them; it must not leave them out."""
    system, frames = unsupported(chain), chain_frames(3)
    with ContextEnergy(system, "Reference") as context:
        context.context.setParameter("strength", 50.0)
        expected = context.evaluate(frames).energy
    with pytest.warns(UserWarning):
        found = energy(system, frames, fallback="context", platform="Reference", parameters={"strength": 50.0})
    np.testing.assert_allclose(found.energy, expected, rtol=0, atol=1e-9)


def test_there_is_no_fallback_for_weights(chain, chain_frames):
    system = chain(6)
    system.addConstraint(0, 1, 0.15)
    with pytest.raises(UnsupportedForceError, match="constraints"):
        energy(system, chain_frames(2), fallback="context", for_reweighting=True)


def test_unknown_fallbacks_are_refused(chain, chain_frames):
    with pytest.raises(ValueError, match="fallback='context'"):
        energy(chain(6), chain_frames(2), fallback="openmm")


def test_nothing_of_torch_is_seeded_or_switched(system, chain_frames):
    """A library does not change its user's random numbers, default type or gradient mode."""
    state, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    with torch.no_grad():
        result = BatchedEnergy(system, device="cpu").evaluate(chain_frames(2), forces=True)
        assert not torch.is_grad_enabled()
    assert result.ok.all() and torch.equal(torch.random.get_rng_state(), state) and torch.get_default_dtype() == dtype


def test_lists_of_quantities_keep_their_unit(chain_frames, system):
    frames = chain_frames(3)
    batched = BatchedEnergy(system, device="cpu")
    expected = batched.evaluate(frames).energy
    angstrom = [frame * 10 * unit.angstrom for frame in frames]
    np.testing.assert_allclose(batched.evaluate(angstrom).energy, expected, atol=1e-8)
    vectors = [openmm.Vec3(*x) * 10 * unit.angstrom for x in frames[0]]
    np.testing.assert_allclose(batched.evaluate(vectors).energy, expected[:1], atol=1e-8)


def two_springs(first, second):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    for name, k in ((first, 100.0), (second, 300.0)):
        spring = openmm.HarmonicBondForce()
        spring.addBond(0, 1, 0.1, k)
        spring.setName(name)
        system.addForce(spring)
    return system


@pytest.mark.parametrize("names", [("x", "x"), ("x 2", "x"), ("x", "x 2"), ("bond a", "bond")])
def test_decomposition_loses_no_force_whatever_the_names(names):
    batched = BatchedEnergy(two_springs(*names), device="cpu")
    frame = [[0, 0, 0], [0.2, 0, 0]]
    parts = batched.decompose(frame)
    assert sorted(float(part[0]) for part in parts.values()) == pytest.approx([0.5, 1.5])
    assert batched.evaluate(frame).energy == pytest.approx(2.0)


def test_any_loss_of_a_bad_sample_has_gradient_zero(system, chain_frames):
    frames = torch.from_numpy(chain_frames(3)).clone()
    frames[1, 2] = torch.nan
    for graph in (False, True):
        positions = frames.clone().requires_grad_()
        energies = BatchedEnergy(system, device="cpu").energy(positions)
        (gradient,) = torch.autograd.grad((energies**2).sum(), positions, create_graph=graph)
        assert torch.isfinite(gradient).all() and (gradient[1] == 0).all() and (gradient[0] != 0).any()


def test_single_precision_far_from_the_origin(system, chain_frames):
    frames = chain_frames(4)
    single = BatchedEnergy(system, device="cpu", dtype=torch.float32)
    np.testing.assert_allclose(single.evaluate(frames + 5000.0).energy, single.evaluate(frames).energy, atol=2e-2)


def test_parameters_of_the_fallback_outlive_a_sample_that_raises():
    def compute(state):
        if state.getPositions(asNumpy=True)._value[0, 0] > 10:
            raise ValueError("out of range")
        return 0.0, np.zeros((2, 3))

    system = openmm.System()
    bond = openmm.CustomBondForce("scale*r")
    bond.addGlobalParameter("scale", 1.0)
    for _ in range(2):
        system.addParticle(1.0)
    bond.addBond(0, 1)
    system.addForce(bond)
    system.addForce(openmm.PythonForce(compute))
    frames = [[[0, 0, 0], [1, 0, 0]], [[11, 0, 0], [12, 0, 0]], [[0, 0, 0], [1, 0, 0]]]
    with pytest.warns(UserWarning, match="one conformation after the other"):
        result = energy(system, frames, fallback="context", parameters={"scale": 10.0}, platform="Reference")
    assert result.energy.tolist() == [10.0, np.inf, 10.0]
