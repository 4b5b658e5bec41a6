import copy
import dataclasses
import pickle

import numpy as np
import pytest
from openmm import unit
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from openmm_confgf.ensemble import Ensemble, Provenance, Target
from openmm_confgf.errors import ConfGFError, MoleculeError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


def test_rows_without_a_finite_energy_keep_their_place_and_cost_infinity(alanine_ensemble):
    ensemble = alanine_ensemble
    assert len(ensemble) == 8
    assert ensemble.status.tolist() == [0, 0, Status.NON_FINITE, 0, 0, Status.NON_FINITE, 0, 0]
    assert ensemble.energy.tolist() == [5, 1, np.inf, 3, 2, np.inf, 4, -6.5]
    assert ensemble.ok.sum() == 6
    assert ensemble.counts() == {"OK": 6, "NON_FINITE": 2}
    assert ensemble.summary() == "alanine: 8 conformations, 6 OK, 2 NON_FINITE, energies -6.5 to 5.0 kJ/mol"


@pytest.mark.parametrize("status", [s for s in Status if s != Status.OK])
def test_a_bad_status_keeps_the_energy_and_is_left_out_of_what_reads_it(alanine_ensemble, status):
    marked = np.zeros(8, np.int8)
    marked[[0, 7]] = status
    ensemble = alanine_ensemble.replace(status=marked)
    assert ensemble.energy.tolist() == [5, 1, np.inf, 3, 2, np.inf, 4, -6.5]
    assert ensemble.ranked().energy.tolist() == [1, 2, 3, 4] == sorted(ensemble.deduplicated(1e-6).energy)
    assert "energies 1.0 to 4.0 kJ/mol" in ensemble.summary()
    assert [part.energy.tolist() for part in ensemble.by_stereoisomer().values()] == [[1, 3, 2, 4]]
    assert ensemble.counts()[status.name] >= 1
    assert not ensemble.ok[0] and ensemble.ok[1]


def test_a_status_that_does_not_exist_is_refused(alanine_ensemble):
    with pytest.raises(ValueError, match=r"0 \(OK\)"):
        alanine_ensemble.replace(status=np.full(8, 77))


def test_a_status_that_is_already_bad_is_kept(alanine_ensemble):
    marked = np.full(8, Status.FAILED, np.int8)
    assert alanine_ensemble.replace(status=marked).counts() == {"FAILED": 8}


def test_is_frozen_and_apart_from_what_it_was_made_of(alanine):
    given = {"positions": np.zeros((2, len(alanine), 3)), "status": np.zeros(2, np.int8), "energy": np.zeros(2), "log_q": np.zeros(2)}
    diagnostics = {"repaired": 0}
    ensemble = Ensemble(alanine, provenance=Provenance("test", "0"), diagnostics=diagnostics, **given)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ensemble.status = given["status"]
    diagnostics["repaired"] = 1
    for name, values in given.items():
        values[:] = 1  # what was given is still the caller's
        assert (getattr(ensemble, name) == 0).all()
    assert ensemble.ok.all() and ensemble.diagnostics == {"repaired": 0}


