"""Every implementation of `Energy` passes the suite that a user's own has to pass."""

import importlib.util

import numpy as np
import pytest

from openmm_confgf.energies import BatchedEnergy, ContextEnergy, ContextPool, GFN2Energy, Level, PackedEnergy, SystemBuilder
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.testing import DifferentiableEnergySuite, EnergySuite

needs_tblite = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")


@pytest.fixture(scope="module")
def system(chain):
    """Six atoms in a row with each of Amber's forces, and implicit solvent."""
    return chain()


@pytest.fixture(scope="module")
def conformations(chain_frames):
    return chain_frames(5)


class TestContextEnergy(EnergySuite):
    @pytest.fixture(scope="class")
    def energy(self, system):
        with ContextEnergy(system, "Reference") as energy:
            yield energy


class TestContextEnergyInSinglePrecision(EnergySuite):
    energy_tolerance, force_tolerance, difference, gradient_tolerance = 2e-3, 2e-5, 1e-4, 1e-2

    @pytest.fixture(scope="class")
    def energy(self, system):
        with ContextEnergy(system, "CPU") as energy:
            yield energy


class TestContextPool(EnergySuite):
    @pytest.fixture(scope="class")
    def energy(self, system):
        with ContextPool(system, "Reference", workers=2) as energy:
            yield energy


class TestBatchedEnergy(DifferentiableEnergySuite):
    @pytest.fixture(scope="class")
    def energy(self, system):
        return BatchedEnergy(system, device="cpu")


class OneOfThree:
    """The energy of one molecule that a `PackedEnergy` evaluates between two others of other sizes and numbers of conformations."""

    def __init__(self, system, others, frames):
        self.packed = PackedEnergy([others[0], system, others[1]], device="cpu")
        self.frames = frames

    def evaluate(self, positions, forces=False):
        return self.packed.evaluate([self.frames[0], positions, self.frames[1]], forces)[1]

    def energy(self, positions):
        frames = [positions.new_tensor(frame) for frame in self.frames]
        return self.packed.energy([frames[0], positions, frames[1]])[1]


class TestPackedEnergy(DifferentiableEnergySuite):
    @pytest.fixture(scope="class")
    def energy(self, system, chain, chain_frames):
        frames = chain_frames(2, 4), chain_frames(9, 8)
        frames[1][3] = np.nan
        return OneOfThree(system, (chain(4), chain(8, solvent=False)), frames)


class OnLevel(EnergySuite):
    """Of a molecule with a level's own energies."""

    level: str
    smiles, count = "CCO", 3

    @pytest.fixture(scope="class")
    def graph(self):
        return MolecularGraph.from_smiles(self.smiles)

    @pytest.fixture(scope="class")
    def energy(self, graph):
        return Level(self.level).energy(graph)

    @pytest.fixture(scope="class")
    def conformations(self, graph):
        return embed_etkdg(graph, self.count, 1).positions


class TestMMFF94s(OnLevel):
    level = "mmff94s"


class TestUFF(OnLevel):
    level, smiles = "mmff", "CB(O)O"


class TestForceField(OnLevel):
    @pytest.fixture(scope="class")
    def energy(self, graph, toy_level):
        with Level(SystemBuilder(toy_level), platform="Reference").energy(graph) as energy:
            yield energy


@needs_tblite
class TestGFN2(OnLevel):
    # a density is self-consistent to within 1e-6 Hartree, and not more exact
    level, smiles, count = "gfn2", "CO", 2
    energy_tolerance, force_tolerance, difference, gradient_tolerance = 1e-3, 1e-5, 1e-4, 1e-3

    def test_the_level_gives_it(self, energy):
        assert isinstance(energy, GFN2Energy)
