"""What is said of a conformation is of that one alone: identity of records, their own properties, and ours."""

import gzip
import itertools
import re

import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.energies import SystemBuilder
from openmm_confgf.energies.scoring import score
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, FileFormatError
from openmm_confgf.files import iter_ensembles, read_each_ensemble, read_ensembles, read_molecules, write_ensembles
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def lactic():
    ensemble = embed_etkdg(MolecularGraph.from_smiles("C[C@H](O)C(=O)O", name="lactic acid"), 4, 3)
    return ensemble.replace(energy=np.array([4.0, 1.5, 2.0, 3.0]))


def foreign(ensemble, path, properties):
    """A file as another program writes it, one record for each of `properties`."""
    with Chem.SDWriter(str(path)) as writer:
        for frame, given in zip(itertools.cycle(ensemble.positions), properties, strict=False):
            mol = ensemble.graph.to_rdkit(frame)
            for key, value in given.items():
                mol.SetProp(key, value)
            writer.write(mol)
            if given is properties[-1]:
                return path


def test_shifted_double_bonds_are_two_molecules(shared_cases):
    found = read_ensembles(shared_cases / "D_cot_bond_shift.sdf")
    assert [len(e) for e in found] == [1, 1]
    assert found[0].graph.smiles == found[1].graph.smiles and not found[0].graph.same_as(found[1].graph)
    builder = SystemBuilder("openff-2.2.1")
    np.testing.assert_allclose([score(e, builder, platform="Reference").energy[0] for e in found], 186.59, atol=0.005)
    assert len(read_molecules(shared_cases / "D_cot_bond_shift.sdf")) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[13CH3]CO", "CCO"),
        ("C[N+](=O)[O-]", "C[N+]([O-])=O"),
        ("F/C=C/Cl", "F/C=C\\Cl"),
        ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"),
        ("CC(O)CC(F)C", "CC(O)CC(C)F"),
    ],
)
def test_records_that_differ_in_order_are_not_one_ensemble(one, other, tmp_path):
    made = [embed_etkdg(MolecularGraph.from_smiles(smiles, name="x"), 1, 0) for smiles in (one, other)]
    for way in (made, [e.replace(graph=MolecularGraph(e.graph.mol, "y")) for e in made]):
        (path,) = write_ensembles(way, tmp_path / "two.sdf")
        found = read_ensembles(path)
        assert [len(e) for e in found] == [1, 1]
        assert [e.graph.same_as(w.graph) for e, w in zip(found, way, strict=True)] == [True, True]


def test_open_stereo_beside_specified_in_a_symmetric_molecule(tmp_path):
    """Either centre matches the SMILES where both have the same hand: which is meant is told by its atom."""
    graph = MolecularGraph.from_smiles("CC(O)C[C@H](O)C")
    ensemble = embed_etkdg(graph, 12, 0)
    full = {MolecularGraph.from_rdkit(ensemble.graph.to_rdkit(frame)).smiles for frame in ensemble.positions}
    assert len(full) == 2  # both diastereomers are in it
    (found,) = read_ensembles(*write_ensembles(ensemble, tmp_path / "out.sdf"))
    assert len(found) == 12 and found.graph.same_as(graph)


def test_phosphorus_diastereomers_stay_two(shared_cases, tmp_path):
    found = read_ensembles(shared_cases / "E_p_diastereomers.sdf")
    again = read_ensembles(*write_ensembles(found, tmp_path / "p.sdf"))
    assert [e.graph.smiles for e in again] == [e.graph.smiles for e in found] and len({e.graph.smiles for e in again}) == 2


