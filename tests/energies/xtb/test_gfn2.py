import subprocess
import sys

import numpy as np
import pytest
from openmm import unit

from openmm_confgf.energies import GFN2Energy
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status
from openmm_confgf.units import KJ_PER_EV, KJ_PER_HARTREE, NM_PER_BOHR

pytest.importorskip("tblite.interface", reason="tblite is not installed")


@pytest.fixture(scope="module")
def energy(alanine):
    return GFN2Energy(alanine)


@pytest.fixture(scope="module")
def conformations(alanine):
    return embed_etkdg(alanine, 3, 1).positions


def test_silane_has_the_energy_that_tblite_documents():
    # the example in the documentation of tblite.interface.Result; its hydrogens come in another order, but are alike
    silane, x = MolecularGraph.from_smiles("[SiH4]"), 1.617683897558
    positions = np.array([[0, 0, 0], [x, x, -x], [-x, -x, -x], [x, -x, x], [-x, x, x]]) * NM_PER_BOHR
    found = GFN2Energy(silane).evaluate(positions)
    assert found.energy[0] / KJ_PER_HARTREE == pytest.approx(-3.763233750684, abs=1e-6)


def test_forces_are_the_negative_gradient(energy, conformations):
    step, atoms = 1e-4, [0, 3, 5, 12]
    forces = energy.evaluate(conformations[:1], forces=True).forces[0]
    for atom in atoms:
        for axis in range(3):
            moved = np.repeat(conformations[:1], 2, axis=0)
            moved[:, atom, axis] += [step, -step]
            plus, minus = energy.evaluate(moved).energy
            assert forces[atom, axis] == pytest.approx(-(plus - minus) / (2 * step), abs=0.2 + 1e-3 * abs(forces).max())
    assert abs(forces).max() > 100
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-3)


def test_the_charge_is_the_molecules():
    from tblite.interface import Calculator

    graph = MolecularGraph.from_smiles("CC(=O)[O-]")
    positions = embed_etkdg(graph, 1, 1).positions
    energies = {}
    for charge in (-1.0, 1.0):
        calculator = Calculator("GFN2-xTB", graph.numbers, positions[0] / NM_PER_BOHR, charge=charge)
        energies[charge] = calculator.singlepoint().get("energy") * KJ_PER_HARTREE
    assert GFN2Energy(graph).evaluate(positions).energy[0] == pytest.approx(energies[-1.0], abs=1e-3)
    assert abs(energies[-1.0] - energies[1.0]) > 100


def test_bad_samples_never_affect_the_others(energy, conformations):
    bad = conformations[[0, 1, 2, 0, 1]].copy()
    bad[1, 0, 0] = np.nan
    bad[2, 4] = bad[2, 0]
    bad[3, 0, 0] = 1e6
    mixed, clean = energy.evaluate(bad, forces=True), energy.evaluate(conformations[:2], forces=True)
    assert mixed.status.tolist() == [Status.OK, Status.NON_FINITE, Status.FAILED, Status.NON_FINITE, Status.OK]
    # tblite's threads add up in an order of their own
    np.testing.assert_allclose(mixed.energy[[0, 4]], clean.energy, rtol=1e-12)
    np.testing.assert_allclose(mixed.forces[[0, 4]], clean.forces, rtol=1e-9, atol=1e-9)
    assert np.isposinf(mixed.energy[1:4]).all() and np.isnan(mixed.forces[1:4]).all()


def test_shapes_and_units(energy, conformations):
    assert energy.evaluate(conformations[0]).energy.shape == (1,) and energy.evaluate(conformations[0]).forces is None
    angstrom = energy.evaluate(conformations * 10 * unit.angstrom)
    np.testing.assert_allclose(angstrom.energy, energy.evaluate(conformations).energy, atol=1e-6)
    with pytest.raises(ValueError, match="12 atoms, but 'alanine' has 13 atoms; give .B, 13, 3."):
        energy.evaluate(conformations[:, 1:])


def test_elements_beyond_radon_are_refused():
    with pytest.raises(ForceFieldError, match="element 92"):
        GFN2Energy(MolecularGraph.from_smiles("F[U](F)(F)(F)(F)F"))


def test_without_tblite_one_sentence_names_the_cure():
    code = """
import sys
sys.modules["tblite"] = None
from openmm_confgf.energies import GFN2Energy, minimize_gfn2
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.molecules.graph import MolecularGraph
graph = MolecularGraph.from_smiles("C")
for call in (lambda: GFN2Energy(graph), lambda: minimize_gfn2(graph, [[0.0, 0, 0]] * 5, "tblite")):
    try:
        call()
    except ForceFieldError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    first, second = done.stdout.splitlines()
    assert first == second and "openmm_confgf[reference]" in first and "tblite-python" in first, done.stderr


def test_the_gap_of_water_is_the_documented_one():
    """14.3968 eV in the documentation of xtb (xtb-docs.readthedocs.io, "Properties"), at its own minimum."""
    from openmm_confgf.energies import minimize_gfn2

    graph = MolecularGraph.from_smiles("O")
    start = np.array([[0, 0, -0.03893611], [0.07629844, 0, 0.01946806], [-0.07629844, 0, 0.01946806]])
    water = minimize_gfn2(graph, start, "tblite").positions
    assert GFN2Energy(graph).gaps(water)[0] / KJ_PER_EV == pytest.approx(14.3968, abs=0.01)


def test_a_bad_conformation_has_no_gap(energy, conformations):
    positions = conformations.copy()
    positions[1] = np.nan
    positions[2, 1] = positions[2, 0]
    found = energy.gaps(positions)
    assert np.isfinite(found).tolist() == [True, False, False] and found[0] == pytest.approx(energy.gaps(conformations[0])[0], rel=1e-6)
