"""Weights and frames of one level of theory at another one, against integrals."""

import dataclasses
import math
import warnings

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from openmm_confgf import reweight
from openmm_confgf.across_levels import reweight_frames
from openmm_confgf.energies.levels import Level
from openmm_confgf.energies.scoring import score
from openmm_confgf.ensemble import Ensemble, Provenance, Target
from openmm_confgf.errors import ConfGFError, UnsupportedForceError, WrongTypeError
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.units import kT

T = 300.0
TORSION = [2, 0, 1, 3]


def with_torsion(peroxide, amplitude):
    """The System of peroxide with another twofold wave of its torsion, kJ/mol."""
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(peroxide))
    system.getForce(2).setTorsionParameters(0, 2, 0, 1, 3, 2, 0.0, amplitude)
    return system


def of_torsion(t, amplitude):
    return math.exp(-(amplitude * (1 + math.cos(2 * t)) + 4 * (1 + math.cos(t))) / kT(T))


def share(amplitude, low=-math.pi, high=math.pi):
    return quad(lambda t: of_torsion(t, amplitude), low, high)[0]


@pytest.fixture(scope="module")
def weighed(peroxide_samples):
    return reweight(peroxide_samples)


@pytest.fixture(scope="module")
def turned(weighed, peroxide):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return weighed.at_level(with_torsion(peroxide, 9.0))


def test_a_profile_is_that_of_the_other_torsion(weighed, turned):
    profile = turned.profile(TORSION, 12)
    exact = np.array([share(9.0, low, high) for low, high in zip(profile.edges[:-1], profile.edges[1:], strict=True)]) / share(9.0)
    counted = np.isfinite(profile.error) & (profile.probability > 0.001)
    assert counted.sum() >= 8
    assert (np.abs(profile.probability - exact)[counted] < 6 * (profile.error / kT(T) * profile.probability)[counted]).all()
    before = weighed.profile(TORSION, 12).probability
    assert np.abs(before - exact).max() > 6 * (profile.error / kT(T) * profile.probability)[counted].max()


def test_the_free_energy_between_them_is_the_ratio_of_integrals(weighed, turned):
    found = turned.free_energy_above(weighed)
    exact = -kT(T) * math.log(share(9.0) / share(5.0))
    assert found.error < 0.1 and abs(found.value - exact) < 6 * found.error
    assert weighed.free_energy_above(turned).value == pytest.approx(-found.value)


def test_it_says_what_it_is_of(weighed, turned, peroxide):
    assert turned.ensemble.target.forcefield == "openmm.System" and turned.temperature == T
    assert turned.ensemble.target.system_sha256 != weighed.ensemble.target.system_sha256
    assert turned.ensemble.provenance.settings["sampled"]["system_sha256"] == weighed.ensemble.target.system_sha256
    np.testing.assert_array_equal(turned.ensemble.log_q, weighed.ensemble.log_q)
    back = turned.at_level(Level(peroxide))
    np.testing.assert_allclose(back.log_weights, weighed.log_weights, atol=1e-6)


def test_truncation_is_not_taken_over(peroxide_samples, turned, peroxide):
    lowered = reweight(peroxide_samples, truncate=0.01).at_level(with_torsion(peroxide, 9.0))
    np.testing.assert_allclose(lowered.log_weights, turned.log_weights, atol=1e-9)
    assert lowered.diagnostics.truncated == 0


def test_samples_without_a_finite_energy_may_have_one_at_the_other_level(peroxide_samples, peroxide):
    energy = peroxide_samples.energy.copy()
    energy[:10] = np.inf
    found = reweight(peroxide_samples.replace(energy=energy))
    assert found.diagnostics.n_bad == 10 and found.at_level(peroxide).diagnostics.n_bad == 0


def test_without_overlap_there_is_no_profile(weighed, peroxide):
    far = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(peroxide))
    far.getForce(0).setBondParameters(0, 0, 1, 0.165, 2.5e5)
    with pytest.raises(ConfGFError, match="weights of openmm.System and openmm.System do not overlap"):
        weighed.at_level(far)


def test_weights_that_are_not_to_be_trusted_have_a_warning_and_no_free_energy(peroxide_samples, peroxide):
    with pytest.warns(UserWarning, match="fewer than the 100"):
        few = reweight(peroxide_samples[:60])
    with pytest.warns(UserWarning, match="fewer than the 100"):
        there = few.at_level(with_torsion(peroxide, 6.0))
    with pytest.raises(ConfGFError, match="no free energy of .*fewer than the 100"):
        there.free_energy_above(few)


