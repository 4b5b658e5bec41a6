import json

import numpy as np
import pytest

from openmm_confgf.benchmarks.conformers import benchmark_conformers
from openmm_confgf.checksums import sha256_of
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, ForceFieldError, GenerationError, LeakageError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators.base import Generator
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.status import Status
from tests.files.test_archive import make_arrays


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, **make_arrays(("CCCO", "C[C@H](O)CF", "c1ccccc1C"), (3, 4, 2)))
    return path


class Scripted(Generator):
    """Hands out what the test put in; finishes the molecules in reverse order."""

    name = "scripted"

    def calls(self, graph):
        return len(graph)

    def __init__(self, outcome, trained=()):
        self.outcome, self.trained, self.requests = outcome, trained, []

    def trained_on(self, graph):
        return graph.smiles in self.trained

    def sample_many(self, molecules, n, *, seed=0, device="auto"):
        self.requests.append((list(n), seed, device))
        for index in reversed(range(len(molecules))):
            yield index, self.outcome(index, molecules[index], n[index])


def repeated_references(archive):
    """A generator's outcome: every reference twice."""
    references = load_archive(archive)

    def outcome(index, graph, n):
        assert n == 2 * len(references[index].positions)
        return Ensemble(graph, np.concatenate([references[index].positions] * 2), Provenance("scripted", "0"))

    return outcome


def test_the_references_themselves_score_perfectly(archive):
    generator = Scripted(repeated_references(archive))
    result = benchmark_conformers(archive, {"perfect": generator}, seed=5, device="cpu")
    assert generator.requests == [([6, 8, 4], 5, "cpu")]
    summary = result.to_dict()["systems"]["perfect"]
    for key in ("cov_r_mean", "cov_r_median", "cov_p_mean", "cov_p_median", "stereo_right"):
        assert summary[key] == 1.0
    for key in ("mat_r_mean", "mat_r_median", "mat_p_mean", "mat_p_median"):
        # the archive's coordinates are float32, and GetBestRMS ends at the square root of a rounding error
        assert summary[key] == pytest.approx(0.0, abs=1e-3)
    assert summary["failed"] == 0 and summary["rejected"] == 0.0 and summary["calls"] == max(len(m.graph) for m in load_archive(archive))
    assert [m.name for m in result.systems["perfect"].molecules] == ["CCCO", "C[C@H](O)CF", "c1ccccc1C"]


def test_failures_count_as_zero_coverage_and_are_named(archive):
    perfect = repeated_references(archive)

    def outcome(index, graph, n):
        if index == 0:
            return GenerationError("did not embed")
        if index == 1:
            return perfect(index, graph, n).replace(status=np.full(n, Status.CLASH, np.int8))
        return perfect(index, graph, n)

    summary = benchmark_conformers(archive, {"s": Scripted(outcome)}).to_dict()["systems"]["s"]
    assert summary["failed"] == 2
    assert summary["cov_r_mean"] == pytest.approx(1 / 3) and summary["cov_r_median"] == 0.0
    assert summary["mat_r_mean"] == pytest.approx(0.0, abs=1e-3)
    assert summary["rejected"] == pytest.approx(8 / 18)
    assert summary["stereo_right"] is None
    assert summary["failures"] == {"CCCO": "did not embed", "C[C@H](O)CF": "no usable conformation (8 CLASH)"}


def test_rejected_samples_and_wrong_hands_are_counted(archive):
    perfect = repeated_references(archive)

    def outcome(index, graph, n):
        ensemble = perfect(index, graph, n)
        positions, status = ensemble.positions.copy(), ensemble.status.copy()
        positions[0] *= [-1, 1, 1]  # a wrong hand that the generator did not notice
        status[-1] = Status.NON_FINITE
        return ensemble.replace(positions=positions, status=status)

    summary = benchmark_conformers(archive, {"s": Scripted(outcome)}).to_dict()["systems"]["s"]
    assert summary["rejected"] == pytest.approx(3 / 18)
    assert summary["stereo_right"] == pytest.approx(6 / 7)  # one molecule has stereo: 8 - 1 rejected, 1 of them mirrored
    assert summary["cov_r_mean"] == 1.0  # each reference is there twice
    assert summary["cov_p_mean"] <= np.mean([5 / 6, 7 / 8, 3 / 4]) + 1e-12


def test_numbers_of_etkdg_are_those_of_a_loop_written_out(archive):
    generator = ETKDGGenerator()
    result = benchmark_conformers(archive, {"etkdg": generator}, delta=0.3, seed=3).to_dict()["systems"]["etkdg"]
    cov_r, mat_p = [], []
    for reference in load_archive(archive):
        ensemble = generator.sample(reference.graph, 2 * len(reference.positions), seed=3)
        rmsd = 10 * rmsd_matrix(reference.graph, reference.positions, ensemble.positions[ensemble.ok])
        cov_r.append(np.mean([row.min() <= 0.3 for row in rmsd]))
        mat_p.append(np.mean([column.min() for column in rmsd.T]))
    assert result["cov_r_mean"] == pytest.approx(np.mean(cov_r))
    assert result["mat_p_median"] == pytest.approx(np.median(mat_p))
    assert result["stereo_right"] == 1.0 and result["calls"] == 0 and result["seconds"] > 0


