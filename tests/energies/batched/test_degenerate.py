"""Atoms on a line or in one place: NON_FINITE in every way to evaluate them where a dihedral or angle matters; OK in straight molecules."""

import numpy as np
import openmm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from openmm_confgf.energies import BatchedEnergy, ContextEnergy, create_system, minimize
from openmm_confgf.energies.batched.coordinates import RESOLUTION
from openmm_confgf.energies.batched.degenerate import without_idle
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

STRAIGHT = {
    "C#N": [0, 1.16, -1.07],
    "C#C": [0, 1.2, -1.07, 2.27],
    "N#CC#N": [0, 1.16, 2.54, 3.7],
    "CC#N": [0, 1.46, 2.62],
    "CC#CC": [0, 1.46, 2.66, 4.12],
    "CC#CC#CC": [0, 1.46, 2.66, 4.03, 5.23, 6.69],
}
"""Places of atoms on a line in the order of the graph, Angstrom; methyl groups stand at the ends."""


def periodic(k=5.0):
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 3, 0.3, k)
    return force


def ryckaert_bellemans():
    force = openmm.RBTorsionForce()
    force.addTorsion(0, 1, 2, 3, 1.0, 2.0, -3.0, 0.5, 0.2, 0.1)
    return force


def correction_map():
    force = openmm.CMAPTorsionForce()
    force.addMap(4, np.random.default_rng(1).normal(scale=5, size=16))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    return force


def custom_torsion():
    force = openmm.CustomTorsionForce("step(theta)+min(theta,2)")
    force.addTorsion(0, 1, 2, 3, [])
    return force


def harmonic_angle():
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.9, 400)
    return force


def custom_angle():
    force = openmm.CustomAngleForce("3*step(theta-1)+theta")
    force.addAngle(0, 1, 2, [])
    return force


FORCES = {make.__name__: make for make in (periodic, ryckaert_bellemans, correction_map, custom_torsion, harmonic_angle, custom_angle)}


def system_of(*forces):
    system = openmm.System()
    for _ in range(5):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


@pytest.fixture(scope="module", params=FORCES)
def three_ways(request):
    """The same force in float64, in float32 and in a Context."""
    system = system_of(FORCES[request.param]())
    with ContextEnergy(system, "Reference") as context:
        yield BatchedEnergy(system, device="cpu"), BatchedEnergy(system, device="cpu", dtype=torch.float32), context


def zigzag():
    return np.array([[0.12 * k, 0.05 * (k % 2), 0.03 * (k == 3)] for k in range(5)])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(data=st.data())
def test_neither_orientation_nor_precision_decides(three_ways, data):
    """Atoms 0, 1 and 2 on a line or in one place, up to an offset of any size: one status, and one energy where that is OK."""
    double, single, context = three_ways
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    frame, along = zigzag(), rng.normal(size=3)
    along /= np.linalg.norm(along)
    match data.draw(st.sampled_from(["line", "first in one place", "last in one place"])):
        case "line":
            frame[0], frame[2] = frame[1] + rng.uniform(-0.3, 0.3) * along, frame[1] + rng.uniform(-0.3, 0.3) * along
        case "first in one place":
            frame[0] = frame[1]
        case "last in one place":
            frame[2] = frame[1]
    # not near the tolerance itself, where rounding has its say
    size = 10.0 ** data.draw(st.one_of(st.floats(-18, -6.5), st.floats(-3.5, -2)))
    frame[0] += size * rng.normal(size=3)
    frames = np.array([Rotation.random(random_state=rng).apply(frame) for _ in range(4)] + [frame])
    found = double.evaluate(frames)
    assert len(set(found.status.tolist())) == 1
    assert found.status.tolist() == single.evaluate(frames).status.tolist() == context.evaluate(frames).status.tolist()
    if found.ok.all():
        assert np.ptp(found.energy) < 1e-6
        np.testing.assert_allclose(context.evaluate(frames).energy, found.energy, atol=1e-5)


def test_random_frames_on_a_line_have_no_dihedral():
    rng = np.random.default_rng(0)
    along = rng.normal(size=(1000, 1, 3))
    frames = rng.normal(size=(1000, 1, 3)) + np.sort(rng.uniform(-1, 1, (1000, 5, 1)), 1) * along
    system = system_of(periodic())
    for dtype in (torch.float64, torch.float32):
        assert (BatchedEnergy(system, device="cpu", dtype=dtype).evaluate(frames).status == Status.NON_FINITE).all()
    with ContextEnergy(system, "CPU") as context:
        assert (context.evaluate(frames).status == Status.NON_FINITE).all()