def test_what_has_no_free_energy_between(weighed, turned, peroxide_samples, peroxide):
    for other in (reweight(peroxide_samples[:2000]), reweight(peroxide_samples, 310)):
        with pytest.raises(ConfGFError, match="different samples or temperatures"):
            turned.free_energy_above(other)
    stiff = with_torsion(peroxide, 5.0)
    stiff.addConstraint(0, 1, 0.145)
    with pytest.raises(UnsupportedForceError, match="1 constraints"):
        weighed.at_level(stiff)
    with pytest.raises(WrongTypeError):
        weighed.at_level(3.0)


# frames


@pytest.fixture(scope="module")
def hydrogen():
    return MolecularGraph.from_smiles("[H][H]", name="hydrogen")


def spring(length, stiffness):
    system, bond = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(2):
        system.addParticle(1.008)
    bond.addBond(0, 1, length, stiffness)
    system.addForce(bond)
    return system


def integral(length, stiffness, power=2):
    width = math.sqrt(kT(T) / stiffness)
    energy = lambda r: 0.5 * stiffness * (r - length) ** 2  # noqa: E731
    return quad(lambda r: r**power * math.exp(-energy(r) / kT(T)), length - 9 * width, length + 9 * width, epsabs=0)[0]


def frames_of(graph, system, length, stiffness, n, seed):
    """Independent frames of two atoms on a spring: r from r^2 exp(-u) by its cumulated density, turned at random."""
    stream, width = np.random.default_rng(seed), math.sqrt(kT(T) / stiffness)
    grid = np.linspace(length - 8 * width, length + 8 * width, 20_001)
    density = grid**2 * np.exp(-0.5 * stiffness * (grid - length) ** 2 / kT(T))
    r = np.interp(stream.random(n), density.cumsum() / density.sum(), grid)
    way = stream.standard_normal((n, 3))
    half = 0.5 * r[:, None] * way / np.linalg.norm(way, axis=1, keepdims=True)
    ensemble = Ensemble(graph, np.stack([-half, half], axis=1), Provenance("exact", "0"), target=Target(temperature=T))
    return score(ensemble, system, platform="Reference")


LEVELS = ((0.0745, 1.5e5), (0.0765, 2.5e5), (0.0785, 1.5e5))


@pytest.fixture(scope="module")
def springs():
    return [spring(*level) for level in LEVELS]


@pytest.fixture(scope="module")
def frames(hydrogen, springs):
    return [frames_of(hydrogen, system, *level, 1500, k) for k, (system, level) in enumerate(zip(springs, LEVELS, strict=True))]


def length_of(positions):
    return np.linalg.norm(positions[:, 0] - positions[:, 1], axis=1)


