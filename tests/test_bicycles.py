import pytest

from openmm_confgf.bicycles import can_exist, small_bicycles
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecule import MolecularGraph
from openmm_confgf.stereoisomers import stereoisomers

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
    ("smiles", "exists"),
    [
        ("CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2", True),  # camphor
        ("CC1(C)[C@@H]2CC[C@]1(C)C(=O)C2", False),
        ("CC1(C)C2CC[C@]1(C)C(=O)C2", True),  # one bridgehead open
        ("CC(=O)O[C@@H]1C[C@H]2CC[C@@H](C1)N2C", True),
        ("O[C@@H]1C[C@@H]2C[C@@H]1C=C2", False),
        ("C1CC[C@@H]2CCCC[C@H]2C1", True),  # trans-decalin
        ("C1CC[C@@H]2CCCC[C@@H]2C1", True),
    ],
)
def test_what_can_exist(smiles, exists):
    assert can_exist(MolecularGraph.from_smiles(smiles)) is exists


@pytest.mark.parametrize("smiles", ["CC1(C)C2CCC1(C)C(=O)C2", "OC1CC2CCC1C2", "CC(=O)OC1CC2CCC(C1)N2C", "OC1C2CCC1(C)C=C2"])
def test_what_rdkit_embeds_of_norbornanes_can_exist(smiles):
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 10, 0)
    assert all(can_exist(MolecularGraph.from_smiles(found)) for found in stereoisomers(ensemble.graph, ensemble.positions))
