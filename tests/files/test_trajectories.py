import mdtraj
import numpy as np
import pytest

from openmm_confgf.errors import FileFormatError
from openmm_confgf.files.trajectories import read_trajectory
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph

SMILES = "C[C@@H](O)[C@H](F)Cl"


@pytest.fixture(scope="module")
def conformers():
    return embed_etkdg(MolecularGraph.from_smiles(SMILES), 12, seed=0)


def written(ensemble, path, order):
    """The frames in another order of atoms."""
    trajectory = ensemble.to_mdtraj()
    atoms = list(trajectory.topology.atoms)
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for k in order:
        topology.add_atom(atoms[k].name, atoms[k].element, residue)
    mdtraj.Trajectory(trajectory.xyz[:, order], topology).save(str(path))
    return path


@pytest.mark.parametrize("name", ["frames.h5", "frames.pdb"])
@pytest.mark.parametrize("seed", range(3))
def test_another_order_of_atoms_is_matched(conformers, tmp_path, name, seed):
    order = np.random.default_rng(seed).permutation(len(conformers.graph))
    found = read_trajectory(written(conformers, tmp_path / name, order), conformers.graph)
    assert found.provenance.settings == {"atoms": "matched by bonds and stereo"}
    heavy = conformers.graph.numbers > 1
    np.testing.assert_allclose(found.positions[:, heavy], conformers.positions[:, heavy], atol=1e-4)
    # the hydrogens of CH3 may have changed places
    for k in conformers.graph.bonds[(conformers.graph.numbers[conformers.graph.bonds] == 1).any(1)]:
        np.testing.assert_allclose(
            *[np.linalg.norm(x[:, k[0]] - x[:, k[1]], axis=-1).mean() for x in (found.positions, conformers.positions)], atol=2e-3
        )


def test_the_same_order_stays(conformers, tmp_path):
    order = np.arange(len(conformers.graph))
    found = read_trajectory(written(conformers, tmp_path / "frames.h5", order), conformers.graph)
    assert found.provenance.settings == {}
    np.testing.assert_allclose(found.positions, conformers.positions, atol=1e-6)


@pytest.mark.parametrize(
    ("smiles", "turned"),
    [
        ("C[C@H](F)[C@@H](C)F", [4, 3, 5, 1, 0, 2]),
        ("CC(C)(C)[C@H](F)[C@@H](C(C)(C)C)F", [8, 7, 9, 10, 6, 11, 4, 1, 0, 2, 3, 5]),
    ],
)
def test_alike_ends_are_told_apart_by_their_stereo(tmp_path, smiles, turned):
    """Only the stereo says which of two centres is which, however many hydrogens there are to exchange."""
    graph = MolecularGraph.from_smiles(smiles)
    ensemble = embed_etkdg(graph, 4, seed=0)
    hydrogens = [[n.GetIdx() for n in graph.mol.GetAtomWithIdx(k).GetNeighbors() if n.GetAtomicNum() == 1] for k in range(len(turned))]
    order = np.array([*turned, *range(len(turned), len(graph))])
    for here, there in enumerate(turned):
        order[hydrogens[here]] = hydrogens[there]
    found = read_trajectory(written(ensemble, tmp_path / "frames.h5", order), graph)
    np.testing.assert_allclose(found.positions[:, [1, 4]], ensemble.positions[:, [1, 4]], atol=1e-6)


@pytest.mark.parametrize("smiles", ["C[C@H](O)[C@H](F)Cl", "C[C@@H](F)[C@H](O)Cl"])
def test_other_isomers_are_refused(conformers, tmp_path, smiles):
    path = written(conformers, tmp_path / "frames.h5", np.arange(len(conformers.graph)))
    with pytest.raises(FileFormatError, match="give frames of it"):
        read_trajectory(path, MolecularGraph.from_smiles(smiles))


def test_other_atoms_are_refused(conformers, tmp_path):
    path = written(conformers, tmp_path / "frames.h5", np.arange(len(conformers.graph)))
    with pytest.raises(FileFormatError, match="has other atoms than 'CO'; give frames of it"):
        read_trajectory(path, MolecularGraph.from_smiles("CO"))
