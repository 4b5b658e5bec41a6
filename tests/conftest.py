from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """Folder of reference data beside the checkout; tests that need it are skipped where it is missing."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}")
    return folder


@pytest.fixture(scope="session")
def alanine():
    """L-alanine, neutral: one stereocentre, 13 atoms."""
    from openmm_confgf.molecule import MolecularGraph

    return MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name="alanine")


@pytest.fixture(scope="session")
def alanine_ensemble(alanine):
    """Eight ETKDG conformations of alanine; sample 2 is NaN and sample 5 has no energy, the others have."""
    import numpy as np

    from openmm_confgf.generators.etkdg import embed_etkdg

    ensemble = embed_etkdg(alanine, 8, 4)
    positions = ensemble.positions.copy()
    positions[2] = np.nan
    energy = np.array([5.0, 1.0, 0.0, 3.0, 2.0, np.nan, 4.0, -6.5])
    return ensemble.replace(positions=positions, energy=energy, log_q=np.arange(8.0))
