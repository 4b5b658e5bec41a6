import collections
import random

import numpy as np
import pytest
from openmm import app
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from openmm_confgf.errors import MoleculeError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.molecules.graph import MolecularGraph

HYDROGENS = {
    "all": lambda mol, _: hydrogens(mol),
    "those on carbon": lambda mol, _: [i for i in hydrogens(mol) if on_carbon(mol, i)],
    "those on others": lambda mol, _: [i for i in hydrogens(mol) if not on_carbon(mol, i)],
    "one": lambda mol, rng: rng.sample(hydrogens(mol), min(1, len(hydrogens(mol)))),
    "two": lambda mol, rng: rng.sample(hydrogens(mol), min(2, len(hydrogens(mol)))),
}


def hydrogens(mol):
    return [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 1]


def on_carbon(mol, index):
    return mol.GetAtomWithIdx(index).GetNeighbors()[0].GetAtomicNum() == 6


def relaxed(smiles):
    """A molecule and positions (nm) of a minimum of MMFF94s."""
    graph = MolecularGraph.from_smiles(smiles)
    mol = graph.to_rdkit()
    settings = rdDistGeom.EmbedParameters()  # without basic knowledge, which refuses strained alkynes
    settings.randomSeed = 4
    assert rdDistGeom.EmbedMolecule(mol, settings) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=2000)
    return graph, mol.GetConformer().GetPositions() / 10


def stripped(graph, drop=(), charges=False, orders=False, bonds=True):
    """A Topology without some atoms, and the indices of those that stay."""
    source = graph.to_topology()
    topology = app.Topology()
    residue = topology.addResidue("UNL", topology.addChain())
    kept = [i for i in range(len(graph)) if i not in set(drop)]
    atoms = {
        a.index: topology.addAtom(a.name, a.element, residue, formalCharge=a.formalCharge if charges else None)
        for a in source.atoms()
        if a.index in kept
    }
    for bond in source.bonds():
        if bonds and bond[0].index in atoms and bond[1].index in atoms:
            topology.addBond(atoms[bond[0].index], atoms[bond[1].index], None, bond.order if orders else None)
    return topology, kept


@pytest.fixture(scope="module")
def druglike(shared_data):
    return load_archive(shared_data / "druglike_xtb_train.npz")[::12]


@pytest.mark.parametrize("told", ["nothing", "bonds", "charges", "orders"])
@pytest.mark.parametrize("which", list(HYDROGENS))
def test_molecules_without_some_hydrogens_never_become_others(druglike, which, told):
    settings = {"nothing": {"bonds": False}, "charges": {"charges": True}, "orders": {"orders": True}}.get(told, {})
    rng = random.Random(0)
    found = []
    for molecule in druglike:
        drop = HYDROGENS[which](molecule.graph.mol, rng)
        if not drop:
            continue
        topology, kept = stripped(molecule.graph, drop, **settings)
        try:
            graph = MolecularGraph.from_topology(topology, molecule.positions[0][kept])
        except MoleculeError:
            continue
        # a cation that lost its proton is a molecule, and the only one with these atoms
        if not any(molecule.graph.mol.GetAtomWithIdx(i).GetNeighbors()[0].GetFormalCharge() > 0 for i in drop):
            found.append((molecule.graph.smiles, graph.smiles))
    assert found == []


@pytest.mark.parametrize(("told", "refused"), [("nothing", 0.03), ("bonds", 0.03), ("charges", 0.0)])
def test_whole_molecules_are_perceived(druglike, told, refused):
    settings = {"nothing": {"bonds": False}, "charges": {"charges": True}}.get(told, {})
    outcome = collections.Counter()
    for molecule in druglike:
        topology, _ = stripped(molecule.graph, **settings)
        try:
            graph = MolecularGraph.from_topology(topology, molecule.positions[0])
        except MoleculeError:
            outcome["refused"] += 1
            continue
        outcome["same" if graph.order_key[:2] == molecule.graph.order_key[:2] else "other"] += 1
    assert outcome["other"] == 0 and outcome["refused"] <= refused * len(druglike)


