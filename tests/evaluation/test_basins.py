import math

import numpy as np
import pytest

from openmm_confgf.energies import Level
from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.basins import OUTSIDE, Basins, basin_populations
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import distinct_minima
from openmm_confgf.units import kT


@pytest.fixture(scope="module")
def butane():
    """Anti and both gauche minima of butane in MMFF94s: positions, energies."""
    graph = MolecularGraph.from_smiles("CCCC")
    found = Level("mmff94s").minimize(graph, embed_etkdg(graph, 20, 1).positions)
    positions, energy = found.positions, found.energy
    kept = distinct_minima(graph, positions, energy, 0.01, 0.1)
    return graph, positions[kept], energy[kept]


def test_the_populations_of_butane(butane):
    """Gauche is 0.78 kcal/mol above anti in MMFF94 and there twice: two thirds of butane are anti at 300 K, by hand."""
    graph, minima, energy = butane
    basins = Basins.of(graph, minima, energy, 300)
    assert len(basins) == 3 and basins.basin.tolist() == [0, 1, 2]
    gauche = math.exp(-(energy[1] - energy[0]) / kT(300))
    np.testing.assert_allclose(basins.populations, np.array([1, gauche, gauche]) / (1 + 2 * gauche), rtol=1e-3)
    assert energy[1] - energy[0] == pytest.approx(3.27, abs=0.05)
    # the zero of energy does not matter
    np.testing.assert_allclose(Basins.of(graph, minima, energy + 1e3, 300).populations, basins.populations)


def test_samples_belong_to_the_nearest_minimum(butane):
    graph, minima, energy = butane
    basins = Basins.of(graph, minima, energy, 300)
    rng = np.random.default_rng(0)
    order = np.array([2, 0, 1, 1, 0])
    rattled = minima[order] + rng.normal(0, 0.005, (5, 14, 3))
    np.testing.assert_array_equal(basins.assign(rattled), order)
    # end to end it is the same molecule, and the mirror image of one gauche conformation is the other
    np.testing.assert_array_equal(basins.assign(minima[:, _turned(graph)]), [0, 1, 2])
    np.testing.assert_array_equal(basins.assign(minima * [-1, 1, 1]), [0, 2, 1])


def _turned(graph):
    """The automorphism of butane that exchanges its ends."""
    return next(list(match) for match in graph.mol.GetSubstructMatches(graph.mol, uniquify=False) if match[0] == 3)


def test_what_is_far_from_all_minima_is_outside(butane):
    graph, minima, energy = butane
    basins = Basins.of(graph, minima, energy, 300)
    assert basins.assign(1.5 * minima).tolist() == [OUTSIDE] * 3
    assert basins.assign(1.5 * minima, within=1.0).tolist() != [OUTSIDE] * 3
    assert basins.assign(minima[:0]).shape == (0,)


def test_minima_that_heavy_atoms_do_not_tell_apart_are_one_basin():
    graph = MolecularGraph.from_smiles("CCO")
    found = Level("mmff94s").minimize(graph, embed_etkdg(graph, 10, 1).positions)
    kept = distinct_minima(graph, found.positions, found.energy, 0.005, 0.1)
    assert len(kept) >= 2
    basins = Basins.of(graph, found.positions[kept], found.energy[kept], 300)
    assert len(basins) == 1 and basins.populations.tolist() == pytest.approx([1.0])


def test_shares_by_hand():
    found = basin_populations([0, 1, 1, OUTSIDE], [0.5, 0.5])
    np.testing.assert_allclose(found.found, [0.25, 0.5])
    # p = (1/4 outside, 1/4, 1/2), q = (0, 1/2, 1/2), m = (1/8, 3/8, 1/2)
    expected = 0.5 * (0.25 * math.log(2) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 3))
    assert found.js == pytest.approx(expected) and found.total_variation == pytest.approx(0.25) and found.outside == 0.25
    weighted = basin_populations([0, 1, 1, OUTSIDE], [0.5, 0.5], weights=[2, 1, 1, 0])
    assert weighted.js == 0 and weighted.outside == 0 and weighted.total_variation == 0


def test_none_in_any_basin_is_the_farthest():
    found = basin_populations([OUTSIDE] * 3, [0.2, 0.8])
    assert found.js == pytest.approx(math.log(2)) and found.total_variation == pytest.approx(1) and found.outside == 1


def test_bad_calls(butane):
    graph, minima, energy = butane
    for positions, energies in ((minima[:0], energy[:0]), (minima, energy[:1]), (minima, np.full(3, np.inf))):
        with pytest.raises(ConfGFError, match="a finite one of each"):
            Basins.of(graph, positions, energies, 300)
    with pytest.raises(ValueError, match="not finite"):
        Basins.of(graph, minima, energy, 300).assign(np.full((1, 14, 3), np.nan))
    for within in (-0.1, math.nan):
        with pytest.raises(ConfGFError, match="cannot be within"):
            Basins.of(graph, minima, energy, 300).assign(minima, within)
    for labels in ([0, 2], [-2]):
        with pytest.raises(ConfGFError, match="numbered from 0 to 1"):
            basin_populations(labels, [0.5, 0.5])
    with pytest.raises(ConfGFError, match="no samples"):
        basin_populations([], [1.0])