@pytest.fixture(scope="module")
def pooled(frames, springs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return reweight_frames(frames, springs)


def test_free_energies_of_springs_are_the_ratios_of_their_integrals(pooled):
    exact = np.array([-kT(T) * math.log(integral(*level) / integral(*LEVELS[0])) for level in LEVELS])
    assert pooled.free_energies[0] == 0 and (pooled.errors[1:] < 0.1).all()
    assert (np.abs(pooled.free_energies - exact)[1:] < 6 * pooled.errors[1:]).all()
    assert pooled.overlap[0, 2] < pooled.overlap[0, 1] < 1


def test_all_frames_serve_every_level(pooled, frames):
    for level, free, weighed, own in zip(LEVELS, pooled.free_energies, pooled.weighed, frames, strict=True):
        assert len(weighed.ensemble) == 4500 and weighed.diagnostics.ess > len(own)
        assert weighed.diagnostics.log_z == pytest.approx(-free / kT(T), abs=1e-6)
        mean = weighed.average(lambda positions: length_of(positions))
        assert mean.error < length_of(own.positions).std() / math.sqrt(len(own))
        assert abs(mean.value - integral(*level, power=3) / integral(*level)) < 6 * mean.error
    between = pooled.weighed[1].free_energy_above(pooled.weighed[0])
    assert between.value == pytest.approx(pooled.free_energies[1], abs=1e-4)
    assert between.error == pytest.approx(pooled.errors[1], rel=0.5)


def test_two_levels_by_bar_and_one_by_itself(frames, springs):
    both = reweight_frames(frames[:2], springs[:2])
    assert abs(both.free_energies[1] + kT(T) * math.log(integral(*LEVELS[1]) / integral(*LEVELS[0]))) < 6 * both.errors[1]
    alone = reweight_frames(frames[:1], springs[:1])
    assert alone.weighed[0].diagnostics.ess == pytest.approx(1500) and np.ptp(alone.weighed[0].log_weights) < 1e-6


def test_frames_go_on_to_a_level_without_frames(frames, springs):
    (start,) = reweight_frames(frames[:1], springs[:1]).weighed
    there = start.at_level(springs[1])
    found = there.free_energy_above(start)
    assert abs(found.value + kT(T) * math.log(integral(*LEVELS[1]) / integral(*LEVELS[0]))) < 6 * found.error
    with pytest.raises(ConfGFError, match="frames, which have no log_q"):
        there.log_z_with_md(frames[1], np.zeros(1500))


def test_gfn2_along_a_bond_is_its_integral(hydrogen, frames, springs):
    pytest.importorskip("tblite", reason="tblite is not installed, which GFN2-xTB needs")
    (start,) = reweight_frames([frames[2][:400]], springs[2:]).weighed
    there = start.at_level("gfn2")
    grid = np.linspace(0.06, 0.1, 161)
    line = np.zeros((len(grid), 2, 3))
    line[:, 1, 0] = grid
    energy = Level("gfn2").energy(hydrogen).evaluate(line).energy
    density = grid**2 * np.exp(-(energy - energy.min()) / kT(T))
    mean = there.average(lambda positions: length_of(positions))
    assert there.ensemble.target.forcefield == "GFN2-xTB" and mean.error < 5e-4
    assert abs(mean.value - (grid * density).sum() / density.sum()) < 6 * mean.error


def test_levels_too_far_from_each_other_are_refused(hydrogen, frames, springs):
    far = (0.11, 2.5e5)
    others = frames_of(hydrogen, spring(*far), *far, 500, 9)
    with pytest.raises(ConfGFError, match=r"states \[0\] and \[1\] do not overlap"):
        reweight_frames([frames[0], others], [springs[0], spring(*far)])


def test_frames_that_do_not_belong_are_refused(frames, springs, peroxide, peroxide_samples):
    first, second = frames[0][:200], frames[1][:200]
    stiff = spring(*LEVELS[1])
    stiff.addConstraint(0, 1, 0.07)
    for parts, levels, message in (
        ([], [], "0 ensembles for 0 levels"),
        ([first], springs[:2], "1 ensembles for 2 levels"),
        ([first, peroxide_samples], [springs[0], peroxide], "frames of 'hydrogen' and of"),
        ([second, first], springs[:2], "of another System"),
        ([first, second.replace(target=Target(temperature=310.0))], springs[:2], "at 300 and 310 K"),
        ([first.replace(target=None)], springs[:1], "at no K"),
        ([first.replace(log_q=np.zeros(200))], springs[:1], "samples of a generator"),
        ([first, second], [springs[0], stiff], "1 constraints"),
        ([first.replace(positions=np.full_like(first.positions, np.nan)), second], springs[:2], "200 samples have no density"),
    ):
        with pytest.raises(ConfGFError, match=message):
            reweight_frames(parts, levels)
    with pytest.raises(WrongTypeError, match="reweight_frames takes an Ensemble"):
        reweight_frames(["frames.h5"], springs[:1])
    told = reweight_frames([first.replace(target=dataclasses.replace(first.target, temperature=None))], springs[:1], T)
    assert told.weighed[0].temperature == T


def test_resampled_ones_are_frames(weighed, peroxide):
    turned = with_torsion(peroxide, 8.0)
    other = reweight(score(HarmonicGenerator(turned).sample("OO", 2000, seed=5), turned, platform="Reference"))
    found = reweight_frames([weighed.resample(1500), other.resample(1500)], [peroxide, turned])
    exact = -kT(T) * math.log(share(8.0) / share(5.0))
    # copies of a sample are no independent frames: the error is a little too small
    assert abs(found.free_energies[1] - exact) < 6 * 1.5 * found.errors[1]
