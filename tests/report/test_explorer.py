import base64
import json

import numpy as np
import pytest

from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.report.explorer import MOST_ATOMS, bonds_with_orders, explored, known, thinning_text
from openmm_confgf.reweighting import reweight


def column(shown, key):
    return next(one for one in shown["columns"] if one["key"] == key)


def coordinates(shown):
    flat = np.frombuffer(base64.b64decode(shown["coordinates"]), "<f4")
    return flat.reshape(shown["count"], len(shown["elements"]), 3)


def test_conformers_come_by_energy_and_without_bad_ones(butanol):
    shown = explored(butanol)
    order = np.argsort(butanol.energy)
    wanted = [int(k) + 1 for k in order if butanol.ok[k]]
    assert column(shown, "number")["values"] == wanted and 2 not in wanted and shown["count"] == 11
    energies = column(shown, "energy")
    assert energies["values"][0] == 0 and energies["values"] == sorted(energies["values"]) and energies["unit"] == "kJ/mol"
    assert shown["colour"] == "energy" and shown["axes"] == ["torsion0", "energy"] and shown["thinned"] == ""
    json.dumps(shown, allow_nan=False)


def test_coordinates_are_angstrom_superposed_on_the_first(butanol):
    shown = explored(butanol)
    found, first = coordinates(shown), column(shown, "number")["values"][0] - 1
    heavy = butanol.graph.heavy_atoms
    np.testing.assert_allclose(found[0], 10 * butanol.positions[first], atol=1e-5)
    np.testing.assert_allclose(found[1:, heavy].mean(1), np.broadcast_to(found[0, heavy].mean(0), (10, 3)), atol=1e-4)
    distances = np.linalg.norm(found[:, 0] - found[:, 1], axis=1)
    assert ((distances > 1.4) & (distances < 1.6)).all()


def test_samples_come_by_weight(peroxide_samples):
    found = reweight(peroxide_samples)
    shown = explored(peroxide_samples, found.log_weights, most=50)
    weights = column(shown, "weight")["values"]
    assert weights == sorted(weights, reverse=True) and shown["count"] == 50 and shown["colour"] == "weight"
    assert column(shown, "number")["values"][0] == int(np.argmax(found.log_weights)) + 1
    assert "50 of 4,000 usable conformations" in shown["thinned"] and "the heaviest included" in shown["thinned"]


def test_large_molecules_are_thinned_for_the_browser(peroxide_samples, monkeypatch):
    monkeypatch.setattr("openmm_confgf.report.explorer.MOST_ATOMS", 40)
    shown = explored(peroxide_samples)
    assert shown["count"] == 10 and "the lowest included" in shown["thinned"] and MOST_ATOMS == 100_000
    assert thinning_text(9, 3, "number").endswith("evenly spaced in the order of the file.")


def test_nothing_usable_leaves_an_empty_viewer(butanol):
    shown = explored(butanol[1])
    assert shown["count"] == 0 and shown["coordinates"] == "" and column(shown, "number")["values"] == []


def test_a_rigid_molecule_and_one_without_energies_have_axes(butanol):
    bare = explored(butanol.replace(energy=None))
    assert bare["axes"] == ["torsion0", "torsion1"] and bare["colour"] == "number"


@pytest.mark.parametrize(("smiles", "orders"), [("c1ccccc1", [1, 1, 1, 2, 2, 2]), ("CC#N", [1, 3]), ("C[N+](=O)[O-]", [1, 1, 2])])
def test_bonds_have_whole_orders(smiles, orders):
    graph = MolecularGraph.from_smiles(smiles)
    heavy = set(graph.heavy_atoms.tolist())
    assert sorted(order for a, b, order in bonds_with_orders(graph) if {a, b} <= heavy) == orders


def test_numbers_that_json_lacks_become_nothing():
    assert known(np.array([1.23456789, np.nan, -np.inf])) == [1.23457, None, None]
