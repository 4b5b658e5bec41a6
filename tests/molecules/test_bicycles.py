import numpy as np
import pytest
from rdkit.Chem import rdDistGeom

from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.bicycles import all_outwards, small_bicycles, turned_inside
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.stereoisomers import stereoisomers
from openmm_confgf.status import Status

BICYCLES = {
    "C1CC2CCC1C2": 1,  # norbornane
    "C1CC2CCC1CC2": 1,
    "C1CC2CCCC(C1)C2": 1,  # [3.3.1]
    "C1C2CC3CC1CC(C2)C3": 6,  # adamantane: each pair of its four bridgeheads
    "C1CCC2CCCCC2C1": 0,  # decalin is fused: one bridge has no atom
    "C1CCC2(CC1)CCCC2": 0,  # spiro
    "C1CCCC2CCCCC(CC1)C2": 0,  # [5.4.1] has room inside
    "c1ccccc1": 0,
}


@pytest.mark.parametrize(("smiles", "count"), BICYCLES.items())
def test_small_bicycles(smiles, count):
    assert len(small_bicycles(MolecularGraph.from_smiles(smiles).mol)) == count


@pytest.mark.parametrize(
    ("smiles", "heads"),
    [
        ("CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2", None),  # camphor
        ("CC1(C)[C@@H]2CC[C@]1(C)C(=O)C2", (3, 6)),
        ("CC1(C)C2CC[C@]1(C)C(=O)C2", None),  # one bridgehead open
        ("CC(=O)O[C@@H]1C[C@H]2CC[C@@H](C1)N2C", None),
        ("O[C@@H]1C[C@@H]2C[C@@H]1C=C2", (3, 5)),
        ("C1CC[C@@H]2CCCC[C@H]2C1", None),  # trans-decalin
        ("C1CC[C@@H]2CCCC[C@@H]2C1", None),
        ("C1C[C@H]2C[C@H]3C[C@]2(C1)C3", None),  # minima of QM9 with a ring fused to a bridgehead
        ("C1O[C@H]2C[C@@]3(C2)OC[C@H]13", None),
    ],
)
def test_bridgeheads_that_are_turned_inside(smiles, heads):
    assert turned_inside(MolecularGraph.from_smiles(smiles)) == heads


def test_conformations_that_are_turned_inside_are_distorted():
    """RDKit makes them where the stereo is open: 1,3,5,7-tetramethylbicyclo[3.3.1]nonane without a word on its bridgeheads."""
    graph = MolecularGraph.from_smiles("CC1CC2CC(C1)CC(C)C2")
    mol = graph.to_rdkit()
    rdDistGeom.EmbedMultipleConfs(mol, 60, randomSeed=1)
    frames = np.array([conformer.GetPositions() for conformer in mol.GetConformers()]) / 10
    status = check_conformations(graph, frames)
    outwards = all_outwards(graph, frames)
    if outwards.all():
        pytest.skip("this version of RDKit turns none inwards")
    assert (status[outwards] == Status.OK).all() and (status[~outwards] == Status.DISTORTED).all()
    np.testing.assert_array_equal(all_outwards(graph, -frames), outwards)


def test_bicycles_of_the_archives_point_outwards(shared_data):
    molecules = [m for name in ("qm9_xtb_train.npz", "druglike_xtb_train.npz") for m in load_archive(shared_data / name)]
    bicycles = [m for m in molecules if small_bicycles(m.graph.mol)]
    assert len(bicycles) > 200
    assert all(all_outwards(m.graph, m.positions).all() and turned_inside(m.graph) is None for m in bicycles)


@pytest.mark.parametrize("smiles", ["CC1(C)C2CCC1(C)C(=O)C2", "OC1CC2CCC1C2", "CC(=O)OC1CC2CCC(C1)N2C", "OC1C2CCC1(C)C=C2"])
def test_what_rdkit_embeds_of_norbornanes_can_exist(smiles):
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 10, 0)
    assert all(turned_inside(MolecularGraph.from_smiles(found)) is None for found in stereoisomers(ensemble.graph, ensemble.positions))
