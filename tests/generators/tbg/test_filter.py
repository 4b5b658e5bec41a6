import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.errors import UnsupportedMoleculeError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.tbg.atom_types import atom_types
from openmm_confgf.generators.tbg.filter import Outcome, filter_samples
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def valine():
    """Alanylvaline: two centres."""
    return peptide("AV")


@pytest.fixture(scope="module")
def frames(valine):
    """Six conformers, with oxygens of the carboxylate that are alike, as force fields have them and ETKDG has not."""
    positions = embed_etkdg(valine, 6, seed=0).positions.copy()
    carbon, *oxygens = index(valine, 2, "C", "O", "OXT")
    bonds = positions[:, oxygens] - positions[:, [carbon]]
    positions[:, oxygens] = positions[:, [carbon]] + 0.125 * bonds / np.linalg.norm(bonds, axis=-1, keepdims=True)
    return positions


@pytest.fixture(scope="module")
def full(valine):
    return atom_types(valine, "tbg+full")


@pytest.fixture(scope="module")
def elements(valine):
    return atom_types(valine, "tbg")


def index(graph, residue, *names):
    """Atoms by their names."""
    infos = [atom.GetPDBResidueInfo() for atom in graph.mol.GetAtoms()]
    found = {info.GetName().strip(): k for k, info in enumerate(infos) if info.GetResidueNumber() == residue}
    return [found[name] for name in names]


def exchanged(positions, here, there):
    """The positions of some atoms given to others, and the other way round."""
    order = np.arange(positions.shape[1])
    order[here], order[there] = there, here
    return positions[:, order]


def epimer(graph, *centres):
    """The molecule, in its order of atoms, with the other hand at some centres."""
    mol = Chem.Mol(graph.mol)
    for centre in centres:
        mol.GetAtomWithIdx(centre).InvertChirality()
    return MolecularGraph.from_rdkit(mol)


def shuffled(positions, types, rng):
    """Each sample's atoms in another order, within those of one type."""
    classes = np.unique(types, axis=0, return_inverse=True)[1].ravel()
    found = positions.copy()
    for row in found:
        order = np.arange(len(classes))
        for one in np.unique(classes):
            members = np.flatnonzero(classes == one)
            order[members] = rng.permutation(members)
        row[:] = row[order]
    return found


def outcomes(graph, positions, types):
    return [Outcome(one).name for one in filter_samples(graph, positions, types).outcome]


def test_samples_of_the_molecule_stay_as_they_are(valine, frames, full):
    found = filter_samples(valine, frames, full)
    np.testing.assert_array_equal(found.positions, frames)
    assert found.kept.all() and found.counts[Outcome.KEPT] == 6 and sum(found.counts.values()) == 6


def test_hydrogens_of_a_methyl_are_in_no_order(valine, frames, full):
    hydrogens = index(valine, 2, "HG11", "HG12")
    swapped = exchanged(frames, hydrogens[:1], hydrogens[1:])
    found = filter_samples(valine, swapped, full)
    np.testing.assert_array_equal(found.positions, swapped)
    assert (found.outcome == Outcome.KEPT).all()


def test_methyl_groups_that_changed_places_have_the_bonds_of_the_molecule(valine, frames, full):
    one, other = (index(valine, 2, f"CG{k}", *(f"HG{k}{n}" for n in "123")) for k in "12")
    assert outcomes(valine, exchanged(frames, one, other), full) == ["KEPT"] * 6


def test_carbons_that_changed_places_are_put_back_where_their_types_allow_it(valine, frames, full, elements):
    """Without their hydrogens; those of both methyls may be told apart, so that then none is put back."""
    swapped = exchanged(frames, index(valine, 2, "CG1"), index(valine, 2, "CG2"))
    assert outcomes(valine, swapped, full) == ["WRONG_BONDS"] * 6
    found = filter_samples(valine, swapped, elements)
    assert (found.outcome == Outcome.REORDERED).all()
    assert (check_conformations(valine, found.positions) == Status.OK).all()
    for methyl in (index(valine, 2, f"CG{k}", *(f"HG{k}{n}" for n in "123")) for k in "12"):
        lengths = np.linalg.norm(found.positions[:, methyl[1:]] - found.positions[:, methyl[:1]], axis=-1)
        np.testing.assert_allclose(lengths, 0.109, atol=0.006)


