import json

import numpy as np
import pytest

from openmm_confgf.archive import load_archive
from openmm_confgf.checksums import sha256_of
from openmm_confgf.ensemble import Ensemble, Provenance, Status
from openmm_confgf.errors import ConfGFError, GenerationError, LeakageError
from openmm_confgf.evaluation.conformers import benchmark_conformers
from openmm_confgf.generators._base import Generator
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.rmsd import rmsd_matrix
from tests.test_archive import make_arrays


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, **make_arrays(("CCCO", "C[C@H](O)CF", "c1ccccc1C"), (3, 4, 2)))
    return path


class Scripted(Generator):
    """Hands out what the test put in; finishes the molecules in reverse order."""

    name = "scripted"
    calls = 7

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
    assert summary["failed"] == 0 and summary["rejected"] == 0.0 and summary["calls"] == 7
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


@pytest.mark.parametrize("bad", [{"delta": 0.0}, {"delta": float("nan")}, {"delta": float("inf")}, {"max_molecules": 0}, {"systems": {}}])
def test_bad_calls_are_refused(archive, bad):
    with pytest.raises(ConfGFError, match=r"give|ask for"):
        benchmark_conformers(archive, **{"systems": {"a": Scripted(None)}} | bad)