def test_properties_and_titles_stay_with_their_record(lactic, tmp_path):
    given = [
        {"_Name": f"vendor {k}", "status": "in stock", "energy_kj_per_mol": "9", "price, EUR": str(k), "specified_smiles": "C"}
        for k in range(3)
    ]
    (found,) = read_ensembles(foreign(lactic, tmp_path / "vendor.sdf", given))
    assert list(found.properties) == given
    assert found.ok.all() and found.energy is None and found.graph.name == "vendor 0"
    scored = found.replace(energy=np.array([3.0, 1.0, 2.0])).ranked()
    (path,) = write_ensembles(scored, tmp_path / "scored.sdf")
    (again,) = read_ensembles(path)
    assert list(again.properties) == [given[1], given[2], given[0]] and again.energy.tolist() == [1, 2, 3]
    records = list(Chem.SDMolSupplier(str(path)))
    assert [m.GetProp("_Name") for m in records] == ["vendor 1", "vendor 2", "vendor 0"]
    assert {m.GetProp("status") for m in records} == {"in stock"}
    (kept,) = read_ensembles(*write_ensembles(scored, tmp_path / "scored.h5"))
    assert kept.properties == scored.properties


def test_nothing_of_a_record_is_on_new_conformations(lactic, tmp_path):
    (path,) = write_ensembles(lactic.replace(properties=[{"_Name": "a", "assay": "7"}] * 4), tmp_path / "scored.sdf")
    (entry,) = read_molecules(path)
    assert entry.name == "lactic acid"
    (new,) = write_ensembles(embed_etkdg(entry.graph, 2, 9), tmp_path / "new.sdf")
    for mol in Chem.SDMolSupplier(str(new)):
        assert not mol.HasProp("assay") and not mol.HasProp("openmm_confgf_energy_kj_per_mol")
        assert mol.GetProp("openmm_confgf_seed") == "9" and mol.GetProp("_Name") == "lactic acid"
    assert list(MolecularGraph.from_rdkit(next(Chem.SDMolSupplier(str(path), removeHs=False))).mol.GetPropNames()) == []


def edit(path, number, change):
    """Change the coordinates of one record, in the text alone."""
    records = path.read_text().split("$$$$\n")
    lines = records[number].split("\n")
    for k, line in enumerate(lines):
        if re.match(r"(\s*-?\d+\.\d{4}){3} [A-Z]", line):
            x, y, z = (float(v) for v in line[:30].split())
            lines[k] = "".join(f"{v:10.4f}" for v in change(x, y, z)) + line[30:]
    records[number] = "\n".join(lines)
    path.write_text("$$$$\n".join(records))


def test_an_edited_record_has_no_energy_any_more(lactic, tmp_path):
    (path,) = write_ensembles(lactic, tmp_path / "out.sdf")
    edit(path, 2, lambda x, y, z: (x + 0.0001, y, z))
    (found,) = read_ensembles(path)
    assert found.energy is None and found.ok.all() and len(found) == 4
    assert found.provenance.generator == "out.sdf" and found.provenance.settings == {"edited_records": [3]}
    assert all(not key.startswith("openmm_confgf") for of_one in found.properties for key in of_one)


def test_an_edited_record_has_the_hand_of_its_coordinates(lactic, tmp_path):
    (path,) = write_ensembles(lactic, tmp_path / "out.sdf")
    edit(path, 1, lambda x, y, z: (-x, y, z))
    found = read_ensembles(path)
    assert [len(e) for e in found] == [1, 1, 2]
    assert [e.graph.smiles for e in found] == [lactic.graph.smiles, Chem.CanonSmiles("C[C@@H](O)C(=O)O"), lactic.graph.smiles]
    assert found[0].energy.tolist() == [4] and found[1].energy is None and found[2].energy.tolist() == [2, 3]
    assert found[1].ok.all()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 1, 0, 3]])
def test_a_status_makes_no_geometry_good(lactic, tmp_path, order):
    """Written as OK by the package itself, and still judged by its coordinates, whichever comes first."""
    positions = lactic.positions.copy()
    positions[1] *= 1.5
    positions[2] *= -1
    wrong = lactic.replace(positions=positions, status=np.zeros(4, np.int8))
    (found,) = read_ensembles(*write_ensembles(wrong[order], tmp_path / "out.sdf"))
    assert found.graph.same_as(lactic.graph)
    assert found.status.tolist() == [[Status.OK, Status.WRONG_GRAPH, Status.WRONG_STEREO, Status.OK][k] for k in order]