@pytest.mark.parametrize("variant", ["tbg", "tbg+backbone", "tbg+full", "bg+backbone", "graph"])
def test_any_order_of_atoms_of_one_type_is_undone(valine, frames, variant):
    types, rng = atom_types(valine, variant), np.random.default_rng(5)
    drawn = shuffled(frames, types, rng)
    drawn[3:] *= [-1.0, 1.0, 1.0]
    found = filter_samples(valine, drawn, types)
    assert found.kept.all()
    assert (found.outcome[3:] == Outcome.REFLECTED).all() and not (found.outcome[:3] == Outcome.REFLECTED).any()
    assert (check_conformations(valine, found.positions) == Status.OK).all()
    for row, (before, after) in enumerate(zip(drawn, found.positions, strict=True)):
        source = np.linalg.norm(after[:, None] - before * (-1 if row >= 3 else 1), axis=-1).argmin(1)
        np.testing.assert_array_equal(after, before[source] * (-1 if row >= 3 else 1))
        np.testing.assert_array_equal(types, types[source])
    again = filter_samples(valine, found.positions, types)
    np.testing.assert_array_equal(again.positions, found.positions)
    assert (again.outcome == Outcome.KEPT).all()


def test_a_mirror_image_is_reflected(valine, frames, full):
    """Distances stay, and the hand is that of the molecule."""
    found = filter_samples(valine, frames * [1.0, 1.0, -1.0], full)
    assert (found.outcome == Outcome.REFLECTED).all()
    assert (check_conformations(valine, found.positions) == Status.OK).all()
    np.testing.assert_allclose(found.positions, frames * [-1.0, -1.0, 1.0])


def test_one_of_two_centres_inverted_is_dropped(valine, full):
    """L,D and D,L, which are not mirror images of L,L, beside D,D, which is."""
    first, second = index(valine, 1, "CA") + index(valine, 2, "CA")
    isomers = (epimer(valine, first), epimer(valine, second), epimer(valine, first, second))
    drawn = np.concatenate([embed_etkdg(isomer, 2, seed=1).positions for isomer in isomers])
    found = filter_samples(valine, drawn, full)
    assert [Outcome(one).name for one in found.outcome] == ["MIXED_HANDS"] * 4 + ["REFLECTED"] * 2
    np.testing.assert_array_equal(found.positions[:4], drawn[:4])
    elements = atom_types(valine, "tbg")
    disordered = shuffled(drawn, elements, np.random.default_rng(3))
    found = filter_samples(valine, disordered, elements)
    assert [Outcome(one).name for one in found.outcome] == ["MIXED_HANDS"] * 4 + ["REFLECTED"] * 2
    np.testing.assert_array_equal(found.positions[:4], disordered[:4])


def test_a_flat_centre_has_no_hand():
    """All five atoms in one plane, each as near to the carbon as a bond wants it."""
    graph = MolecularGraph.from_smiles("F[C@H](Cl)Br")
    polar = ((0.135, 180), (0.0, 0), (0.176, 70), (0.194, -70), (0.135, 0))
    flat = np.array([[r * np.cos(np.radians(angle)), r * np.sin(np.radians(angle)), 0.0] for r, angle in polar])
    assert outcomes(graph, flat, atom_types(graph, "graph")) == ["MIXED_HANDS"]


def test_a_broken_bond_and_a_clash_are_wrong_bonds(valine, frames, full, elements):
    oxygen, carbon, hydrogen = index(valine, 2, "OXT", "C", "H")
    drawn = frames[:3].copy()
    drawn[0, oxygen] += 0.1 * (drawn[0, oxygen] - drawn[0, carbon]) / np.linalg.norm(drawn[0, oxygen] - drawn[0, carbon])
    drawn[1, hydrogen] = drawn[1, oxygen] + [0.0, 0.0, 0.1]
    (methyl,) = index(valine, 1, "HB1")
    drawn[2, methyl] = drawn[2, hydrogen] + [0.0, 0.0, 0.13]
    for types in (full, elements):
        found = filter_samples(valine, drawn, types)
        assert (found.outcome == Outcome.WRONG_BONDS).all() and not found.kept.any()
        np.testing.assert_array_equal(found.positions, drawn)


def test_as_many_bonds_between_other_atoms_are_wrong(valine, frames, elements):
    """A hydrogen that moved from an amide to a carboxylate: as many bonds, and no order of atoms mends it."""
    oxygen, carbon, hydrogen = index(valine, 2, "OXT", "C", "H")
    moved = frames.copy()
    outwards = moved[:, oxygen] - moved[:, carbon]
    moved[:, hydrogen] = moved[:, oxygen] + 0.1 * outwards / np.linalg.norm(outwards, axis=-1, keepdims=True)
    assert outcomes(valine, moved, elements) == ["WRONG_BONDS"] * 6


def test_rows_that_are_not_finite_are_told_and_stay(valine, frames, full):
    drawn = frames.copy()
    drawn[1, 3, 0], drawn[4] = np.nan, np.inf
    found = filter_samples(valine, drawn, full)
    assert [Outcome(one).name for one in found.outcome] == ["KEPT", "NON_FINITE", "KEPT", "KEPT", "NON_FINITE", "KEPT"]
    np.testing.assert_array_equal(found.positions, drawn)
    assert found.counts[Outcome.NON_FINITE] == 2


