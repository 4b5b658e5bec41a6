import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_confgf.molecules.superposition import mean_structure, superposed


@pytest.fixture(scope="module")
def structure():
    return np.random.default_rng(0).normal(size=(6, 3))


def moved(frames, seed=1):
    turns = Rotation.random(len(frames), random_state=seed).as_matrix()
    return frames @ turns + np.random.default_rng(seed).normal(size=(len(frames), 1, 3))


def test_what_was_moved_comes_back(structure):
    found = superposed(moved(np.repeat(structure[None], 5, axis=0)), structure + 2.0)
    np.testing.assert_allclose(found, np.repeat(structure[None] + 2.0, 5, axis=0), atol=1e-12)


def test_against_scipy(structure):
    noisy = moved(structure + np.random.default_rng(2).normal(0, 0.3, (4, 6, 3)))
    for frame, found in zip(noisy, superposed(noisy, structure), strict=True):
        centred = structure - structure.mean(0)
        turn, _ = Rotation.align_vectors(centred, frame - frame.mean(0))
        np.testing.assert_allclose(found, turn.apply(frame - frame.mean(0)) + structure.mean(0), atol=1e-9)


def test_mirror_images_stay_what_they_are(structure):
    found = superposed(structure[None] * [-1, 1, 1], structure)[0]
    volume = lambda x: np.linalg.det(x[1:4] - x[0])  # noqa: E731
    assert np.sign(volume(found)) == -np.sign(volume(structure))


def test_flat_structures(structure):
    flat = structure * [1, 1, 0]
    np.testing.assert_allclose(superposed(moved(flat[None]), flat)[0], flat, atol=1e-12)


def test_the_mean_of_noisy_copies_is_the_structure(structure):
    noise = np.random.default_rng(3).normal(0, 0.01, (200, 6, 3))
    frames = moved(np.concatenate([structure + noise, structure - noise]))
    mean = mean_structure(frames, np.full(400, 1 / 400))
    assert np.abs(superposed(mean[None], structure)[0] - structure).max() < 6 * 0.01 / np.sqrt(400)
    # where all weight is on one, the mean is that one
    only = mean_structure(frames, np.eye(400)[7])
    np.testing.assert_allclose(superposed(only[None], frames[7])[0], frames[7], atol=1e-9)
