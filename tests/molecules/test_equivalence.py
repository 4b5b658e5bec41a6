import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.molecules.equivalence import branch_permutations, ranks_without_resonance
from openmm_confgf.molecules.graph import MolecularGraph


def permutations(smiles, centre, branches, apart=False):
    graph = MolecularGraph.from_smiles(smiles)
    return graph, branch_permutations(graph, centre, branches, ranks_without_resonance(graph.mol), apart)


def is_symmetry(graph, permutation):
    bonds = {tuple(pair) for pair in graph.bonds.tolist()}
    moved = {tuple(sorted((int(permutation[i]), int(permutation[j])))) for i, j in bonds}
    return moved == bonds and (graph.numbers[permutation] == graph.numbers).all()


@pytest.mark.parametrize(
    ("smiles", "alike"),
    [
        ("CC(=O)[O-]", [(2, 3)]),
        ("NC(=[NH2+])N", [(0, 2, 3)]),
        ("O=[N+]([O-])C", [(0, 2)]),
        ("O=S(=O)([O-])C", [(0, 2, 3)]),
        ("Cc1ccccc1", [(2, 6), (3, 5)]),
    ],
)
def test_atoms_that_resonance_makes_alike_have_one_rank(smiles, alike):
    ranks = ranks_without_resonance(MolecularGraph.from_smiles(smiles).mol)
    for group in alike:
        assert len({ranks[k] for k in group}) == 1


@pytest.mark.parametrize(
    ("smiles", "different"),
    [("CC(=O)O", (2, 3)), ("O=C(OC)C", (0, 2)), ("C[C@H](O)C[C@@H](C)O", (1, 4)), ("OCC=O", (0, 3)), ("C=CC", (0, 2))],
)
def test_what_hydrogens_or_hands_tell_apart_has_two(smiles, different):
    ranks = ranks_without_resonance(MolecularGraph.from_smiles(smiles).mol)
    assert ranks[different[0]] != ranks[different[1]]


@pytest.mark.parametrize(
    ("smiles", "centre", "branches"),
    [
        ("CO", 0, [2, 3, 4]),
        ("CC(=O)[O-]", 1, [2, 3]),
        ("CC(C)(C)O", 1, [0, 2, 3]),
        ("Cc1ccccc1", 1, [2, 6]),
        ("CC(C)c1ccc(C(C)C)cc1", 3, [4, 11]),
        ("OC(c1ccccc1)(c1ccccc1)c1ccccc1", 1, [2, 8, 14]),
        ("CC(C)C(O)(C(C)C)C(C)C", 3, [1, 5, 8]),
    ],
)
def test_branches_are_exchanged_in_turn(smiles, centre, branches):
    graph, found = permutations(smiles, centre, branches)
    assert found.shape == (len(branches), len(graph))
    np.testing.assert_array_equal(found[0], np.arange(len(graph)))
    for k, permutation in enumerate(found):
        assert is_symmetry(graph, permutation)
        assert permutation[centre] == centre
        assert permutation[branches].tolist() == [*branches[k:], *branches[:k]]


def test_what_is_not_in_the_branches_stays():
    _, found = permutations("CC(C)c1ccc(C(C)C)cc1", 3, [4, 11])
    still = [0, 1, 2, 3, 6, 7, 8, 9]
    assert found[1][still].tolist() == still


@pytest.mark.parametrize(
    ("smiles", "centre", "branches", "apart"),
    [
        ("Cc1ccccc1", 1, [2, 6], True),  # one ring
        ("Cc1cccc2ccccc12", 1, [2, 10], False),  # two different ones
        ("C1CC2CC1C2", 2, [1, 3, 5], False),  # three bridges
        ("CC(C)O", 1, [0, 3], False),  # a methyl group and an OH
        ("CC1CC1", 2, [1, 3], False),  # a third neighbour is within them
    ],
)
def test_branches_that_nothing_exchanges_alone_have_none(smiles, centre, branches, apart):
    assert permutations(smiles, centre, branches, apart)[1] is None


def test_ranks_leave_the_molecule_as_it_was():
    graph = MolecularGraph.from_smiles("C[C@H](N)C(=O)[O-]")
    before = Chem.MolToMolBlock(graph.mol)
    ranks_without_resonance(graph.mol)
    assert Chem.MolToMolBlock(graph.mol) == before and graph.smiles == "C[C@H](N)C(=O)[O-]"