@pytest.mark.parametrize(
    "way", [lambda e: e, lambda e: e[2:], lambda e: e.replace(), copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
@pytest.mark.parametrize("name", ["positions", "status", "energy", "log_q"])
def test_arrays_are_read_only_however_the_ensemble_was_made(alanine_ensemble, way, name):
    values = getattr(way(alanine_ensemble), name)
    np.testing.assert_array_equal(values, getattr(alanine_ensemble, name)[-len(values) :])
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0
    assert not isinstance(values.base, np.ndarray)  # no other way to the same memory


def test_one_frame_and_quantities(alanine):
    frame = np.ones((len(alanine), 3))
    ensemble = Ensemble(alanine, frame * unit.angstrom, Provenance("test", "0"))
    assert ensemble.positions.shape == (1, len(alanine), 3)
    np.testing.assert_allclose(ensemble.positions, 0.1)
    assert len(Ensemble(alanine, np.zeros((0, len(alanine), 3)), Provenance("test", "0"))) == 0


def test_select_follows_the_given_order(alanine_ensemble):
    picked = alanine_ensemble.select([7, 2, 0])
    assert picked.energy.tolist() == [-6.5, np.inf, 5]
    assert picked.status.tolist() == [0, Status.NON_FINITE, 0]
    np.testing.assert_array_equal(picked.positions[2], alanine_ensemble.positions[0])
    assert picked.provenance == alanine_ensemble.provenance
    assert alanine_ensemble.select(alanine_ensemble.ok).energy.tolist() == [5, 1, 3, 2, 4, -6.5]
    assert alanine_ensemble.select(3).energy.tolist() == [3]
    assert len(alanine_ensemble.select([])) == 0


def test_ranked_is_by_energy_and_drops_the_bad(alanine_ensemble):
    assert alanine_ensemble.ranked().energy.tolist() == [-6.5, 1, 2, 3, 4, 5]
    unranked = alanine_ensemble.replace(energy=None).ranked()
    np.testing.assert_array_equal(unranked.positions, alanine_ensemble.positions[[0, 1, 3, 4, 6, 7]])
    assert alanine_ensemble.energy.tolist()[:2] == [5, 1]  # itself is unchanged


def test_deduplicated_keeps_the_first_of_each_shape(alanine_ensemble):
    usable = alanine_ensemble.select(alanine_ensemble.ok)
    doubled = usable.select([*range(6), *range(6)])
    assert len(doubled.deduplicated(1e-4)) == 6
    assert doubled.ranked().deduplicated(1 * unit.nanometer).energy.tolist() == [-6.5]
    assert alanine_ensemble.deduplicated(1e-6).energy.tolist() == [5, 1, 3, 2, 4, -6.5]


def test_other_shapes_are_refused(alanine):
    made = Provenance("test", "0")
    with pytest.raises(ValueError, match="have 26 atoms where 'alanine' has 13"):
        Ensemble(alanine, np.zeros((3, 26, 3)), made)
    for name in ("status", "energy", "log_q"):
        with pytest.raises(ValueError, match=f"{name} has shape"):
            Ensemble(alanine, np.zeros((3, 13, 3)), made, **{name: np.zeros(2)})


def test_mdtraj_and_rdkit_take_the_usable_samples(alanine_ensemble):
    trajectory = alanine_ensemble.to_mdtraj()
    assert trajectory.n_frames == 6 and trajectory.n_atoms == 13
    assert [a.element.number for a in trajectory.topology.atoms] == alanine_ensemble.graph.numbers.tolist()
    assert sorted(tuple(sorted((a.index, b.index))) for a, b in trajectory.topology.bonds) == sorted(
        map(tuple, alanine_ensemble.graph.bonds.tolist())
    )
    np.testing.assert_allclose(trajectory.xyz, alanine_ensemble.positions[alanine_ensemble.ok], rtol=1e-6)
    assert alanine_ensemble.to_rdkit().GetNumConformers() == 6


def test_from_rdkit_checks_the_conformers():
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)O"))
    rdDistGeom.EmbedMultipleConfs(mol, 3, randomSeed=2)
    mol.GetConformer(1).SetPositions(-mol.GetConformer(1).GetPositions())
    ensemble = Ensemble.from_rdkit(mol, "mixed")
    assert ensemble.status.tolist() == [0, Status.WRONG_STEREO, 0]
    np.testing.assert_allclose(ensemble.positions[0] * 10, mol.GetConformer(0).GetPositions())
    with pytest.raises(MoleculeError, match="no conformers"):
        Ensemble.from_rdkit(MolecularGraph.from_smiles("CCO").mol)


def test_is_indexed_like_a_sequence(alanine_ensemble):
    assert alanine_ensemble[3].energy.tolist() == [3] and alanine_ensemble[-1].energy.tolist() == [-6.5]
    assert alanine_ensemble[np.int64(1)].log_q.tolist() == [1]
    assert alanine_ensemble[1:8:3].log_q.tolist() == [1, 4, 7]
    assert alanine_ensemble[[4, 0]].energy.tolist() == [2, 5] and alanine_ensemble[alanine_ensemble.ok].ok.all()
    assert [len(e) for e in alanine_ensemble] == [1] * 8
    assert [float(e.log_q[0]) for e in alanine_ensemble] == list(range(8))
    for wrong in (8, -9, [0, 8], np.ones(7, bool)):
        with pytest.raises(IndexError):
            alanine_ensemble[wrong]


def test_says_what_it_is_in_short(alanine_ensemble):
    assert repr(alanine_ensemble) == "Ensemble('alanine', 8 conformations: 6 OK, 2 NON_FINITE)"
    assert repr(alanine_ensemble[:0]) == "Ensemble('alanine', 0 conformations)"
    assert repr(alanine_ensemble.graph) == "MolecularGraph('alanine', 13 atoms)"


def test_is_equal_to_itself_alone(alanine_ensemble):
    assert alanine_ensemble == alanine_ensemble and alanine_ensemble != alanine_ensemble.replace()
    assert alanine_ensemble in {alanine_ensemble} and alanine_ensemble in [alanine_ensemble.replace(), alanine_ensemble]


def test_where_it_comes_from_can_be_compared_and_hashed():
    first, second, other = Provenance("test", "0", settings={"a": [1]}), Provenance("test", "0", settings={"a": [1]}), Provenance("x", "0")
    assert first == second != other and hash(first) == hash(second) and len({first, second, other}) == 2
    assert Target("openff-2.2.1", "ab", 300) == Target("openff-2.2.1", "ab", 300 * unit.kelvin) and hash(Target()) == hash(Target(None))


@pytest.mark.parametrize(
    "drop",
    [
        lambda e: e.ranked(),
        lambda e: e.deduplicated(),
        lambda e: e.select([0, 1]),
        lambda e: e.select(e.ok),
        lambda e: e[e.ok],
        lambda e: e[[0, 1]],
        lambda e: next(iter(e.by_stereoisomer().values())),
    ],
)
def test_what_is_picked_is_no_sample_of_the_density(alanine_ensemble, drop):
    picked = drop(alanine_ensemble)
    assert len(picked) and picked.log_q is None and alanine_ensemble.log_q is not None
    assert picked.energy is not None and picked.provenance == alanine_ensemble.provenance


def test_what_is_taken_by_its_place_is_one(alanine_ensemble):
    assert alanine_ensemble[:5].log_q.tolist() == [0, 1, 2, 3, 4] and alanine_ensemble[2].log_q.tolist() == [2]
    assert alanine_ensemble.compounds()[0].log_q is not None
    assert alanine_ensemble.replace(log_q=None)[:5].log_q is None


def test_target_and_diagnostics_stay_with_the_rows(alanine_ensemble):
    told = alanine_ensemble.replace(target=Target("openff-2.2.1", "ab", 300), diagnostics={"repaired": 2})
    for part in (told.ranked(), told.deduplicated(), told[0], told[told.ok], *told.by_stereoisomer().values()):
        assert part.target == told.target and part.diagnostics == {"repaired": 2}
    assert alanine_ensemble.target is None and "repaired" not in alanine_ensemble.diagnostics


@pytest.mark.parametrize("temperature", [0, -300, np.inf, np.nan, 0 * unit.kelvin])
def test_a_target_has_a_temperature_or_none(temperature):
    with pytest.raises(ConfGFError, match="give a finite one above 0 K, or None"):
        Target("openff-2.2.1", None, temperature)


def test_energies_come_as_quantities_too(alanine_ensemble):
    kcal = alanine_ensemble.replace(energy=np.ones(8) * unit.kilocalorie_per_mole)
    np.testing.assert_allclose(kcal.energy[kcal.ok], 4.184)
    assert np.isposinf(alanine_ensemble.replace(energy=np.full(8, -np.inf)).energy).all()


def test_properties_stay_with_their_sample(alanine_ensemble):
    ensemble = alanine_ensemble.replace(properties=[{"_Name": f"record {k}", "id": str(k)} for k in range(8)])
    assert [p["id"] for p in ensemble.ranked().properties] == ["7", "1", "4", "3", "6", "0"]
    assert [p["id"] for p in ensemble.deduplicated(1e-6).properties] == ["0", "1", "3", "4", "6", "7"]
    assert ensemble[2].properties == ({"_Name": "record 2", "id": "2"},)
    assert [p["id"] for p in ensemble[ensemble.ok].properties] == ["0", "1", "3", "4", "6", "7"]
    assert ensemble.replace(energy=None).properties == ensemble.properties
    with pytest.raises(ValueError, match="properties of 7 conformations for 8"):
        alanine_ensemble.replace(properties=[{}] * 7)


def test_fractional_numbers_select_nothing():
    ensemble = Ensemble(MolecularGraph.from_smiles("[He]"), np.zeros((3, 1, 3)), Provenance("test", "0"))
    with pytest.raises(IndexError, match="integers or by a mask"):
        ensemble.select([1.7])
    assert len(ensemble.select([])) == 0