def test_training_molecules_are_refused_before_any_work(archive):
    leaking = Scripted(repeated_references(archive), trained=("Cc1ccccc1",))
    clean = Scripted(repeated_references(archive))
    with pytest.raises(LeakageError, match=r"1 of 3 .*leaky.*Cc1ccccc1"):
        benchmark_conformers(archive, {"clean": clean, "leaky": leaking})
    assert clean.requests == []
    benchmark_conformers(archive, {"leaky": leaking}, max_molecules=2)


def test_json_has_the_agreed_shape(archive):
    seen = []
    systems = {"a": Scripted(repeated_references(archive)), "b": ETKDGGenerator()}
    result = benchmark_conformers(archive, systems, max_molecules=2, progress=lambda *step: seen.append(step))
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["protocol"] == "A" and found["delta"] == 0.5 and found["n_molecules"] == 2
    assert found["data_sha256"] == sha256_of(archive)
    keys = {f"{quantity}_{kind}" for quantity in ("cov_r", "mat_r", "cov_p", "mat_p") for kind in ("mean", "median")}
    for system in found["systems"].values():
        assert keys | {"failed", "rejected", "stereo_right", "calls", "seconds"} <= set(system)
    assert ("a", 0, 2) in seen and ("b", 2, 2) in seen
    table = result.to_table().splitlines()
    assert "Protocol A" in table[0] and "delta 0.5" in table[0]
    assert [line.split("|")[1].strip() for line in table[4:]] == ["a", "b"]
    assert len({line.count("|") for line in table[2:]}) == 1


def test_several_thresholds_are_those_of_several_runs(archive):
    systems = {"etkdg": ETKDGGenerator()}
    together = benchmark_conformers(archive, systems, delta=(0.6, 0.02), seed=3)
    found = together.to_dict()
    assert found["delta"] == 0.6 and found["deltas"] == [0.6, 0.02]
    summary = found["systems"]["etkdg"]
    assert [entry["delta"] for entry in summary["coverage"]] == [0.6, 0.02]
    for delta, entry in zip((0.6, 0.02), summary["coverage"], strict=True):
        alone = benchmark_conformers(archive, systems, delta=delta, seed=3).to_dict()["systems"]["etkdg"]
        assert {key: alone[key] for key in entry if key != "delta"} == {key: value for key, value in entry.items() if key != "delta"}
        assert alone["mat_r_mean"] == summary["mat_r_mean"]
    assert summary["cov_r_mean"] == summary["coverage"][0]["cov_r_mean"] > summary["coverage"][1]["cov_r_mean"]
    table = together.to_table().splitlines()
    assert "delta 0.6 and 0.02 A" in table[0] and "COV-R at 0.6 mean" in table[2] and "COV-P at 0.02 mean" in table[2]
    assert f"{summary['coverage'][1]['cov_r_mean']:.1%}" in table[4]
    assert len({line.count("|") for line in table[2:]}) == 1


def test_recall_only_says_nothing_of_precision(archive):
    result = benchmark_conformers(archive, {"etkdg": ETKDGGenerator()}, recall_only=True)
    summary = result.to_dict()["systems"]["etkdg"]
    assert result.to_dict()["recall_only"] is True
    assert all(summary[f"{key}_{kind}"] is None for key in ("cov_p", "mat_p") for kind in ("mean", "median"))
    assert summary["coverage"][0]["cov_p_mean"] is None and summary["cov_r_mean"] is not None
    table = result.to_table().splitlines()
    assert "recall only" in table[0] and "COV-P" not in table[2] and "MAT-P" not in table[2] and "MAT-R" in table[2]


def test_neutral_and_charged_molecules_are_summarised_apart(tmp_path):
    path = tmp_path / "charged.npz"
    # the last one is a zwitterion: neutral in sum
    np.savez(path, **make_arrays(("CCCO", "CC(=O)[O-]", "CC[NH3+]", "[NH3+]CC(=O)[O-]"), (2, 2, 2, 2)))

    def outcome(index, graph, n):
        return GenerationError("no anions") if index == 1 else repeated_references(path)(index, graph, n)

    result = benchmark_conformers(path, {"s": Scripted(outcome)}, split_charge=True)
    summary = result.to_dict()["systems"]["s"]
    parts = summary["by_charge"]
    assert [parts[name]["n_molecules"] for name in ("neutral", "charged")] == [2, 2] and summary["n_molecules"] == 4
    assert parts["neutral"]["cov_r_mean"] == 1.0 and parts["charged"]["cov_r_mean"] == 0.5 and summary["cov_r_mean"] == 0.75
    assert parts["charged"]["failures"] == {"CC(=O)[O-]": "no anions"} and parts["neutral"]["failed"] == 0
    assert parts["neutral"]["seconds"] is None and summary["seconds"] is not None
    table = result.to_table().splitlines()
    assert [line.split("|")[1].strip() for line in table[4:]] == ["s", "s, neutral", "s, charged"]
    assert len({line.count("|") for line in table[2:]}) == 1
    assert "by_charge" not in benchmark_conformers(path, {"s": Scripted(outcome)}).to_dict()["systems"]["s"]


