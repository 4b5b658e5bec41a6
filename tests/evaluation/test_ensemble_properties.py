import math

import pytest
from openmm import unit

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.ensemble_properties import EnsembleProperties, ensemble_properties


def test_by_hand():
    found = ensemble_properties([1.0, 3.0, 8.0], [900.0, math.nan, 1000.0])
    assert found == EnsembleProperties(4.0, 1.0, 950.0, 900.0, 1000.0)
    weighted = ensemble_properties([1.0, 3.0, 8.0], [900.0, 800.0, 1000.0], weights=[3, 0, 1])
    assert weighted == EnsembleProperties(2.75, 1.0, 925.0, 900.0, 1000.0)


def test_errors_are_absolute():
    errors = ensemble_properties([1.0], [2.0]).errors(ensemble_properties([4.0, 6.0], [1.0, 5.0]))
    assert errors == EnsembleProperties(4.0, 3.0, 1.0, 1.0, 3.0)
    assert ensemble_properties([1.0]).errors(errors).mean_gap is None


def test_units_and_gaps_that_are_not_there():
    assert ensemble_properties([1.0] * unit.kilocalorie_per_mole).mean_energy == pytest.approx(4.184)
    assert ensemble_properties([1.0], [math.nan]).mean_gap is None


def test_bad_calls():
    with pytest.raises(ConfGFError, match="finite energy"):
        ensemble_properties([math.inf])
    with pytest.raises(ConfGFError, match="gaps of shape"):
        ensemble_properties([1.0, 2.0], [1.0])
    with pytest.raises(ConfGFError, match="no samples"):
        ensemble_properties([])
