import math

import numpy as np
import pytest
from openmm import unit

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.energy_distance import energy_w2
from openmm_confgf.evaluation.sample_weights import boltzmann_weights
from openmm_confgf.units import KJ_PER_KCAL, kT


def test_one_that_samples_uniformly_against_boltzmann():
    """Two minima at 0 and kT ln 3: half of the samples is in the upper one, where a quarter should be."""
    gap = kT(300) * math.log(3)
    expected = math.sqrt(0.25) * gap
    assert energy_w2([0, gap], [0, gap], reference_weights=boltzmann_weights([0, gap], 300)) == pytest.approx(expected)


def test_units_and_a_shift():
    energies = np.array([1.0, 5.0, 2.0])
    assert energy_w2(energies * unit.kilocalorie_per_mole, energies * KJ_PER_KCAL) == pytest.approx(0, abs=1e-9)
    assert energy_w2(energies - 7.5, energies) == pytest.approx(7.5)


def test_a_sample_without_energy_is_refused():
    with pytest.raises(ConfGFError, match="leave out"):
        energy_w2([0.0, np.inf], [0.0])
