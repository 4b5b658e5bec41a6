import numpy as np
import pytest

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.energies.scoring import score
from openmm_confgf.evaluation.comparison import compare
from openmm_confgf.evaluation.measured import METRICS
from openmm_confgf.files import write_ensembles
from openmm_confgf.files.archive import ReferenceMolecule, save_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def butanol():
    samples = embed_etkdg(MolecularGraph.from_smiles("CCCCO", name="butanol"), 20, 1)
    return score(samples, "mmff94s"), relax(samples, "mmff94s").ranked().deduplicated(0.001)


@pytest.fixture(scope="module")
def files(butanol, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    samples, minima = butanol
    (a,), (b,) = write_ensembles(samples, folder / "samples.h5"), write_ensembles(minima, folder / "minima.sdf")
    return a, b


def test_json_holds_every_metric(run, files, butanol):
    outcome = run("evaluate", *files, "--minima", "--temperature", 310, "--json")
    assert outcome.code == 0, outcome.err
    report, found = outcome.json, compare(*butanol, minima=True, temperature=310)
    assert report["command"] == "evaluate" and report["version"] and report["minima"] is True and report["summary"] is None
    (molecule,) = report["molecules"]
    assert molecule["name"] == "butanol" and molecule["samples"] == 20 and molecule["temperature"] == 310 and molecule["bad"] == 0
    for name in METRICS:
        expected = found.values[name]
        assert molecule[name] == (None if expected is None else pytest.approx(expected, rel=1e-3, abs=1e-3)), name
    assert [torsion["atoms"] for torsion in molecule["torsions"]] == (found.torsions + 1).tolist()
    np.testing.assert_allclose(molecule["basins"]["expected"], found.basins.expected, rtol=1e-3)


def test_a_table_for_people(run, files):
    outcome = run("evaluate", *files, "--minima")
    assert outcome.code == 0, outcome.err
    for text in ("butanol", "energies: W2", "basin populations: Jensen-Shannon", "torsions: W2 on the torus", "distances, all: MMD", "kT"):
        assert text in outcome.out, text
    assert "gap" not in outcome.out and "weak contacts" not in outcome.out


def test_energies_of_a_level_and_relaxed_basins(run, files, butanol, tmp_path):
    (bare,) = write_ensembles(butanol[0].replace(energy=None, target=None), tmp_path / "bare.h5")
    without = run("evaluate", bare, files[1], "--json")
    assert without.code == 0 and without.json["molecules"][0]["energy_w2_kt"] is None and "give a level" in without.err
    outcome = run("evaluate", bare, files[1], "--minima", "--level", "mmff94s", "--relax", "--json")
    assert outcome.code == 0, outcome.err
    (molecule,) = outcome.json["molecules"]
    assert molecule["energy_w2_kt"] > 0 and molecule["outside_basins"] == 0 and outcome.json["relax"] is True


def test_bad_samples_are_counted(run, files, butanol, tmp_path):
    status = butanol[0].status.copy()
    status[:3] = Status.CLASH
    (path,) = write_ensembles(butanol[0].replace(status=status), tmp_path / "clashes.h5")
    outcome = run("evaluate", path, files[1], "--json")
    assert outcome.json["molecules"][0]["bad"] == 3 and "butanol: 3 samples are left out" in outcome.err


def test_several_molecules_and_an_archive(run, butanol, tmp_path):
    """Of three molecules one has no reference and one no energies at the level; the archive has the others in its own order."""
    ethanol = score(embed_etkdg(MolecularGraph.from_smiles("OCC"), 5, 1), "mmff94s")
    water = embed_etkdg(MolecularGraph.from_smiles("O"), 2, 1)
    write_ensembles([ethanol, butanol[0], water], tmp_path / "all.sdf")
    references = [ReferenceMolecule(m.graph.name, m.graph, m.positions, m.energy - m.energy.min()) for m in (butanol[1], ethanol)]
    save_archive(tmp_path / "references.npz", references)
    outcome = run("evaluate", tmp_path / "all.sdf", tmp_path / "references.npz", "--minima", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert [molecule["smiles"] for molecule in report["molecules"]] == ["CCO", "CCCCO"] and report["without_reference"] == ["O"]
    assert report["summary"]["molecules"]["basin_js"] == 2 and report["summary"]["molecules"]["torus_w2"] == 1
    # an archive does not say whose its energies are, and they are above the lowest
    assert report["summary"]["molecules"]["energy_w2_kt"] == 0 and "give a level" in outcome.err
    table = run("evaluate", tmp_path / "all.sdf", tmp_path / "references.npz", "--minima", "--level", "mmff94s")
    assert table.code == 0 and "median" in table.out and "correlation over molecules" in table.out and "energies: W2" in table.out


def test_a_molecule_that_fails_costs_itself(run, butanol, tmp_path):
    ethanol = score(embed_etkdg(MolecularGraph.from_smiles("CCO"), 5, 1), "mmff94s")
    borane = embed_etkdg(MolecularGraph.from_smiles("CB(C)C"), 2, 1)
    write_ensembles([ethanol, borane], tmp_path / "a.sdf")
    outcome = run("evaluate", tmp_path / "a.sdf", tmp_path / "a.sdf", "--level", "mmff94s", "--json")
    assert outcome.code == 1 and list(outcome.json["failed"]) == ["CB(C)C"] and len(outcome.json["molecules"]) == 1
    assert "failed: CB(C)C" in outcome.err


def test_samples_are_weighed(run, peroxide_samples, tmp_path):
    (path,) = write_ensembles(peroxide_samples[:500], tmp_path / "samples.h5")
    raw, weighted = (run("evaluate", path, path, *more, "--json").json["molecules"][0] for more in ((), ("--weighted",)))
    assert raw["pairwise_rmsd"] != weighted["pairwise_rmsd"] and weighted["energy_w2_kt"] == pytest.approx(0, abs=1e-6)


def test_different_molecules_are_refused_in_one_sentence(run, files, tmp_path):
    (other,) = write_ensembles(embed_etkdg(MolecularGraph.from_smiles("CCCOC"), 3, 1), tmp_path / "ether.sdf")
    outcome = run("evaluate", files[0], other)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "are different molecules" in outcome.err and not outcome.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", -3), "--temperature: The temperature is -3"),
        (("--within", 0), "--within is 0 Angstrom"),
        (("--relax",), "give --minima and --forcefield"),
        (("--weighted",), "nothing to weigh"),
        (("--level", "gfn2-xtb"), "take gfn2"),
    ],
)
def test_options_that_cannot_be(run, files, options, message):
    outcome = run("evaluate", *files, *options)
    assert outcome.code == 2 and message in outcome.err and not outcome.out and "Traceback" not in outcome.err


def test_a_file_that_is_not_there(run, files):
    for pair in ((files[0], "missing.h5"), ("missing.npz", files[1])):
        outcome = run("evaluate", *pair)
        assert outcome.code == 2 and "missing" in outcome.err
