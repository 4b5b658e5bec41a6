import numpy as np
import pytest

from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.features import featurise
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.data import TrainingMolecule

SMILES = ["CCO", "CC(=O)N", "C[C@H](N)C(=O)O", "C1CC1O", "CCCN", "OCC#N", "CC=C", "NCCO"]


def write_archive(path, ensembles):
    """Ensembles of molecules that are named by their SMILES as an archive of reference conformers."""
    np.savez(
        path,
        smiles=np.array([e.graph.name for e in ensembles]),
        n_atoms=np.array([len(e.graph) for e in ensembles]),
        n_conf=np.array([len(e) for e in ensembles]),
        numbers=np.concatenate([e.graph.numbers for e in ensembles]),
        coords=np.concatenate([e.positions.reshape(-1, 3) * 10 for e in ensembles]).astype(np.float32),
    )
    return path


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Reference conformers of eight small molecules in the archive layout."""
    return write_archive(tmp_path_factory.mktemp("data") / "small.npz", [ETKDGGenerator().sample(s, 2) for s in SMILES])


@pytest.fixture(scope="session")
def molecules():
    """Six molecules with three ETKDG conformers each."""
    found = []
    for smiles in ("CCO", "CC(C)(N)C(=O)O", "C[C@H](F)O", "CCCCCC", "C=O", "c1ccccc1"):
        graph = MolecularGraph.from_smiles(smiles)
        x = (embed_etkdg(graph, 3, 0).positions * 10).astype(np.float32)
        found.append(TrainingMolecule(featurise(graph), x - x.mean(1, keepdims=True), np.zeros(3, np.float32), graph.smiles))
    return found
