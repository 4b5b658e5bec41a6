import dataclasses
import math
import warnings

import numpy as np
import pytest
from openmm import unit
from scipy.integrate import quad

from openmm_confgf import reweight
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies.scoring import score
from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ConfGFError, WrongTypeError
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.md import MDGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status
from openmm_confgf.units import kT

TORSION = [2, 0, 1, 3]


def boltzmann(energy, density, low, high, temperature=300.0):
    return quad(lambda v: density(v) * math.exp(-energy(v) / kT(temperature)), low, high, epsabs=0)[0]


def of_torsion(t):
    return 5 * (1 + math.cos(2 * t)) + 4 * (1 + math.cos(t))


def exact_log_z(temperature=300.0):
    """Of peroxide: bonds, angles and torsion are independent, so that the configuration integral is a product."""
    lengths = [
        boltzmann(lambda r, k=k, c=c: 0.5 * k * (r - c) ** 2, lambda r: r**2, c - 0.04, c + 0.04, temperature)
        for c, k in ((0.145, 2.5e5), (0.097, 4e5))
    ]
    angle = boltzmann(lambda t: 300 * (t - 1.75) ** 2, math.sin, 0, math.pi, temperature)
    torsion = boltzmann(of_torsion, lambda t: 1.0, -math.pi, math.pi, temperature)
    return math.log(8 * math.pi**2 * 4**-1.5 * lengths[0] * lengths[1] ** 2 * angle**2 * torsion)


