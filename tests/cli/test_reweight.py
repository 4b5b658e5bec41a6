import numpy as np
import pytest

from openmm_confgf.energies.scoring import score
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.reweighting import reweight
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def file(peroxide_samples, tmp_path_factory):
    (path,) = write_ensembles(peroxide_samples, tmp_path_factory.mktemp("reweight") / "samples.h5")
    return path


def test_json_holds_the_diagnostics_and_the_averages(run, file, peroxide_samples):
    outcome = run("reweight", file, "--torsion", "3-1-2-4", "--json")
    assert outcome.code == 0, outcome.err
    report, found = outcome.json, reweight(peroxide_samples)
    said = found.diagnostics
    assert report["command"] == "reweight" and report["version"] and report["status"] == {"OK": 4000} and report["temperature"] == 300
    for key in ("n", "n_bad", "ess", "ess_fraction", "k_hat", "threshold", "log_z", "log_z_error", "truncated", "trusted", "verdict"):
        assert report[key] == getattr(said, key), key
    assert report["mean_energy_kj_per_mol"] == found.mean_energy().value and report["files"] == []
    (torsion,) = report["torsions"]
    assert torsion["name"] == "H3-O1-O2-H4" and torsion["atoms"] == [3, 1, 2, 4] and len(torsion["free_energy_kj_per_mol"]) == 36
    wanted = found.profile([2, 0, 1, 3])
    for key, values in (("free_energy_kj_per_mol", wanted.free_energy), ("error_kj_per_mol", wanted.error)):
        told = np.array([np.nan if value is None else value for value in torsion[key]])
        np.testing.assert_array_equal(told, np.where(np.isfinite(values), values, np.nan))
    assert report["provenance"]["generator"] == "harmonic" and report["target"]["temperature"] == 300


def test_a_table_for_people_and_pictures(run, file, tmp_path):
    outcome = run(
        "reweight", file, "--temperature", 310, "--truncate", 0.001, "--torsion", "3 1 2 4", "--plots", tmp_path / "new" / "pictures"
    )
    assert outcome.code == 0, outcome.err
    for text in ("k-hat", "ESS, %", "ln Z", "4000 OK", "310", "±"):
        assert text in outcome.out, text
    assert "To be trusted where the generator has samples" in outcome.err and "4 of 4000 weights were truncated" in outcome.err
    pictures = sorted(path.name for path in (tmp_path / "new" / "pictures").iterdir())
    assert pictures == ["torsions.png", "weights.png"] and outcome.err.count("wrote ") == 2


def test_without_a_rotatable_bond_there_is_one_picture(run, file, tmp_path):
    report = run("reweight", file, "--plots", tmp_path, "--json").json
    assert report["torsions"] == [] and report["files"] == [str(tmp_path / "weights.png")]


def test_bad_samples_are_counted_and_few_are_not_trusted(run, peroxide_samples, tmp_path):
    energy = peroxide_samples.energy[:60].copy()
    energy[:3] = np.nan
    (path,) = write_ensembles(peroxide_samples[:60].replace(energy=energy), tmp_path / "few.h5")
    outcome = run("reweight", path, "--json")
    report = outcome.json
    assert outcome.code == 0 and report["status"] == {"OK": 57, "NON_FINITE": 3} and report["n_bad"] == 3 and report["n"] == 60
    assert report["ess"] is None and report["k_hat"] is None and report["trusted"] is False
    assert outcome.err.count("Not to be trusted: 57 samples") == 1
    table = run("reweight", path)
    assert table.code == 0 and "57 OK, 3 NON_FINITE" in table.out


def test_what_cannot_be_weighed_says_why(run, file, peroxide_samples, tmp_path):
    status = np.full(4000, Status.FAILED, np.int8)
    for name, ensemble, message in (
        ("picked", peroxide_samples.select(np.arange(9)), "has no log_q"),
        ("bare", peroxide_samples.replace(energy=None), "openmm-confgf score"),
        ("failed", peroxide_samples.replace(status=status), "have FAILED"),
        ("cold", peroxide_samples.replace(target=None), "--temperature"),
    ):
        (path,) = write_ensembles(ensemble, tmp_path / f"{name}.h5")
        outcome = run("reweight", path, "--json")
        assert outcome.code == 2 and message in outcome.err and not outcome.out, name
        assert "Traceback" not in outcome.err
    write_ensembles(peroxide_samples[:3], tmp_path / "x.sdf")
    assert "keeps no log_q; give the .h5 file" in run("reweight", tmp_path / "x.sdf").err
    assert run("reweight", tmp_path / "missing.h5").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", -3), "--temperature: The temperature is -3"),
        (("--truncate", 1.5), "from 0 to below 1"),
        (("--torsion", "1-2-3"), "four different atoms from 1 to 4"),
        (("--torsion", "1-2-3-5"), "four different atoms from 1 to 4"),
        (("--torsion", "0-1-2-3"), "four different atoms from 1 to 4"),
        (("--torsion", "a-b-c-d"), "four different atoms from 1 to 4"),
        (("--torsion", "1-2-2-3"), "four different atoms from 1 to 4"),
    ],
)
def test_options_that_cannot_be(run, file, options, message):
    outcome = run("reweight", file, *options)
    assert outcome.code == 2 and message in outcome.err and not outcome.out


def test_samples_without_weights(run, tmp_path):
    """Each as often as its weight says; with moves they are apart, have energies, and the provenance tells."""
    drawn = HarmonicGenerator("openff-2.2.1", 300.0).sample("CO", 300, seed=1, device="cpu")
    (file,) = write_ensembles(score(drawn, "openff-2.2.1", platform="Reference"), tmp_path / "samples.h5")
    for moves in (0, 5):
        path = tmp_path / f"{moves}.h5"
        outcome = run("reweight", file, "-o", path, "-n", 50, "--moves", moves, "--seed", 3, "--json")
        assert outcome.code == 0 and outcome.json["files"] == [str(path)], outcome.err
        (found,) = read_ensembles(path)
        assert len(found) == 50 and found.log_q is None and np.isfinite(found.energy).all()
        told = found.provenance
        assert ("resample-move" in told.generator) == bool(moves) and (moves > 0 or told.settings["resampled"]["seed"] == 3)


def test_what_is_said_of_them_needs_a_file(run, file):
    for arguments in (["-n", 5], ["--moves", 5]):
        outcome = run("reweight", file, *arguments)
        assert outcome.code == 2 and "name a file for them with -o" in outcome.err