def test_a_part_without_molecules_is_undefined_and_no_error(archive):
    result = benchmark_conformers(archive, {"s": Scripted(repeated_references(archive))}, split_charge=True)
    charged = result.to_dict()["systems"]["s"]["by_charge"]["charged"]
    assert charged["n_molecules"] == 0 and charged["cov_r_mean"] is None and charged["rejected"] is None
    assert "| s, charged | 0 | - |" in result.to_table()


def test_repaired_samples_are_those_the_generator_tells_of(archive):
    perfect = repeated_references(archive)

    def outcome(index, graph, n):
        ensemble = perfect(index, graph, n)
        if index == 2:
            return ensemble  # this one does not say
        return ensemble.replace(diagnostics={"repaired": 2 * index})

    systems = {"telling": Scripted(outcome), "silent": Scripted(perfect)}
    found = benchmark_conformers(archive, systems).to_dict()["systems"]
    assert found["telling"]["repaired"] == pytest.approx(2 / 14) and found["telling"]["rejected"] == 0.0
    assert found["silent"]["repaired"] is None


def test_energies_are_medians_of_medians_and_drop_no_sample(archive, monkeypatch):
    excess = {0: [1.0, 2.0, 9.0, 1.0, 2.0, np.inf], 1: [5.0] * 7 + [np.inf], 2: [np.inf, np.inf, np.inf, 4.0]}

    class Tabled:
        def __init__(self, level, references):
            assert level == "somewhere" and len(references) == 3

        def __call__(self, index, positions):
            assert len(positions) == len(excess[index])
            return np.array(excess[index])

    monkeypatch.setattr("openmm_confgf.benchmarks.conformers.EnergyAboveMinimum", Tabled)
    result = benchmark_conformers(archive, {"s": Scripted(repeated_references(archive))}, energy="somewhere")
    summary = result.to_dict()["systems"]["s"]
    assert summary["above_minimum_median"] == 5.0  # of 2, 5 and infinity
    assert summary["above_minimum_molecules"] == 3 and summary["above_minimum_failed_samples"] == 5
    assert result.to_dict()["energy"] == "somewhere" and "| 5.0 |" in result.to_table()
    assert "somewhere above minimum" in result.to_table()


def test_energies_of_the_references_and_of_molecules_the_level_cannot_take(tmp_path):
    path = tmp_path / "boron.npz"
    np.savez(path, **make_arrays(("CCO", "CB(O)O"), (2, 2)))
    perfect = repeated_references(path)

    def outcome(index, graph, n):
        ensemble = perfect(index, graph, n)
        return ensemble.replace(positions=ensemble.positions[[0, 0, 0, 0]]) if index == 0 else ensemble

    result = benchmark_conformers(path, {"s": Scripted(outcome)}, energy="openff-2.2.1")
    ethanol, boronic = result.systems["s"].molecules
    assert ethanol.above_minimum is not None and np.ptp(ethanol.above_minimum) == pytest.approx(0.0, abs=1e-3)
    assert boronic.above_minimum is None and "CB(O)O" in boronic.energy_error
    assert result.to_dict()["systems"]["s"]["above_minimum_molecules"] == 1
    assert result.to_dict()["systems"]["s"]["cov_r_mean"] == 1.0  # the rest is not touched


def test_unknown_energies_are_refused_before_any_work(archive):
    generator = Scripted(repeated_references(archive))
    with pytest.raises(ForceFieldError, match="nope"):
        benchmark_conformers(archive, {"s": generator}, energy="nope")
    assert generator.requests == []


@pytest.mark.parametrize(
    "bad",
    [
        {"delta": 0.0},
        {"delta": float("nan")},
        {"delta": float("inf")},
        {"delta": ()},
        {"delta": (0.5, 0.0)},
        {"delta": (0.5, 0.5)},
        {"max_molecules": 0},
        {"systems": {}},
    ],
)
def test_bad_calls_are_refused(archive, bad):
    with pytest.raises(ConfGFError, match=r"give|ask for"):
        benchmark_conformers(archive, **{"systems": {"a": Scripted(None)}} | bad)
