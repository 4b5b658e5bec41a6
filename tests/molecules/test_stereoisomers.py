import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers

from openmm_confgf.errors import MoleculeError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.stereoisomers import (
    check_one_diastereomer,
    diastereomers,
    enumerate_stereoisomers,
    stereo_text,
    stereoisomers,
    unspecified_stereo,
)
from openmm_confgf.status import Status

OPEN = {  # what is open (centres, double bonds), and how many stereoisomers that makes
    "CC(O)CC": (1, 0, 2),
    "OC(=O)C(O)C(O)C(=O)O": (2, 0, 3),  # tartaric acid: R,R and S,S and meso
    "CC(O)C(O)C(O)C": (3, 0, 4),
    "OC1C(O)C(O)C(O)C(O)C1O": (6, 0, 9),  # the inositols
    "CC1CCC(C)CC1": (2, 0, 2),
    "CC1CC(C)C1": (2, 0, 2),
    "C1CCC2CCCCC2C1": (2, 0, 2),  # decalin
    "CC(C)C1CCC(C)CC1O": (3, 0, 8),  # menthol
    "CC=CC=CC": (0, 2, 3),
    "CC=CC(C)C=CC": (1, 2, 4),
    "C1CCCCCCC=C1": (0, 1, 2),
    "CC(=NO)CC": (0, 1, 2),
    "CS(=O)CC": (1, 0, 2),
    "C[N+](CC)(CCC)CCCC": (1, 0, 2),
    "C[C@H](O)C(N)CC": (1, 0, 2),
    "C[C@H](O)/C=C/C": (0, 0, 1),
}
CAGES = {  # bridgeheads that point outwards, all of them or none
    "C1CC2CCC1C2": (0, 1),
    "C1C2CC3CC1CC(C2)C3": (0, 1),
    "CC12CC3CC(C)(C1)CC(N)(C3)C2": (0, 1),  # memantine
    "C1CC2CCN1CC2": (0, 1),
    "C12C3C4C1C5C2C3C45": (0, 1),
    "CC1(C)C2CCC1(C)C(=O)C2": (2, 2),  # camphor
    "OC1CC2CCC1C2": (3, 4),  # norborneol
    "CC(=O)OC1CC2CCC(C1)N2C": (3, 2),  # tropanyl: the N-methyl inverts
    "CC1CC2CC(C1)CC(C)C2": (4, 3),  # dimethylbicyclo[3.3.1]nonane
}
NO_STEREO = {
    "CN(CC)CCC": "an amine inverts",
    "CN1CCC1": "in a ring, too",
    "CC=N": "the hydrogen of an imine exchanges",
    "NC(=N)NC": "a guanidine",
    "CC=C=CC": "an axis is no double bond with sides",
    "CC(C)=NO": "two like ends",
    "C1CCCCC=C1": "no room for E",
    "CC(=O)NC": "an amide turns",
}


def graph_of(smiles):
    return MolecularGraph.from_smiles(smiles)


@pytest.mark.parametrize(("smiles", "wanted"), OPEN.items())
def test_what_is_open_and_all_that_it_can_be(smiles, wanted):
    graph = graph_of(smiles)
    centres, double_bonds, count = wanted
    assert unspecified_stereo(graph) == ({"centres": centres, "double_bonds": double_bonds} if centres + double_bonds else {})
    isomers = enumerate_stereoisomers(graph)
    assert {isomer.smiles for isomer in isomers} == {Chem.MolToSmiles(m) for m in EnumerateStereoisomers(Chem.MolFromSmiles(smiles))}
    assert len(isomers) == len({isomer.name for isomer in isomers}) == count
    assert all(np.array_equal(isomer.numbers, graph.numbers) and np.array_equal(isomer.bonds, graph.bonds) for isomer in isomers)
    assert not any(unspecified_stereo(isomer).get("double_bonds") for isomer in isomers)


@pytest.mark.parametrize(("smiles", "wanted"), CAGES.items())
def test_bridgeheads_of_small_cages_do_not_point_inwards(smiles, wanted):
    graph = graph_of(smiles)
    assert (unspecified_stereo(graph).get("centres", 0), len(enumerate_stereoisomers(graph))) == wanted


@pytest.mark.parametrize("smiles", NO_STEREO)
def test_what_moves_by_itself_is_no_stereo(smiles):
    graph = graph_of(smiles)
    assert unspecified_stereo(graph) == {} and enumerate_stereoisomers(graph) == [graph]
    assert stereo_text(graph, np.zeros((0, len(graph), 3))) == ""


def test_a_nitrogen_that_only_its_small_ring_holds_inverts_and_a_bridgehead_does_not():
    assert unspecified_stereo(graph_of("CN1CC1C")) == {"centres": 1, "double_bonds": 0}
    assert unspecified_stereo(graph_of("C1CN2CC12")) == {"centres": 2, "double_bonds": 0}


def test_names_tell_what_was_open():
    assert [g.name for g in enumerate_stereoisomers(MolecularGraph.from_smiles("C[C@H](N)C=CC", "x"))] == ["x-4Z", "x-4E"]
    assert {g.name for g in enumerate_stereoisomers(MolecularGraph.from_smiles("CC(F)Cl", "x"))} == {"x-2R", "x-2S"}


