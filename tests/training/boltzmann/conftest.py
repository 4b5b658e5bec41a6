import numpy as np
import pytest
import torch

from openmm_confgf.energies import system_source
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.generators.harmonic import HarmonicGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="session")
def methanol():
    return PreparedMolecule.of(MolecularGraph.from_smiles("CO"), system_source("openff-2.2.1"), 300.0)


@pytest.fixture(scope="session")
def methanol_ensemble(methanol):
    """600 samples that are nearly of equilibrium."""
    return HarmonicGenerator("openff-2.2.1", 300.0).sample(methanol.graph, 600, seed=0, device="cpu")


@pytest.fixture
def small_network():
    """Makes a network that learns within seconds."""

    def make(seed=0):
        torch.manual_seed(seed)
        return AutoregressiveDensity(
            AutoregressiveConfig(width=24, static_width=16, static_layers=1, pair_width=8, blocks=1, lengths=2, turns=3, bins=24)
        )

    return make


@pytest.fixture(scope="session")
def mirrored():
    """Conformations as a mirror shows them."""
    return lambda positions: np.asarray(positions) * [1, 1, -1]