def test_specified_stereo_is_what_the_molecule_says(tmp_path):
    """Written anew without coordinates that could tell it: each kind, on each side of a mirror."""
    for smiles in ("C[C@H](F)O", "C[S@](=O)c1ccccc1", "F/C(Cl)=C(\\Br)I", "C/C=C/C=C\\C", "C[C@H]1CC[C@@H](O)CC1", "OC(C)C[C@@H](C)O"):
        graph = MolecularGraph.from_smiles(smiles)
        other = embed_etkdg(MolecularGraph.from_rdkit(Chem.MolFromMolBlock(Chem.MolToMolBlock(graph.mol), removeHs=False)), 1, 0)
        flipped = Ensemble(graph, -other.positions, other.provenance)
        (path,) = write_ensembles([Ensemble(graph, other.positions, other.provenance), flipped], tmp_path / "out.sdf")
        assert all(found.graph.same_as(graph) for found in read_ensembles(path))


@pytest.mark.parametrize("v3000", [False, True])
def test_a_record_that_another_program_wrote_anew_is_the_same(lactic, tmp_path, v3000):
    (path,) = write_ensembles(lactic, tmp_path / "out.sdf")
    again = tmp_path / "again.sdf"
    with Chem.SDWriter(str(again)) as writer:
        writer.SetForceV3000(v3000)
        writer.SetKekulize(False)
        for mol in Chem.SDMolSupplier(str(path), removeHs=False):
            writer.write(mol)
    (found,) = read_ensembles(again)
    assert found.energy.tolist() == lactic.energy.tolist() and found.provenance == lactic.provenance


def test_where_it_comes_from_is_in_the_file(lactic, tmp_path):
    given = Provenance("confgf", "9.9", 7, "ab" * 32, {"forcefield": "openff-2.2.1", "noise": [1.0, 0.5], "start": None})
    (found,) = read_ensembles(*write_ensembles(lactic.replace(provenance=given), tmp_path / "out.sdf"))
    assert found.provenance == given
    mixed = [lactic, lactic.replace(provenance=given)]
    (found,) = read_ensembles(*write_ensembles(mixed, tmp_path / "mixed.sdf"))
    assert found.provenance.generator == "mixed.sdf" and found.energy.tolist() == [*lactic.energy, *lactic.energy]


def test_ensembles_of_other_names_stay_apart(lactic, tmp_path):
    other = lactic.replace(graph=MolecularGraph(lactic.graph.mol, "again"))
    found = read_ensembles(*write_ensembles([lactic, other], tmp_path / "out.sdf"))
    assert [(e.graph.name, len(e)) for e in found] == [("lactic acid", 4), ("again", 4)]


@pytest.mark.parametrize("change", ["crlf", "no end", "latin-1", "gz"])
def test_however_the_text_is_kept(lactic, tmp_path, change):
    named = lactic.replace(properties=[{"_Name": "Säure", "note": "naïve"}] * 4)
    (path,) = write_ensembles(named, tmp_path / "out.sdf")
    data = path.read_bytes()
    data = {
        "crlf": data.replace(b"\n", b"\r\n"),
        "no end": data.removesuffix(b"\n$$$$\n"),
        "latin-1": data.decode().encode("latin-1"),
        "gz": gzip.compress(data),
    }[change]
    path = path.with_name("out.sdf.gz") if change == "gz" else path
    path.write_bytes(data)
    (found,) = read_ensembles(path)
    assert found.energy.tolist() == lactic.energy.tolist() and found.properties == named.properties
    assert read_molecules(path)[0].name == "lactic acid"