def test_no_samples(valine, frames, full):
    found = filter_samples(valine, frames[:0], full)
    assert found.positions.shape == (0, len(valine), 3) and found.kept.shape == (0,)
    assert set(found.counts.values()) == {0}


def test_what_has_no_hand_is_never_reflected():
    """Glycylglycine: both hands of a conformation are the molecule."""
    graph = peptide("GG")
    frames = embed_etkdg(graph, 3, seed=0).positions
    drawn = np.concatenate([frames, -frames])
    found = filter_samples(graph, drawn, atom_types(graph, "tbg+full"))
    np.testing.assert_array_equal(found.positions, drawn)
    assert (found.outcome == Outcome.KEPT).all()


def test_a_double_bond_on_the_other_side_is_dropped():
    one, other = (MolecularGraph.from_smiles(smiles) for smiles in ("C/C=C/F", "C/C=C\\F"))
    drawn = np.concatenate([embed_etkdg(graph, 2, seed=0).positions for graph in (one, other)])
    assert outcomes(one, np.concatenate([drawn, -drawn[:2]]), atom_types(one, "graph")) == ["KEPT"] * 2 + ["MIXED_HANDS"] * 2 + ["KEPT"] * 2


def test_ends_alike_but_for_their_hands_may_have_changed_places():
    """The bonds are the molecule's either way; hands tell which end is which, and a third centre that none is mirrored."""
    graph = MolecularGraph.from_smiles("C[C@H](F)C([C@@H](C)F)[C@H](Cl)O")
    types = np.eye(18, dtype=np.float32)[graph.numbers]
    frames = embed_etkdg(graph, 4, seed=0).positions
    heavy = exchanged(frames, [0, 1, 2], [5, 4, 6])
    drawn = np.concatenate([frames, heavy, -heavy])
    found = filter_samples(graph, drawn, types)
    assert [Outcome(one).name for one in found.outcome] == ["KEPT"] * 4 + ["REORDERED"] * 4 + ["REFLECTED"] * 4
    assert (check_conformations(graph, found.positions) == Status.OK).all()


@pytest.mark.parametrize("smiles", ["CSSC", "ClCCBr", "CP(C)C", "[H][H]", "FC(F)(F)[C@H](O)C(Cl)(Cl)Cl", "C1CC1N=NC", "CON"])
def test_bonds_of_many_elements_are_told(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    drawn = embed_etkdg(graph, 3, seed=0).positions
    assert outcomes(graph, drawn, atom_types(graph, "graph")) == ["KEPT"] * 3
    rng = np.random.default_rng(1)
    by_element = np.eye(36, dtype=np.float32)[graph.numbers]
    assert filter_samples(graph, shuffled(drawn, by_element, rng), by_element).kept.all()


def test_a_thiol_at_three_standard_deviations_is_bonded():
    """0.1336 + 3 * 0.00335 nm in amber14, at 310 K; the published threshold of 0.14 would drop it."""
    graph = peptide("GC")
    drawn = embed_etkdg(graph, 1, seed=0).positions.copy()
    sulphur, hydrogen = index(graph, 2, "SG", "HG")
    bond = drawn[:, hydrogen] - drawn[:, sulphur]
    drawn[:, hydrogen] = drawn[:, sulphur] + bond * 0.1437 / np.linalg.norm(bond)
    assert outcomes(graph, drawn, atom_types(graph, "tbg+full")) == ["KEPT"]


def test_blocks_make_no_difference(valine, frames, elements, monkeypatch):
    drawn = shuffled(np.concatenate([frames, -frames]), elements, np.random.default_rng(2))
    drawn[7] = np.nan
    whole = filter_samples(valine, drawn, elements)
    monkeypatch.setattr("openmm_confgf.generators.tbg.filter._PAIRS_AT_ONCE", 1)
    parts = filter_samples(valine, drawn, elements)
    np.testing.assert_array_equal(whole.positions, parts.positions)
    np.testing.assert_array_equal(whole.outcome, parts.outcome)


def test_bad_calls(valine, frames, full):
    with pytest.raises(ValueError, match="types have shape \\(28, 76\\) where 'AV' has 29 atoms; give a row for each"):
        filter_samples(valine, frames, full[:-1])
    with pytest.raises(ValueError, match="28 atoms where 'AV' has 29"):
        filter_samples(valine, frames[:, 1:], full)
    iodide = MolecularGraph.from_smiles("CI")
    with pytest.raises(UnsupportedMoleculeError, match="'CI' has I, whose bonds this filter cannot tell by distance.*choose a generator"):
        filter_samples(iodide, np.zeros((1, 5, 3)), atom_types(iodide, "graph"))