@pytest.mark.parametrize(("offset", "status"), [(0.5, Status.NON_FINITE), (2.0, Status.OK)])
def test_where_the_tolerance_lies(offset, status):
    """Atoms 0.1 nm apart, the first beside the line of the next two by so many times the resolution."""
    frame = np.array([[0, offset * RESOLUTION, 0], [0.1, 0, 0], [0.2, 0, 0], [0.25, 0.1, 0], [0.3, 0.2, 0.1]])
    system = system_of(periodic())
    for dtype in (torch.float64, torch.float32):
        assert BatchedEnergy(system, device="cpu", dtype=dtype).evaluate(frame).status == [status]
    with ContextEnergy(system, "Reference") as context:
        assert context.evaluate(frame).status == [status]


def test_single_precision_is_good_to_a_tenth_of_kt_at_the_tolerance():
    """What the tolerance is for: a barrier of 10 kJ/mol in frames about a nanometre from their centre, just off a line."""
    rng = np.random.default_rng(5)
    frame = np.array([[0, 1.1 * RESOLUTION, 0], [0.1, 0, 0], [0.2, 0, 0], [0.25, 0.1, 0], [-1.7, 0.6, 0.4]])
    frames = np.array([Rotation.random(random_state=rng).apply(frame) for _ in range(500)])
    system = system_of(periodic(5.0))
    exact = BatchedEnergy(system, device="cpu").evaluate(frames)
    single = BatchedEnergy(system, device="cpu", dtype=torch.float32).evaluate(frames)
    assert np.ptp(exact.energy) < 1e-9 and single.ok.all()
    assert 1e-4 < np.abs(single.energy - exact.energy).max() < 0.25


@pytest.mark.parametrize("smiles", STRAIGHT)
def test_straight_molecules_have_an_energy(smiles):
    """Their torsions cost nothing, so that it does not matter that there are none: along an axis, where all is exact, and turned."""
    along = 0.1 * np.array(STRAIGHT[smiles])
    ends = [(x, outwards) for x, outwards in ((along[0], -1), (along[-1], 1)) if smiles[::-outwards].startswith("CC")]
    turns = 2 * np.pi * np.arange(3) / 3
    hydrogens = [(x + 0.036 * outwards, 0.103 * np.cos(turn), 0.103 * np.sin(turn)) for x, outwards in ends for turn in turns]
    on_axis = np.array([*((x, 0.0, 0.0) for x in along), *hydrogens])
    frames = np.array([on_axis, *(Rotation.random(random_state=k).apply(on_axis) for k in range(8))])
    system = create_system(MolecularGraph.from_smiles(smiles))
    double = BatchedEnergy(system, device="cpu").evaluate(frames, forces=True)
    assert double.ok.all() and np.ptp(double.energy) < 1e-6
    assert BatchedEnergy(system, device="cpu", dtype=torch.float32).evaluate(frames, forces=True).ok.all()
    for platform, tolerance in (("Reference", 1e-5), ("CPU", 1e-2)):
        with ContextEnergy(system, platform) as context:
            found = context.evaluate(frames, forces=True)
            assert found.ok.all()
            np.testing.assert_allclose(found.energy, double.energy, atol=tolerance)
            assert minimize(context, frames[:1]).status == [Status.OK]


def test_a_torsion_that_costs_something_is_kept():
    idle, busy = periodic(0.0), periodic(5.0)
    idle.addTorsion(1, 2, 3, 4, 2, 0.1, 3.0)
    idle.setForceGroup(7)
    system = system_of(idle, busy)
    lean = without_idle(system)
    assert without_idle(lean) is lean and system.getForce(0).getNumTorsions() == 2
    kept = {force.getForceGroup(): [force.getTorsionParameters(k) for k in range(force.getNumTorsions())] for force in lean.getForces()}
    assert kept == {7: [idle.getTorsionParameters(1)], 0: [busy.getTorsionParameters(0)]}


def test_a_periodic_force_may_reach_for_an_image():
    """Two atoms at a box vector's distance are bonded across it: a line only to those who do not know the box."""
    force = periodic()
    force.setUsesPeriodicBoundaryConditions(True)
    system = system_of(force)
    system.setDefaultPeriodicBoxVectors([1, 0, 0], [0, 1, 0], [0, 0, 1])
    frame = zigzag()
    frame[0] = frame[1] - (frame[2] - frame[1])
    with ContextEnergy(system, "Reference") as context:
        assert context.evaluate(frame + [[0.0, 0, 0]] * 5).ok.all()
