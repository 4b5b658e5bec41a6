"""Whatever way a molecule comes in, it is the same molecule, or it is refused."""

import io

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import MoleculeError
from openmm_confgf.files import read_ensembles, read_molecules, write_ensembles
from openmm_confgf.molecules.graph import MolecularGraph

# stereo, radicals, isotopes, charges, dative bonds, fragments, extensions
TRICKY = [
    "C[C@H](N)C(=O)O",
    "C[C@@H]1CC[C@H](O)CC1",
    "F/C(Cl)=C(\\Br)I",
    "C/C=C/C=C\\C",
    "[H]/N=C(\\C)NC",
    "C[S@](=O)c1ccccc1",
    "C[S@+](CC)CCC",
    "C[P@](=O)(CC)c1ccccc1",
    "C[N@+](CC)(CCC)CCCC",
    "C[Si@](F)(Cl)Br",
    "O[C@H]1C[C@@H]2CC[C@H]1C2",
    "[2H]C([2H])([2H])C([2H])([2H])O",
    "[13CH3]C(=O)O",
    "[2H][C@](C)(O)F",
    "C[N+](C)(C)CC(=O)[O-]",
    "[N-]=[N+]=NCc1ccccc1",
    "CC(=O)[N-]S(=O)(=O)c1ccccc1",
    "C[N+](=O)[O-]",
    "[C-]#[O+]",
    "C1=CC=CC=CC=C1",
    "c1ccc2cccc2cc1",
    "[NH3]->[Pt](Cl)(Cl)<-[NH3]",
    "C[CH2]",
    "C[N]C",
    "[O][O]",
    "CC |^1:0|",
    "CC[C@H](F)Cl |o1:2|",
    "CCO |$first;;last$|",
    "CC.Cl",
    "[Na+].[Cl-]",
    "C*",
]
# what a MOL block does not hold
BEYOND_MOL = ["C[Pt@SP1](F)(Cl)Br", "CC=[C@]=CC", "Cc1cccc(Cl)c1-c1c(C)cccc1Br |wD:8.15|"]


def outcome(entries):
    """The molecule in its order, or that it is refused."""
    (entry,) = entries
    if entry.graph is None:
        assert isinstance(entry.error, MoleculeError)
        return "refused"
    return entry.graph.order_key


def from_python(smiles):
    try:
        return MolecularGraph.from_smiles(smiles).order_key
    except MoleculeError:
        return "refused"


def mol_block(smiles, hydrogens):
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    rdDepictor.Compute2DCoords(mol)
    return Chem.MolToMolBlock(mol)


@pytest.mark.parametrize("smiles", TRICKY + BEYOND_MOL)
def test_as_text(smiles, tmp_path, monkeypatch):
    wanted = from_python(smiles)
    (tmp_path / "a.smi").write_text(f"{smiles} its name\n")
    (tmp_path / "a.csv").write_text(f'Name,SMILES\nits name,"{smiles}"\n')
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{smiles}\tits name\r\n".encode())))
    for source in (smiles, f"{smiles} its name", tmp_path / "a.smi", tmp_path / "a.csv", "-"):
        entries = read_molecules(source)
        assert outcome(entries) == wanted, source
        assert entries[0].name == (smiles if source == smiles else "its name")


@pytest.mark.parametrize("smiles", TRICKY)
def test_as_a_drawing(smiles, tmp_path):
    wanted = from_python(smiles)
    for hydrogens in (True, False):
        path = tmp_path / f"{hydrogens}.sdf"
        path.write_text(mol_block(smiles, hydrogens) + "$$$$\n")
        assert outcome(read_molecules(path)) == wanted, hydrogens


@pytest.mark.parametrize("smiles", [s for s in TRICKY if from_python(s) != "refused"])
def test_as_hdf5(smiles, tmp_path):
    graph = MolecularGraph.from_smiles(smiles)
    (path,) = write_ensembles(Ensemble(graph, np.zeros((0, len(graph), 3)), Provenance("test", "0")), tmp_path / "a.h5")
    assert read_ensembles(path)[0].graph.same_as(graph)
    assert outcome(read_molecules(path)) == graph.order_key
