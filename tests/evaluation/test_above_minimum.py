import numpy as np
import pytest

from openmm_confgf.energies import ContextEnergy, GFN2Energy, MMFFEnergy, create_system
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.evaluation.above_minimum import EnergyAboveMinimum
from openmm_confgf.files.archive import load_archive
from tests.files.test_archive import make_arrays


@pytest.fixture
def references(tmp_path):
    np.savez(tmp_path / "a.npz", **make_arrays(("CCCO", "C[C@H](O)CF"), (3, 2)))
    return load_archive(tmp_path / "a.npz")


@pytest.mark.parametrize("level", ["gfn2", "openff-2.2.1", "mmff94s"])
def test_energies_are_above_the_lowest_reference(references, level):
    energies, own = EnergyAboveMinimum(level, references), {"gfn2": GFN2Energy, "mmff94s": MMFFEnergy}
    for index, reference in enumerate(references):
        evaluation = own[level](reference.graph) if level in own else ContextEnergy(create_system(reference.graph, level))
        wanted = evaluation.evaluate(reference.positions).energy
        for _ in range(2):  # the second time, the lowest is known
            np.testing.assert_allclose(energies(index, reference.positions), wanted - wanted.min(), rtol=0, atol=1e-2)
            assert energies(index, reference.positions[-1:]).tolist() == pytest.approx([wanted[-1] - wanted.min()], abs=1e-2)


def test_references_of_the_archive_are_minima_of_gfn2(shared_data):
    references = load_archive(shared_data / "qm9_xtb_test.npz")[:2]
    energies = EnergyAboveMinimum("gfn2", references)
    for index, reference in enumerate(references):
        # what the archive says they are above the lowest, by another run of GFN2-xTB
        np.testing.assert_allclose(energies(index, reference.positions[:3]), reference.energies[:3], atol=0.3)


def test_a_sample_without_energy_costs_infinity(references):
    frames = references[0].positions.copy()
    frames[1] = 0.0  # all atoms on one point
    found = EnergyAboveMinimum("gfn2", references)(0, frames)
    assert np.isposinf(found[1]) and np.isfinite(found[[0, 2]]).all()


def test_a_molecule_without_any_reference_energy_is_an_error(references):
    references[0].positions[:] = 0.0
    energies = EnergyAboveMinimum("gfn2", references)
    with pytest.raises(ForceFieldError, match="no energy for any reference of 'CCCO'"):
        energies(0, references[1].positions[:, :12])
    assert np.isfinite(energies(1, references[1].positions)).all()


def test_unknown_levels_are_refused_before_work_starts(references):
    with pytest.raises(ForceFieldError, match="nope"):
        EnergyAboveMinimum("nope", references)
