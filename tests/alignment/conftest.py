"""A molecule with a few minima, and a model of it that can be aligned."""

import pytest

from openmm_confgf.energies import level_of
from openmm_confgf.generators import create_generator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import greedy_distinct
from openmm_confgf.molecules.superposition import superposed
from tests.alignment.mixture import MixtureModel


@pytest.fixture(scope="session")
def butanol():
    return MolecularGraph.from_smiles("CCCCO")


@pytest.fixture(scope="session")
def butanol_minima(butanol):
    drawn = create_generator("etkdg").sample(butanol, 40, seed=0)
    found = level_of("mmff94s").minimize(butanol, drawn.positions)
    kept = greedy_distinct(butanol, found.positions, 0.05)[:4]
    centred = found.positions[kept] - found.positions[kept].mean(1, keepdims=True)
    return superposed(centred, centred[0]), found.energy[kept]


@pytest.fixture
def mixture(butanol_minima):
    return MixtureModel(butanol_minima[0])
