import numpy as np
import pytest
from rdkit.Chem import rdDistGeom

from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.evaluation.stereo import specified_stereo, stereo_is_right
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


def embedded(smiles, n=4):
    graph = MolecularGraph.from_smiles(smiles)
    mol = graph.to_rdkit()
    rdDistGeom.EmbedMultipleConfs(mol, n, randomSeed=11)
    return Ensemble(graph, np.array([c.GetPositions() for c in mol.GetConformers()]) / 10, Provenance("test", "0"))


@pytest.mark.parametrize(
    "smiles", ["C[C@H](O)F", "C[C@@H](O)[C@H](F)Cl", "C/C=C/C", "C/C=C\\F", "C[C@@H]1CC[C@H](C)CC1", "C[C@H]1CN1", "O/N=C/C[C@H](C)F"]
)
def test_embeddings_of_the_right_molecule_are_right(smiles):
    ensemble = embedded(smiles)
    assert len(ensemble) == 4 and stereo_is_right(ensemble).all()


@pytest.mark.parametrize("smiles", ["C[C@H](O)F", "C[C@@H](O)[C@H](F)Cl", "C[C@H]1CN1"])
def test_mirror_images_are_wrong(smiles):
    ensemble = embedded(smiles)
    mirrored = ensemble.replace(positions=ensemble.positions * [-1, 1, 1])
    assert not stereo_is_right(mirrored).any()


def test_the_other_double_bond_is_wrong():
    cis, trans = embedded("C/C=C\\F"), embedded("C/C=C/F")
    assert not stereo_is_right(cis.replace(positions=trans.positions)).any()


def test_mirror_image_keeps_a_double_bond_and_a_cis_ring():
    for smiles in ("C/C=C/C", "C[C@@H]1CC[C@H](C)CC1"):
        ensemble = embedded(smiles)
        assert stereo_is_right(ensemble.replace(positions=ensemble.positions * [1, 1, -1])).all()


def test_only_what_is_specified_counts():
    ensemble = embedded("CC(O)[C@H](F)Cl", 8)
    assert specified_stereo(ensemble.graph) == 1
    assert stereo_is_right(ensemble).all()
    assert specified_stereo(MolecularGraph.from_smiles("CC(O)C=CF")) == 0


def test_only_usable_samples_are_judged():
    ensemble = embedded("C[C@H](O)F")
    positions = ensemble.positions.copy()
    positions[1] *= [-1, 1, 1]
    marked = ensemble.replace(positions=positions, status=np.array([0, Status.WRONG_STEREO, 0, Status.CLASH], np.int8))
    assert list(stereo_is_right(marked)) == [True, True]
    assert list(stereo_is_right(ensemble.replace(positions=positions))) == [True, False, True, True]
