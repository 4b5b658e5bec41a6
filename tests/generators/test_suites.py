"""The public suites on the generators of the package."""

import pytest

from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies import system_source
from openmm_confgf.generators import (
    ConfGFGenerator,
    ETKDGGenerator,
    HarmonicGenerator,
    PublishedConfGFGenerator,
    RelaxedGenerator,
)
from openmm_confgf.generators.md import MDGenerator
from openmm_confgf.models.confgf import NoiseLadder
from openmm_confgf.molecules.bond_windows import EMBEDDED
from openmm_confgf.testing import DensityGeneratorSuite, GeneratorSuite

LADDER = NoiseLadder(first=1.0, last=0.1, levels=3, epsilon=2e-4, steps_per_level=4)
IMPOSSIBLE = "O[C@@H]1C[C@@H]2C[C@@H]1C=C2"  # two of its centres exclude each other


class TestETKDG(GeneratorSuite):
    refused = IMPOSSIBLE
    temperature = EMBEDDED
    atol = 0.0

    @pytest.fixture(scope="class")
    def generator(self):
        return ETKDGGenerator()


class TestRelaxedETKDG(GeneratorSuite):
    refused = "CB(O)O"  # MMFF94s has no parameters for boron

    @pytest.fixture(scope="class")
    def generator(self):
        return RelaxedGenerator(ETKDGGenerator(), "mmff94s")


class TestConfGF(GeneratorSuite):
    molecules = ("CO", "O")  # an untrained network is asked again and again for larger ones
    refused = "C[Si](C)(C)C"
    temperature = 0.0

    @pytest.fixture(scope="class")
    def generator(self, untrained_field):
        return ConfGFGenerator(untrained_field, sigma_max=0.05, flow_calls=1, mode_seeking_sigmas=(0.02,))


class TestPublishedConfGF(GeneratorSuite):
    refused = "C[Si](C)(C)C"

    @pytest.fixture(scope="class")
    def generator(self, untrained_confgf):
        return PublishedConfGFGenerator(untrained_confgf, LADDER)


class TestMD(GeneratorSuite):
    molecules = ("CCO", "CO")
    refused = "c1ccccc1"  # the toy force field has no template for it

    @pytest.fixture(scope="class")
    def generator(self, toy_level):
        return MDGenerator(toy_level, MDSettings(replicas=4, equilibration=0.05, frame_interval=0.02, compiled=False))


class TestHarmonic(DensityGeneratorSuite):
    molecules = ("O", "CO", "C1CO1")
    refused = "C#N"  # on a line
    weighed = "CO"

    @pytest.fixture(scope="class")
    def openff(self):
        return system_source("openff-2.2.1")

    @pytest.fixture(scope="class")
    def generator(self, openff):
        return HarmonicGenerator(openff, starts=4)

    @pytest.fixture(scope="class")
    def second(self, openff):
        return HarmonicGenerator(openff, temperature=400, starts=4)
