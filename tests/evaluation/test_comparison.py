import dataclasses
import math

import numpy as np
import pytest

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.energies.scoring import score
from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ConfGFError, MoleculeError, WrongTypeError
from openmm_confgf.evaluation.comparison import compare, summary
from openmm_confgf.evaluation.measured import METRICS
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.reweighting import reweight
from openmm_confgf.status import Status
from openmm_confgf.units import kT
from tests.evaluation.test_pairing import shuffled

PERFECT = {"rmsf_correlation": 1.0, "weak_contact_jaccard": 1.0}


@pytest.fixture(scope="module")
def pentanol():
    """40 raw conformations in MMFF94s, and its minima without duplicates, lowest first."""
    samples = embed_etkdg(MolecularGraph.from_smiles("CCCCCO"), 40, 1)
    return score(samples, "mmff94s"), relax(samples, "mmff94s").ranked().deduplicated(0.001)


def same(values):
    """Whether all metrics say that nothing differs."""
    for name, value in values.items():
        if value is not None and not name.endswith("pairwise_rmsd"):
            assert value == pytest.approx(PERFECT.get(name, 0.0), abs=1e-5), name


def test_an_ensemble_against_itself(pentanol):
    samples, _ = pentanol
    found = compare(samples[::-1], samples)
    same(found.values)
    missing = {name for name, value in found.values.items() if value is None}
    assert missing == {"weak_contact_jaccard"} | {name for name in METRICS if "basin" in name or "gap" in name}
    assert found.values["pairwise_rmsd"] == pytest.approx(found.values["reference_pairwise_rmsd"]) and not found.notes
    assert found.samples == found.reference_samples == 40 and found.temperature == 300 and len(found.torsions) == len(found.torsion_js) == 3


def test_atoms_in_another_order(pentanol):
    samples, _ = pentanol
    found = compare(score(shuffled(samples, 3), "mmff94s"), samples)
    # hydrogens of CH2 are alike, and nothing but energies would see them exchanged
    same({name: value for name, value in found.values.items() if "energy" not in name})
    assert found.values["energy_w2_kj_per_mol"] == pytest.approx(0, abs=0.1)


def test_samples_that_are_the_minima_with_their_populations(pentanol):
    """Each minimum as often as Boltzmann says of a thousand: what rounding leaves is all that there is."""
    _, minima = pentanol
    shares = np.exp(-(minima.energy - minima.energy.min()) / kT(300))
    copies = np.repeat(np.arange(len(minima)), np.rint(1000 * shares / shares.sum()).astype(int))
    found = compare(minima.select(copies), minima, minima=True)
    assert found.values["basin_total_variation"] < 0.01 and found.values["basin_js"] < 1e-3 and found.values["outside_basins"] == 0
    assert found.values["energy_w2_kt"] < 0.15 and found.values["torus_w2"] < 0.3
    assert found.basins.expected.sum() == pytest.approx(1) and found.basins.expected[0] == found.basins.expected.max()
    uniform = compare(minima, minima, minima=True)
    for name in ("basin_total_variation", "basin_js", "energy_w2_kt", "mean_energy_error", "torsion_js_mean"):
        assert uniform.values[name] > 5 * found.values[name], name


def test_hot_samples_find_their_basins_once_they_are_relaxed(pentanol):
    samples, minima = pentanol
    rattled = samples.replace(positions=samples.positions + np.random.default_rng(0).normal(0, 0.015, samples.positions.shape), energy=None)
    raw = compare(rattled, minima, minima=True, level="mmff94s", within=0.02)
    relaxed = compare(rattled, minima, minima=True, level="mmff94s", relax=True, within=0.02)
    assert raw.values["outside_basins"] > 0.5 and relaxed.values["outside_basins"] < 0.1
    # all else is of the samples as they are
    assert raw.values["energy_w2_kt"] == relaxed.values["energy_w2_kt"] > 10


def test_minima_that_fall_together_count_once(pentanol):
    _, minima = pentanol
    twice = minima.select(np.r_[0, np.arange(len(minima))])
    once, again = (compare(minima, given, minima=True, level="mmff94s", relax=True).basins.expected for given in (minima, twice))
    np.testing.assert_allclose(once, again, rtol=1e-3)


def test_bad_samples_are_left_out_and_counted(pentanol):
    samples, _ = pentanol
    status = samples.status.copy()
    status[[3, 5]] = Status.CLASH
    positions = samples.positions.copy()
    positions[7] = np.nan
    found = compare(samples.replace(status=status, positions=positions), samples)
    assert (found.samples, found.bad, found.reference_bad) == (37, 3, 0)
    assert all(value is None or math.isfinite(value) for value in found.values.values())