@pytest.fixture(scope="module")
def found(peroxide_samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return reweight(peroxide_samples)


def test_log_z_is_the_exact_configuration_integral(found):
    said = found.diagnostics
    assert said.trusted and 0.7 < said.ess_fraction < 1 and said.log_z_error < 0.01
    assert abs(said.log_z - exact_log_z()) < 6 * said.log_z_error
    assert found.temperature == 300 and said.n == 4000 and said.n_bad == 0


def test_at_another_temperature_it_is_that_ones(peroxide_samples):
    warm = reweight(peroxide_samples, 330 * unit.kelvin)
    assert warm.temperature == 330 and warm.diagnostics.ess_fraction < reweight(peroxide_samples).diagnostics.ess_fraction
    assert abs(warm.diagnostics.log_z - exact_log_z(330)) < 6 * warm.diagnostics.log_z_error


def test_averages_are_the_exact_ones(found):
    shares = [boltzmann(of_torsion, lambda t: math.cos(t), -math.pi, math.pi), boltzmann(of_torsion, lambda t: 1.0, -math.pi, math.pi)]
    cosine = found.average(np.cos(found.torsions(TORSION)))
    assert abs(cosine.value - shares[0] / shares[1]) < 6 * cosine.error
    lengths = found.average(lambda x: np.linalg.norm(x[:, 0] - x[:, 2], axis=1))
    harmonic = [boltzmann(lambda r: 2e5 * (r - 0.097) ** 2, lambda r, p=p: r**p, 0.06, 0.14) for p in (2, 3)]
    assert abs(lengths.value - harmonic[1] / harmonic[0]) < 6 * lengths.error


def test_a_constant_added_to_the_energy_changes_no_average_and_moves_log_z_by_itself(found, peroxide_samples):
    other = reweight(peroxide_samples.replace(energy=peroxide_samples.energy + 1000.0))
    assert other.diagnostics.log_z == pytest.approx(found.diagnostics.log_z - 1000 / kT(300), abs=1e-9)
    assert other.mean_energy().value == pytest.approx(found.mean_energy().value + 1000, abs=1e-8)
    np.testing.assert_allclose(other.profile(TORSION, 12).free_energy, found.profile(TORSION, 12).free_energy, atol=1e-8)
    assert other.diagnostics.ess == pytest.approx(found.diagnostics.ess, rel=1e-9)


def test_the_profile_is_the_potential_of_the_torsion(found):
    profile = found.profile(TORSION, 12)
    shares = np.array(
        [boltzmann(of_torsion, lambda t: 1.0, low, high) for low, high in zip(profile.edges[:-1], profile.edges[1:], strict=True)]
    )
    shares /= shares.sum()
    counted = np.isfinite(profile.error)
    assert counted.sum() >= 8
    assert (np.abs(profile.probability - shares)[counted] < 6 * (profile.error / kT(300) * profile.probability)[counted]).all()
    assert found.profile([TORSION, [3, 1, 0, 2]], 6).free_energy.shape == (6, 6)


def test_the_mirror_images_weigh_the_same(found):
    turned = found.torsions(TORSION) > 0
    difference = found.free_energy_difference(turned, ~turned)
    assert abs(difference.value) < 6 * difference.error < 1


def test_resampled_ones_are_the_target_and_say_so(found):
    drawn = found.resample(1000, seed=2)
    assert len(drawn) == 1000 and drawn.log_q is None and len(found.resample()) == 4000
    assert drawn.provenance.settings["resampled"] == {"temperature": 300.0, "seed": 2, "truncated": 0}
    spread = drawn.energy.std() / math.sqrt(1000)
    assert abs(drawn.energy.mean() - found.mean_energy().value) < 6 * spread


def test_rows_without_a_finite_energy_weigh_nothing_and_are_counted(peroxide_samples):
    energy, positions = peroxide_samples.energy.copy(), peroxide_samples.positions.copy()
    energy[:10], positions[10:15] = np.nan, np.nan
    ensemble = peroxide_samples.replace(energy=energy, positions=positions)
    assert ensemble.counts() == {"OK": 3985, "NON_FINITE": 15}
    found = reweight(ensemble)
    assert found.diagnostics.n == 4000 and found.diagnostics.n_bad == 15 and (found.log_weights[:15] == -np.inf).all()
    rest = reweight(peroxide_samples[15:])
    assert found.mean_energy().value == pytest.approx(rest.mean_energy().value, rel=1e-12)
    assert found.diagnostics.log_z == pytest.approx(rest.diagnostics.log_z + math.log(3985 / 4000), abs=1e-12)
    assert found.profile(TORSION, 12).probability.sum() == pytest.approx(1)


def test_bad_samples_that_have_an_energy_take_part(peroxide_samples, found):
    status = peroxide_samples.status.copy()
    status[:2000] = Status.CLASH
    np.testing.assert_array_equal(reweight(peroxide_samples.replace(status=status)).log_weights, found.log_weights)


def test_failed_rows_are_refused(peroxide_samples):
    status = peroxide_samples.status.copy()
    status[3] = Status.FAILED
    with pytest.raises(ConfGFError, match="1 of 4000 samples have FAILED"):
        reweight(peroxide_samples.replace(status=status))


def test_few_samples_give_a_warning_and_no_effective_sample_size(peroxide_samples):
    with pytest.warns(UserWarning, match="50 samples with a weight are fewer than the 100"):
        few = reweight(peroxide_samples[:50])
    assert few.diagnostics.ess is None and few.diagnostics.k_hat is None
    assert np.isfinite(few.mean_energy().value)


def test_truncated_weights_are_those_that_averages_take(peroxide_samples, found):
    lowered = reweight(peroxide_samples, truncate=0.01)
    assert lowered.diagnostics.truncated == 40 and (lowered.log_weights != found.log_weights).sum() == 40
    assert lowered.diagnostics.ess > found.diagnostics.ess and lowered.diagnostics.log_z < found.diagnostics.log_z


@pytest.fixture(scope="module")
def frames(peroxide):
    """A frame each of 800 replicas of MD, which are independent."""
    settings = MDSettings(replicas=800, equilibration=1.0, frame_interval=0.5, compiled=False, friction=5.0, precision="double")
    return MDGenerator(peroxide, settings).sample("OO", 800, seed=4, device="cpu")


def test_with_frames_of_md_log_z_is_the_same(found, frames, peroxide):
    log_q = HarmonicGenerator(peroxide).log_prob("OO", frames.positions)
    both = found.log_z_with_md(frames, log_q)
    # two errors in the torsion's populations: the replicas start in either well at random
    assert both.error < 0.02 and abs(both.value - exact_log_z()) < 6 * both.error and 0.5 < both.overlap < 1
    assert abs(found.mean_energy().value - frames.energy.mean()) < 6 * math.hypot(
        found.mean_energy().error, frames.energy.std() / math.sqrt(800)
    )


def test_a_few_frames_out_of_reach_are_a_tail(found, frames, peroxide):
    log_q = HarmonicGenerator(peroxide).log_prob("OO", frames.positions)
    log_q[:40] = -np.inf
    both = found.log_z_with_md(frames, log_q)
    # a twentieth of the target is out of reach of q, and frames tell so
    assert both.value - exact_log_z() == pytest.approx(-math.log(0.95), abs=0.03)


def test_frames_that_do_not_belong_are_refused(found, frames, peroxide):
    log_q, target = HarmonicGenerator(peroxide).log_prob("OO", frames.positions), frames.target
    other = embed_etkdg(MolecularGraph.from_smiles("O"), 2, 0)
    for wrong, density, message in (
        (frames, log_q[1:], "800 frames"),
        (frames.replace(energy=None), log_q, "finite energy"),
        (frames.replace(target=dataclasses.replace(target, temperature=310.0)), log_q, "310 K, the weights at 300 K"),
        (frames.replace(target=Target("x", "0" * 64, 300.0)), log_q, "two Systems"),
        (other.replace(energy=np.zeros(2)), np.zeros(2), "same molecule"),
        (frames, np.full(800, -np.inf), "nearly no density at 800 of 800 frames"),
        (frames, log_q - 200.0 * (np.arange(800) < 100), "nearly no density at 100 of 800 frames.*labelled otherwise"),
    ):
        with pytest.raises(ConfGFError, match=message):
            found.log_z_with_md(wrong, density)


@pytest.mark.parametrize("atoms", [[0, 1, 2], [0, 1, 2, 4], [0, 1, 1, 2], [-1, 0, 1, 2], [0.0, 1.0, 2.0, 3.0], 3, [], [[[0, 1, 2, 3]]]])
def test_torsions_that_are_none(found, atoms):
    with pytest.raises(ConfGFError, match="no torsion; give four different atoms from 0 to 3"):
        found.profile(atoms)


def test_what_cannot_be_weighed(peroxide_samples):
    with pytest.raises(WrongTypeError, match="reweight takes an Ensemble"):
        reweight("x.h5")
    with pytest.raises(ConfGFError, match="There is no log_q"):
        reweight(peroxide_samples.select(np.arange(5)))
    with pytest.raises(ConfGFError, match="There are no energies"):
        reweight(peroxide_samples.replace(energy=None))
    with pytest.raises(ConfGFError, match="There is no temperature"):
        reweight(peroxide_samples.replace(target=None))
    with pytest.raises(ValueError, match="above 0 K"):
        reweight(peroxide_samples, -5)
    with pytest.raises(ConfGFError, match="None of 2"), warnings.catch_warnings():
        reweight(peroxide_samples[:2].replace(energy=np.full(2, np.inf)))


def test_scoring_in_another_force_field_keeps_log_q(peroxide, peroxide_samples):
    """Weights to another System than the generator's are as right; only their spread is larger."""
    scored = score(peroxide_samples[:200], peroxide, platform="Reference")
    np.testing.assert_array_equal(scored.log_q, peroxide_samples.log_q[:200])
