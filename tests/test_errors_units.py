import inspect

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_confgf import errors, units


def test_every_error_is_of_the_family_and_has_an_exit_code():
    found = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, Exception)]
    assert len(found) > 5
    for error in found:
        assert issubclass(error, errors.ConfGFError)
        assert error.exit_code in (1, 2)
        assert error.__doc__
    assert errors.GenerationError.exit_code == 1
    assert errors.MoleculeError.exit_code == 2


def test_constants_are_those_of_the_si():
    # exact by definition since 2019: k_B N_A, 0.1 nm
    assert units.GAS_CONSTANT == pytest.approx(8.31446261815324e-3, rel=1e-7)
    assert units.NM_PER_ANGSTROM == pytest.approx(0.1)


@pytest.mark.parametrize(
    "positions",
    [
        [[0.1, 0.2, 0.3], [1.0, 0.0, 0.0]],
        np.array([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0]]) * unit.angstrom,
        [openmm.Vec3(0.1, 0.2, 0.3), openmm.Vec3(1, 0, 0)] * unit.nanometer,
        [openmm.Vec3(0.1, 0.2, 0.3), openmm.Vec3(1, 0, 0)],
    ],
    ids=["bare", "angstrom", "quantity of Vec3", "Vec3"],
)
def test_positions_of_all_kinds_become_nm(positions):
    array = units.positions_in_nm(positions)
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, [[0.1, 0.2, 0.3], [1, 0, 0]])


@pytest.mark.parametrize("shape", [(3,), (4, 2), (1, 1, 2, 3), (0,)])
def test_positions_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"give \(N, 3\) or \(B, N, 3\)"):
        units.positions_in_nm(np.zeros(shape))


def test_thermal_energy():
    assert units.kT() == pytest.approx(2.494338785)
    assert units.kT(600 * unit.kelvin) == pytest.approx(2 * units.kT(300))
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 0 K"):
            units.kT(temperature)


def test_energies_in_other_units_are_converted():
    assert units.in_md_units(1.0 * unit.kilocalorie_per_mole) == pytest.approx(4.184)
    assert units.in_md_units(7.5) == 7.5
