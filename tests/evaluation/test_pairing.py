import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, MoleculeError
from openmm_confgf.evaluation.pairing import in_order_of, paired
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import rmsd_matrix


def shuffled(ensemble, seed):
    """The same conformations with the atoms in another order."""
    order = np.random.default_rng(seed).permutation(len(ensemble.graph))
    graph = MolecularGraph.from_rdkit(Chem.RenumberAtoms(ensemble.graph.mol, order.tolist()), ensemble.graph.name)
    return Ensemble(graph, ensemble.positions[:, order], Provenance("test", "0"), energy=np.arange(float(len(ensemble))))


@pytest.mark.parametrize(
    "smiles", ["C[C@H](N)C(=O)[O-]", "C/C=C\\CO", "c1ccccc1C(=O)N", "OCC(C)(C)C", "C[C@H]1CC[C@@H](C)CC1", "CS(=O)(=O)N"]
)
def test_atoms_are_found_again(smiles):
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 3, 1)
    for seed in range(3):
        other = shuffled(ensemble, seed)
        assert not other.graph.same_as(ensemble.graph)
        found = in_order_of(other, ensemble.graph)
        assert found.graph is ensemble.graph and found.energy.tolist() == [0, 1, 2]
        assert not check_conformations(found.graph, found.positions).any()
        assert rmsd_matrix(ensemble.graph, found.positions, ensemble.positions).diagonal().max() < 1e-6


def test_the_same_order_is_left_alone():
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CCO"), 2, 1)
    assert in_order_of(ensemble, MolecularGraph.from_smiles("CCO")) is ensemble


@pytest.mark.parametrize(("one", "other"), [("CCO", "COC"), ("C[C@H](O)F", "C[C@@H](O)F"), ("C/C=C/C", "C/C=C\\C"), ("CCO", "CC[O-]")])
def test_different_molecules_are_refused_in_one_sentence(one, other):
    ensemble = embed_etkdg(MolecularGraph.from_smiles(one), 1, 1)
    with pytest.raises(MoleculeError, match="are different molecules; give ensembles of one molecule"):
        in_order_of(ensemble, MolecularGraph.from_smiles(other))


def test_several_molecules_are_paired_by_what_they_are():
    ethanol, butane, water = (embed_etkdg(MolecularGraph.from_smiles(smiles), 2, 1) for smiles in ("CCO", "CCCC", "O"))
    found = paired([ethanol, butane], [shuffled(butane, 1), water, shuffled(ethanol, 2)])
    assert [(a.graph.smiles, b.graph.smiles) for a, b in found.pairs] == [("CCO", "CCO"), ("CCCC", "CCCC")]
    assert all(a.graph is b.graph for a, b in found.pairs)
    assert found.without_reference == [] and found.without_samples == ["O"]
    assert paired([ethanol, butane], [ethanol]).without_reference == ["CCCC"]


def test_what_cannot_be_paired():
    ethanol, butane, water = (embed_etkdg(MolecularGraph.from_smiles(smiles), 2, 1) for smiles in ("CCO", "CCCC", "O"))
    with pytest.raises(MoleculeError, match="None of 2 molecules has a reference among 1"):
        paired([ethanol, butane], [water])
    with pytest.raises(ConfGFError, match="comes twice"):
        paired([ethanol, butane, shuffled(ethanol, 1)], [ethanol])
    with pytest.raises(MoleculeError, match="are different molecules"):
        paired([ethanol], [butane])