def test_too_many_are_refused():
    with pytest.raises(MoleculeError, match="7 centres and 0 double bonds open, which makes more than 64 stereoisomers; specify"):
        enumerate_stereoisomers(graph_of("FC(Cl)C(Br)C(I)C(O)C(N)C(S)C(C#N)C"))


@pytest.mark.parametrize("smiles", [s for s, (c, d, _) in OPEN.items() if c + d] + ["CC1(C)C2CCC1(C)C(=O)C2", "CC(=O)OC1CC2CCC(C1)N2C"])
def test_coordinates_are_read_as_rdkit_reads_them(smiles):
    ensemble = embed_etkdg(graph_of(smiles), 12, 0)
    found = stereoisomers(ensemble.graph, ensemble.positions)
    for frame, isomer in zip(ensemble.positions, found, strict=True):
        mol = ensemble.graph.to_rdkit(frame)
        Chem.AssignStereochemistryFrom3D(mol)
        mol.RemoveAllConformers()
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == isomer
    assert set(found) <= {isomer.smiles for isomer in enumerate_stereoisomers(ensemble.graph)}


@pytest.mark.parametrize("smiles", [*OPEN, *CAGES, *NO_STEREO])
def test_each_part_is_what_its_graph_says(smiles):
    ensemble = embed_etkdg(graph_of(smiles), 12, 0)
    parts = ensemble.by_stereoisomer()
    assert sum(map(len, parts.values())) == len(ensemble) and len({part.graph.name for part in parts.values()}) == len(parts)
    for isomer, part in parts.items():
        assert part.graph.smiles == isomer
        assert (check_conformations(part.graph, part.positions) == Status.OK).all()
        assert stereoisomers(part.graph, part.positions) == [isomer] * len(part)


def test_mirror_images_are_one_compound_and_diastereomers_are_not():
    ensemble = embed_etkdg(graph_of("CC(O)C(N)C"), 16, 0)
    numbers, isomers = diastereomers(ensemble.graph, ensemble.positions), stereoisomers(ensemble.graph, ensemble.positions)
    assert set(numbers.tolist()) == {0, 1} and len(set(isomers)) == 4 and numbers[0] == 0
    mirrored = ensemble.positions * [1, 1, -1]
    assert diastereomers(ensemble.graph, np.concatenate([ensemble.positions, mirrored])).tolist() == [*numbers, *numbers]
    with pytest.raises(MoleculeError, match="of 2 diastereomers, .* a test takes one; split them with Ensemble.by_stereoisomer"):
        check_one_diastereomer(ensemble.graph, ensemble.positions, "a test")
    check_one_diastereomer(ensemble.graph, ensemble.positions[numbers == 1], "a test")
    check_one_diastereomer(ensemble.graph, ensemble.positions[:0], "a test")


def test_with_one_centre_specified_the_others_hand_makes_diastereomers():
    ensemble = embed_etkdg(graph_of("C[C@H](O)C(N)CC"), 12, 0)
    assert len(set(diastereomers(ensemble.graph, ensemble.positions).tolist())) == 2


def test_ranking_and_duplicates_go_compound_by_compound():
    ensemble = embed_etkdg(graph_of("CC(O)C(N)C"), 16, 0)
    ensemble = ensemble.replace(energy=np.random.default_rng(1).normal(size=16))
    ranked = ensemble.ranked()
    numbers = diastereomers(ranked.graph, ranked.positions)
    assert numbers.tolist() == sorted(numbers.tolist())
    for number in (0, 1):
        assert (np.diff(ranked.energy[numbers == number]) >= 0).all()
    assert sorted(ranked.energy) == sorted(ensemble.energy) and not (np.diff(ranked.energy) >= 0).all()
    # however wide the threshold, one of each stereoisomer stays
    assert len(set(stereoisomers(ensemble.graph, ensemble.deduplicated(10.0).positions))) == len(ensemble.deduplicated(10.0)) == 4
    assert [len(part) for part in ensemble.compounds()] == [len(part) for part in ensemble.by_stereoisomer().values()]


def test_summary_and_provenance_say_it():
    ensemble = embed_etkdg(graph_of("CC(O)C=CC"), 8, 0)
    assert "8 OK, 1 centre and 1 double bond unspecified: " in ensemble.summary()
    assert ensemble.provenance.settings["unspecified_stereo"] == {"centres": 1, "double_bonds": 1}
    specified = embed_etkdg(graph_of("C[C@H](O)/C=C/C"), 2, 0)
    assert "unspecified" not in specified.summary() and "unspecified_stereo" not in specified.provenance.settings


def test_bad_samples_are_left_out():
    ensemble = embed_etkdg(graph_of("CC(O)C(N)C"), 6, 0)
    positions = ensemble.positions.copy()
    positions[1] = np.nan
    broken = ensemble.replace(positions=positions)
    assert sum(map(len, broken.by_stereoisomer().values())) == 5
    assert len(broken.ranked()) == len(broken.deduplicated(0)) == 5
    assert ensemble.select([]).by_stereoisomer() == {} and len(ensemble.select([]).ranked()) == 0
