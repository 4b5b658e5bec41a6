import numpy as np
import pytest

from openmm_confgf.ensemble import Target
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

# every kind of stereo, specified and open, charges, aromatic rings
SMILES = [
    "C[C@H](N)C(=O)O",
    "CC(F)(Cl)Br",
    "C/C=C/CO",
    "CC=CN",
    "[H]/N=C(\\C)NC",
    "C[C@H]1CC[C@@H](C)CC1",
    "C[N+](C)(C)CC(=O)[O-]",
    "c1cc[nH]c1",
    "C[S@](=O)c1ccccc1",
    "OP(=O)([O-])OC",
]


@pytest.fixture(scope="session")
def ensembles(alanine_ensemble):
    made = [alanine_ensemble]
    for seed, smiles in enumerate(SMILES):
        ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles, name=f"molecule {seed}"), 5, seed)
        status = ensemble.status.copy()
        status[1] = Status.CLASH
        target = Target("openff-2.2.1", f"{seed:064x}", 300 + seed) if seed % 3 else None
        diagnostics = {"r_hat_energy": 1 / 3, "repaired": seed, "ways": {"etkdg": 5}} if seed % 2 else {}
        made.append(ensemble.replace(status=status, energy=np.linspace(1, 2, 5) / 3, target=target, diagnostics=diagnostics))
    return made


@pytest.fixture(scope="session")
def same_molecule():
    """Whether two graphs are one molecule in one atom order, asked independently of `MolecularGraph.same_as`."""
    return _same_molecule


def _same_molecule(a, b):
    return (
        a.smiles == b.smiles
        and a.numbers.tolist() == b.numbers.tolist()
        and a.bonds.tolist() == b.bonds.tolist()
        and [x.GetFormalCharge() for x in a.mol.GetAtoms()] == [x.GetFormalCharge() for x in b.mol.GetAtoms()]
        and {tuple(r) for r in a.stereocentres.tolist()} == {tuple(r) for r in b.stereocentres.tolist()}
        and {tuple(r) for r in a.stereobonds.tolist()} == {tuple(r) for r in b.stereobonds.tolist()}
    )
