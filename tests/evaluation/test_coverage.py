import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmm_confgf.evaluation.coverage import CoverageMatching, coverage_matching

# 3 references x 4 generated
HAND_MADE = np.array(
    [
        [0.1, 0.9, 0.7, 2.0],
        [0.6, 0.5, 0.8, 3.0],
        [1.1, 1.2, 0.9, 4.0],
    ]
)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 3))


def test_hand_made_matrix():
    # row minima 0.1, 0.5, 0.9; column minima 0.1, 0.5, 0.7, 2.0
    result = coverage_matching(HAND_MADE, 0.5)
    assert result.cov_r == pytest.approx(2 / 3)
    assert result.mat_r == pytest.approx(0.5)
    assert result.cov_p == pytest.approx(2 / 4)
    assert result.mat_p == pytest.approx(3.3 / 4)


def test_the_threshold_itself_is_covered():
    assert coverage_matching([[0.5]], 0.5).cov_r == 1.0
    assert coverage_matching([[0.5]], np.nextafter(0.5, 0)).cov_r == 0.0


def test_rejected_samples_dilute_precision_only():
    whole, diluted = coverage_matching(HAND_MADE, 0.5), coverage_matching(HAND_MADE, 0.5, requested=8)
    assert diluted.cov_p == pytest.approx(2 / 8)
    assert (diluted.cov_r, diluted.mat_r, diluted.mat_p) == (whole.cov_r, whole.mat_r, whole.mat_p)


def test_nothing_generated_covers_nothing():
    for result in (coverage_matching(np.empty((3, 0)), 0.5, requested=6), CoverageMatching.failure()):
        assert result.cov_r == result.cov_p == 0.0
        assert math.isnan(result.mat_r) and math.isnan(result.mat_p)


@given(matrices, st.floats(0.01, 3))
def test_against_brute_force(rmsd, delta):
    references, generated = rmsd.shape
    result = coverage_matching(rmsd, delta)
    covered = [r for r in range(references) if any(rmsd[r, g] <= delta for g in range(generated))]
    matched = [g for g in range(generated) if any(rmsd[r, g] <= delta for r in range(references))]
    assert result.cov_r == pytest.approx(len(covered) / references)
    assert result.cov_p == pytest.approx(len(matched) / generated)
    assert result.mat_r == pytest.approx(sum(min(rmsd[r, g] for g in range(generated)) for r in range(references)) / references)
    assert result.mat_p == pytest.approx(sum(min(rmsd[r, g] for r in range(references)) for g in range(generated)) / generated)


@given(matrices, st.floats(0.01, 3))
def test_precision_is_recall_with_the_roles_swapped(rmsd, delta):
    forward, backward = coverage_matching(rmsd, delta), coverage_matching(rmsd.T, delta)
    assert (forward.cov_p, forward.mat_p) == (backward.cov_r, backward.mat_r)


@given(matrices, st.floats(0.01, 3))
def test_more_samples_never_hurt_recall_and_a_larger_delta_never_hurts_coverage(rmsd, delta):
    fewer, all_of_them = coverage_matching(rmsd[:, :1], delta), coverage_matching(rmsd, delta)
    assert all_of_them.cov_r >= fewer.cov_r and all_of_them.mat_r <= fewer.mat_r + 1e-12
    assert coverage_matching(rmsd, 2 * delta).cov_p >= all_of_them.cov_p
    # what is not covered is farther than delta: Markov's inequality
    assert all_of_them.mat_r >= (1 - all_of_them.cov_r) * delta - 1e-12


def test_the_references_themselves_are_perfect():
    points = np.random.default_rng(0).normal(size=7)
    result = coverage_matching(np.abs(points[:, None] - points), 1e-9)
    assert result == CoverageMatching(1.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("rmsd", "requested", "match"),
    [([1.0], None, "shape"), (np.empty((0, 3)), None, "at least one"), ([[math.nan]], None, "finite"), ([[1.0, 1.0]], 1, "requested")],
)
def test_bad_calls_are_refused(rmsd, requested, match):
    with pytest.raises(ValueError, match=match):
        coverage_matching(rmsd, 0.5, requested)