@pytest.mark.parametrize("smiles", ["NCC(=O)O", "c1ccccc1", "C1CCCCC1", "c1ccncc1", "CC(=O)O", "CCO", "CC#N", "C1CCCCCCC1", "OCC#CCO"])
@pytest.mark.parametrize("charges", [False, True])
def test_heavy_atoms_alone_are_refused(smiles, charges):
    graph, positions = relaxed(smiles)
    topology, kept = stripped(graph, hydrogens(graph.mol), charges=charges)
    with pytest.raises(MoleculeError, match=r"no hydrogens.*AddHs"):
        MolecularGraph.from_topology(topology, positions[kept])


@pytest.mark.parametrize(
    "smiles",
    ["[N-]=[N+]=NCc1ccccc1", "CS(=O)(=O)[N-]c1ncccn1", "NC(N)=[NH2+]", "C=[N+]=[N-]", "C[S-]", "CC[O-]", "[O-]c1ccccc1", "[C-]#[N+]C"],
)
def test_given_charges_are_those_of_the_molecule(smiles):
    graph, positions = relaxed(smiles)
    perceived = MolecularGraph.from_topology(stripped(graph, charges=True)[0], positions)
    assert [a.GetFormalCharge() for a in perceived.mol.GetAtoms()] == [a.GetFormalCharge() for a in graph.mol.GetAtoms()]
    assert perceived.order_key[:2] == graph.order_key[:2]


def test_double_bonds_lie_on_the_shortest_bonds():
    """Cyclooctatetraene with its bonds shifted is the same molecule in another order, which connectivity and charges do not tell."""
    graph, positions = relaxed("C1=CC=CC=CC=C1")
    for order in (list(range(8)), [*range(1, 8), 0]):
        turned = Chem.RenumberAtoms(graph.mol, [*order, *(8 + i for i in order)])
        source = MolecularGraph.from_rdkit(turned)
        perceived = MolecularGraph.from_topology(stripped(source)[0], positions[[*order, *(8 + i for i in order)]])
        assert perceived.order_key[:2] == source.order_key[:2]


def test_strained_alkynes_are_read_and_smaller_ones_are_not():
    graph, positions = relaxed("C1CCCC#CCC1")
    assert MolecularGraph.from_topology(stripped(graph)[0], positions).smiles == graph.smiles
    small, positions = relaxed("C1CCC#CC1")
    with pytest.raises(MoleculeError, match="sp in a ring of 6"):
        MolecularGraph.from_topology(stripped(small)[0], positions)


def test_bonds_too_long_for_their_orders_are_named():
    graph, positions = relaxed("CC")
    drop = [i for k in (0, 1) for i in [n.GetIdx() for n in graph.mol.GetAtomWithIdx(k).GetNeighbors() if n.GetAtomicNum() == 1][:1]]
    topology, kept = stripped(graph, drop)
    with pytest.raises(MoleculeError, match=r"atoms 0 and 1 would be double, and is 1\.5\d A long"):
        MolecularGraph.from_topology(topology, positions[kept])


def test_an_acid_is_no_carboxylate():
    graph, positions = relaxed("CC(=O)O")
    topology, kept = stripped(graph, [len(graph) - 1])
    with pytest.raises(MoleculeError, match="lacks a hydrogen, or its charge of -1 has to be given"):
        MolecularGraph.from_topology(topology, positions[kept])
    anion, positions = relaxed("CC(=O)[O-]")
    assert MolecularGraph.from_topology(stripped(anion)[0], positions).total_charge == -1


def test_permuted_atoms_are_the_same_molecule(druglike):
    rng = np.random.default_rng(5)
    for molecule in druglike[:10]:
        order = rng.permutation(len(molecule.graph))
        source = MolecularGraph.from_rdkit(Chem.RenumberAtoms(molecule.graph.mol, order.tolist()))
        perceived = MolecularGraph.from_topology(stripped(source, charges=True)[0], molecule.positions[0][order])
        assert perceived.order_key[:2] == source.order_key[:2]