def test_a_truncated_archive_gives_what_is_there(lactic, tmp_path):
    (path,) = write_ensembles([lactic, embed_etkdg(MolecularGraph.from_smiles("CCO"), 40, 0)], tmp_path / "out.sdf")
    short = tmp_path / "short.sdf.gz"
    data = gzip.compress(path.read_bytes())
    short.write_bytes(data[: len(data) // 2])
    first, *_, last = read_each_ensemble(short)
    np.testing.assert_array_equal(first.energy, lactic.energy)
    assert isinstance(last, FileFormatError) and "is truncated or damaged" in str(last) and "\n" not in str(last)
    with pytest.raises(FileFormatError, match="truncated"):
        read_ensembles(short)
    assert read_molecules(short)[-1].error is not None
    short.write_bytes(path.read_bytes())
    with pytest.raises(FileFormatError, match="is no gzip file"):
        read_ensembles(short)


def test_one_ensemble_is_read_at_a_time(lactic, tmp_path, monkeypatch):
    other = embed_etkdg(MolecularGraph.from_smiles("CCO"), 2, 0)
    (path,) = write_ensembles([lactic, other] * 200, tmp_path / "many.sdf")
    taken = []
    lines_of = iter_ensembles.__globals__["lines_of"]
    monkeypatch.setitem(iter_ensembles.__globals__, "lines_of", lambda p: (taken.append(1) or line for line in lines_of(p)))
    first, second = itertools.islice(iter_ensembles(path), 2)
    assert (len(first), len(second)) == (4, 2)
    assert len(taken) < path.read_text().count("\n") / 50


def test_large_molecules_and_far_places(tmp_path):
    graph = MolecularGraph.from_smiles("C" * 340, name="a long one")
    positions = np.random.default_rng(0).uniform(0, 5, (2, len(graph), 3))
    far = embed_etkdg(MolecularGraph.from_smiles("CCO"), 1, 0)
    far = far.replace(positions=far.positions + np.array([12345.0, -2345.0, 0]))
    (path,) = write_ensembles([Ensemble(graph, positions, Provenance("test", "0")), far], tmp_path / "large.sdf")
    long, moved = read_ensembles(path)
    assert len(long.graph) == 1022 > 999 and long.graph.same_as(graph)
    np.testing.assert_allclose(long.positions, positions, atol=0.51e-5)
    assert moved.ok.all() and moved.provenance == far.provenance
    np.testing.assert_allclose(moved.positions, far.positions, atol=0.51e-5)


def test_a_complex_with_dative_bonds_is_read_back(tmp_path):
    graph = MolecularGraph.from_smiles("[NH3]->[Pt](Cl)(Cl)<-[NH3]")
    square = {0: (2, 0, 0), 1: (0, 0, 0), 2: (0, 2.3, 0), 3: (-2.3, 0, 0), 4: (0, -2, 0)}
    mol = graph.to_rdkit(np.zeros((len(graph), 3)))
    coordinates = np.array([square[k] if k in square else (0, 0, 0) for k in range(len(graph))], float)
    hydrogens = [(a.GetIdx(), a.GetNeighbors()[0].GetIdx()) for a in mol.GetAtoms() if a.GetAtomicNum() == 1]
    for (k, nitrogen), turn in zip(hydrogens, itertools.cycle(range(3)), strict=False):
        outward = coordinates[nitrogen] / np.linalg.norm(coordinates[nitrogen])
        side = np.cross(outward, [0, 0, 1])
        angle = 2 * np.pi * turn / 3
        coordinates[k] = coordinates[nitrogen] + 0.35 * outward + 0.95 * (np.cos(angle) * side + np.sin(angle) * np.array([0, 0, 1]))
    ensemble = Ensemble(graph, coordinates * 0.1, Provenance("test", "0"))
    (path,) = write_ensembles(ensemble, tmp_path / "pt.sdf")
    (found,) = read_ensembles(path)
    assert found.graph.same_as(graph) and found.provenance == ensemble.provenance
    assert read_molecules(path)[0].graph.same_as(graph)


def test_a_bad_record_is_told_by_number(lactic, tmp_path):
    (path,) = write_ensembles(lactic, tmp_path / "out.sdf")
    path.write_text(path.read_text().replace("\nOK\n", "\nFINE\n", 1))
    outcomes = read_each_ensemble(path)
    assert isinstance(outcomes[0], ConfGFError)
    assert str(outcomes[0]) == f"Record 1 of {path} has the openmm_confgf_status 'FINE'; known are {', '.join(s.name for s in Status)}."
    assert len(outcomes[1]) == 3
