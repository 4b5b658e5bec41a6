import shutil

import numpy as np
import pytest

from openmm_confgf.energies import GFN2Energy, minimize_gfn2, resolve_optimizer
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status
from openmm_confgf.units import KJ_PER_HARTREE, NM_PER_BOHR

pytest.importorskip("tblite.interface", reason="tblite is not installed")
needs_xtb = pytest.mark.skipif(shutil.which("xtb") is None, reason="the program xtb is not on the PATH")
OPTIMIZERS = [pytest.param("xtb", marks=needs_xtb), "tblite"]


@pytest.fixture(scope="module")
def glycolate():
    return MolecularGraph.from_smiles("OCC(=O)[O-]")


@pytest.fixture(scope="module")
def starts(glycolate):
    return embed_etkdg(glycolate, 3, 1).positions


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_minima_are_minima_and_bad_samples_stay_untouched(glycolate, starts, optimizer):
    bad = starts[[0, 1, 2]].copy()
    bad[1, 0, 0] = np.nan
    bad[2, 1] = bad[2, 0]
    relaxed = minimize_gfn2(glycolate, bad, optimizer)
    assert relaxed.status.tolist() == [Status.OK, Status.NON_FINITE, Status.FAILED]
    np.testing.assert_array_equal(relaxed.positions[1:], bad[1:])
    assert np.isposinf(relaxed.energy[1:]).all()
    before, after = (GFN2Energy(glycolate).evaluate(x[:1], forces=True) for x in (starts, relaxed.positions))
    # the program's energy and tblite's are independent implementations of one method
    assert relaxed.energy[0] == pytest.approx(after.energy[0], abs=1e-3)
    assert after.energy[0] < before.energy[0] - 1
    assert abs(after.forces).max() < 1e-3 * KJ_PER_HARTREE / NM_PER_BOHR < abs(before.forces).max()


@needs_xtb
def test_both_optimizers_find_the_same_minimum(glycolate, starts):
    xtb, tblite = (minimize_gfn2(glycolate, starts[:1], name) for name in ("xtb", "tblite"))
    assert xtb.energy[0] == pytest.approx(tblite.energy[0], abs=0.2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_iteration_limit_is_told(glycolate, starts, optimizer):
    relaxed = minimize_gfn2(glycolate, starts[0], optimizer, max_iterations=2)
    assert relaxed.status.tolist() == [Status.NOT_CONVERGED] and np.isfinite(relaxed.energy).all()


def test_bad_calls(glycolate, starts, monkeypatch):
    with pytest.raises(ValueError, match="8 atoms|7 atoms"):
        minimize_gfn2(glycolate, starts[:, 1:])
    with pytest.raises(ValueError, match="positive"):
        minimize_gfn2(glycolate, starts, max_iterations=0)
    with pytest.raises(ForceFieldError, match="take auto, xtb or tblite"):
        minimize_gfn2(glycolate, starts, "orca")
    monkeypatch.setenv("PATH", "")
    assert resolve_optimizer() == "tblite"
    with pytest.raises(ForceFieldError, match="no program xtb"):
        resolve_optimizer("xtb")
