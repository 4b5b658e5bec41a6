import math

import numpy as np
import pytest
import torch

from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.generators.harmonic.internal_coordinates import ZMatrix
from openmm_confgf.molecules.graph import MolecularGraph

MOLECULES = ["O", "OO", "CCO", "C[C@H](N)C(=O)O", "C1CC1C(=O)NC", "C/C=C/C", "CC(C)(C)c1ccccc1"]


@pytest.mark.parametrize("smiles", MOLECULES)
def test_positions_come_back_up_to_a_rigid_motion(smiles):
    ensemble = ETKDGGenerator().sample(smiles, 3)
    zmatrix = ZMatrix.of(ensemble.graph)
    coordinates = zmatrix.coordinates(torch.tensor(ensemble.positions))
    assert coordinates.shape == (3, 3 * len(ensemble.graph) - 6)
    rebuilt = zmatrix.positions(coordinates).numpy()
    for given, frame in zip(ensemble.positions, rebuilt, strict=True):
        given, frame = given - given.mean(0), frame - frame.mean(0)
        u, _, vt = np.linalg.svd(frame.T @ given)
        u[:, 2] *= np.linalg.det(u @ vt)  # a rotation, which makes no mirror image right
        np.testing.assert_allclose(frame @ u @ vt, given, atol=1e-10)
    np.testing.assert_allclose(zmatrix.coordinates(torch.from_numpy(rebuilt)), coordinates, atol=1e-9)


def test_rotors_are_the_single_bonds_outside_of_rings():
    for smiles, count in (("O", 0), ("OO", 1), ("CCO", 2), ("CCCC", 3), ("C/C=C/C", 2), ("C1CC1C(=O)NC", 3), ("c1ccccc1", 0)):
        zmatrix = ZMatrix.of(MolecularGraph.from_smiles(smiles))
        assert len(zmatrix.rotors) == count, smiles
        middles = {tuple(sorted(row[1:3])) for row in zmatrix.quadruples[zmatrix.rotors].tolist()}
        assert len(middles) == count


def test_a_torsion_turns_all_that_is_beyond_it():
    """After a turn of a methyl group by 120 degrees its hydrogens have exchanged places."""
    ensemble = ETKDGGenerator(mmff=True).sample("CO", 1)
    zmatrix = ZMatrix.of(ensemble.graph)
    coordinates = zmatrix.coordinates(torch.tensor(ensemble.positions))
    turned = coordinates.clone()
    turned[:, zmatrix.rotor_columns] += 2 * math.pi / 3
    before, after = (np.linalg.norm(x[0, 2:5] - x[0, 5], axis=1) for x in map(zmatrix.positions, (coordinates, turned)))
    np.testing.assert_allclose(sorted(before), sorted(after), atol=2e-3)
    assert np.abs(before - after).max() > 0.03


@pytest.mark.parametrize("smiles", ["O", "OO", "CO"])
def test_the_volume_element_is_the_jacobian_of_the_mean_free_subspace(smiles):
    """Against the determinant of all coordinates and three infinitesimal rotations, in an orthonormal basis."""
    ensemble = ETKDGGenerator().sample(smiles, 2, seed=3)
    n, zmatrix = len(ensemble.graph), ZMatrix.of(ensemble.graph)
    coordinates = zmatrix.coordinates(torch.tensor(ensemble.positions))
    centre = np.tile(np.eye(3), (n, 1)) / math.sqrt(n)
    basis = np.linalg.svd(centre, full_matrices=True)[0][:, 3:]
    for row, found in zip(coordinates, zmatrix.log_volume_element(coordinates), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda c: zmatrix.positions(c[None]).flatten(), row).numpy()
        frame = zmatrix.positions(row[None])[0].numpy()
        turns = np.stack([np.cross(axis, frame).flatten() for axis in np.eye(3)], axis=1)
        _, log_determinant = np.linalg.slogdet(basis.T @ np.hstack([jacobian, turns]))
        assert found.item() == pytest.approx(log_determinant + math.log(8 * math.pi**2), abs=1e-9)