def test_weights_make_samples_what_they_are_weighed_to(peroxide_samples):
    """Six degrees of freedom: at 400 K the mean energy is 3 R 100 K = 2.5 kJ/mol higher than at 300 K, where the samples are from."""
    same(compare(peroxide_samples[:300], peroxide_samples[:300], weighted=True).values)
    weights = np.exp(reweight(peroxide_samples, 400).log_weights)
    drawn = peroxide_samples.select(np.random.default_rng(0).choice(4000, 800, p=weights / weights.sum()))
    weighted, raw = (compare(peroxide_samples[:1500], drawn, weighted=wanted, temperature=400).values for wanted in (True, False))
    # both know the mean to 400 K R sqrt(3 / 800 + 3 / 1050), 1050 being what 1500 are worth; six of which are 1.6 kJ/mol
    assert weighted["mean_energy_error"] < 1.6 and raw["mean_energy_error"] > 2.5 - 1.6
    assert weighted["energy_w2_kt"] < raw["energy_w2_kt"]


def test_energies_of_two_levels_are_not_compared(pentanol):
    samples, _ = pentanol
    other = samples.replace(target=Target("openff-2.2.1"))
    found = compare(other, samples)
    assert found.values["energy_w2_kt"] is None and found.values["mean_energy_error"] is None and found.values["torus_w2"] is not None
    (said,) = found.notes
    assert "openff-2.2.1 and MMFF94s" in said and "give a level for both" in said
    (said,) = compare(samples.replace(target=Target("mmff94s", "a")), samples.replace(target=Target("mmff94s", "b"))).notes
    assert "two Systems of mmff94s" in said
    (said,) = compare(samples.replace(energy=None), samples).notes
    assert "the samples have no energies" in said
    assert compare(other, samples, level="mmff94s").values["energy_w2_kt"] == pytest.approx(0, abs=1e-6)


def test_the_temperature_is_that_of_the_reference(pentanol):
    samples, _ = pentanol
    at = lambda kelvin: samples.replace(target=dataclasses.replace(samples.target, temperature=kelvin))  # noqa: E731
    assert compare(at(350), samples).temperature == 350 and compare(at(350), at(310)).temperature == 310
    assert compare(at(350), at(310), temperature=280).temperature == 280


def test_gaps_of_gfn2(pentanol):
    pytest.importorskip("tblite.interface", reason="tblite is not installed")
    samples, _ = pentanol
    found = compare(samples[:2], samples[:3], gaps=True).values
    assert found["mean_gap_error"] > 0 and found["lowest_gap_error"] >= 0 and found["highest_gap_error"] >= 0
    assert compare(samples[:2], samples[:2], gaps=True).values["mean_gap_error"] == pytest.approx(0, abs=1e-3)


def test_small_molecules_and_peptides_have_what_they_have():
    methane = embed_etkdg(MolecularGraph.from_smiles("C"), 3, 1)
    found = compare(methane, methane).values
    assert found["rmsf_correlation"] is not None and found["torus_w2"] is None and found["mmd_all"] is None
    glycines = embed_etkdg(peptide("GGGG"), 6, 1)
    assert compare(glycines, glycines).values["weak_contact_jaccard"] in (None, 1.0)


def test_what_only_several_molecules_have(pentanol):
    samples, minima = pentanol
    butane = score(embed_etkdg(MolecularGraph.from_smiles("CCCC"), 10, 1), "mmff94s")
    found = [compare(samples, samples), compare(butane, butane)]
    said = summary(found)
    assert said["pairwise_rmsd_correlation"] == pytest.approx(1) and said["global_rmsf_correlation"] == pytest.approx(1)
    assert said["molecules"]["torus_w2"] == 2 and said["molecules"]["basin_js"] == 0 and said["mean"]["basin_js"] is None
    expected = np.mean([one.values["pairwise_rmsd"] for one in found])
    assert said["mean"]["pairwise_rmsd"] == pytest.approx(expected) == pytest.approx(said["median"]["pairwise_rmsd"])


def test_bad_calls(pentanol):
    samples, minima = pentanol
    with pytest.raises(WrongTypeError, match="compare takes an Ensemble"):
        compare("CCO", samples)
    with pytest.raises(MoleculeError, match="different molecules"):
        compare(samples, embed_etkdg(MolecularGraph.from_smiles("CCO"), 1, 1))
    with pytest.raises(ConfGFError, match="give the level, and minima"):
        compare(samples, minima, relax=True, minima=True)
    with pytest.raises(ConfGFError, match="minima of .* have no energies"):
        compare(samples, minima.replace(energy=None), minima=True)
    with pytest.raises(ConfGFError, match="nothing to weigh"):
        compare(samples, minima, weighted=True)
    with pytest.raises(ConfGFError, match="The temperature is -1"):
        compare(samples, minima, temperature=-1)
    clashed = samples.replace(status=np.full(40, Status.CLASH, np.int8))
    for one, other, side in ((clashed, samples, "samples"), (samples, clashed, "reference")):
        with pytest.raises(ConfGFError, match=f"The {side} of .* no conformation whose status is OK"):
            compare(one, other)
