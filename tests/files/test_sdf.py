import dataclasses
import re

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from openmm_confgf.ensemble import Ensemble, Target
from openmm_confgf.errors import FileFormatError
from openmm_confgf.files import read_each_ensemble, read_ensembles, read_molecules, write_ensembles
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status


def test_sdf_gives_the_usable_samples_back(ensembles, tmp_path, same_molecule):
    (path,) = write_ensembles(ensembles, tmp_path / "out.sdf")
    found = read_ensembles(path)
    assert len(found) == len(ensembles)
    for ours, theirs in zip(found, ensembles, strict=True):
        usable = theirs.select(theirs.ok)
        assert same_molecule(ours.graph, theirs.graph)
        assert ours.graph.name == theirs.graph.name
        np.testing.assert_allclose(ours.positions, usable.positions, atol=0.51e-5)
        np.testing.assert_array_equal(ours.energy, usable.energy)
        assert ours.ok.all()
        assert ours.provenance == theirs.provenance
        assert (ours.target, ours.diagnostics) == (theirs.target, theirs.diagnostics)


def test_numbers_that_are_none_do_not_part_the_records(alanine_ensemble, tmp_path):
    """NaN is not equal to NaN: the R-hat of a run that is too short."""
    told = alanine_ensemble.replace(target=Target("openff-2.2.1", None, 300), diagnostics={"r_hat_energy": np.nan})
    (path,) = write_ensembles(told, tmp_path / "out.sdf")
    (found,) = read_ensembles(path)
    assert found.provenance == told.provenance and found.target == told.target and np.isnan(found.diagnostics["r_hat_energy"])


def test_records_of_several_targets_have_none(alanine_ensemble, tmp_path):
    usable = alanine_ensemble.ranked()
    first, second = (usable[part].replace(target=Target(name)) for part, name in ((slice(0, 3), "one"), (slice(3, 6), "other")))
    (path,) = write_ensembles([first, second], tmp_path / "out.sdf")
    (found,) = read_ensembles(path)
    assert len(found) == 6 and found.target is None and found.provenance.generator == "out.sdf"


@pytest.mark.parametrize("target", ["{}{", '{"temperature": -3}', '{"nonsense": 1}', "[]"])
def test_a_target_that_is_none_costs_where_it_comes_from(alanine_ensemble, tmp_path, target):
    (path,) = write_ensembles(alanine_ensemble.replace(target=Target("mine")), tmp_path / "out.sdf")
    path.write_text(path.read_text().replace('{"forcefield": "mine", "system_sha256": null, "temperature": null}', target))
    (found,) = read_ensembles(path)
    assert found.target is None and found.provenance.generator == "out.sdf" and found.energy is not None


def test_records_of_before_there_were_targets(alanine_ensemble, tmp_path):
    settings = {"steps": 3, "repaired": 1, "forcefield": "openff-2.2.1", "system_sha256": "ab", "minimized": False}
    old = dataclasses.replace(alanine_ensemble.provenance, settings=settings)
    (path,) = write_ensembles(alanine_ensemble.replace(provenance=old, diagnostics={}), tmp_path / "out.sdf")
    path.write_text(re.sub(r">  <openmm_confgf_diagnostics>.*\n.*\n\n", "", path.read_text()))
    (found,) = read_ensembles(path)
    assert found.target == Target("openff-2.2.1", "ab") and found.diagnostics == {"repaired": 1}
    assert found.provenance == dataclasses.replace(old, settings={"steps": 3, "minimized": False})
    np.testing.assert_array_equal(found.energy, alanine_ensemble.energy[alanine_ensemble.ok])


def test_a_record_that_is_not_ok_keeps_its_energy_and_is_not_ranked(alanine_ensemble, tmp_path):
    (path,) = write_ensembles(alanine_ensemble, tmp_path / "out.sdf")
    parts = path.read_text().split("$$$$\n")
    parts[5] = parts[5].replace("\nOK\n", "\nCLASH\n")
    path.write_text("$$$$\n".join(parts))
    (found,) = read_ensembles(path)
    assert found.status.tolist() == [0, 0, 0, 0, 0, Status.CLASH] and found.energy.tolist() == [5, 1, 3, 2, 4, -6.5]
    assert found.ranked().energy.tolist() == [1, 2, 3, 4, 5]


def test_sdf_is_what_other_programs_read(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.sdf")
    records = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert len(records) == 6
    assert [float(m.GetProp("openmm_confgf_energy_kj_per_mol")) for m in records] == [5, 1, 3, 2, 4, -6.5]
    assert {m.GetProp("openmm_confgf_status") for m in records} == {"OK"}
    assert {m.GetProp("openmm_confgf_specified_smiles") for m in records} == {alanine_ensemble.graph.smiles}
    assert {(m.GetProp("openmm_confgf_generator"), m.GetProp("openmm_confgf_seed")) for m in records} == {("etkdg", "4")}
    assert {Chem.MolToSmiles(Chem.RemoveHs(m)) for m in records} == {alanine_ensemble.graph.smiles}
    assert {m.GetProp("_Name") for m in records} == {"alanine"}


def test_foreign_sdf_is_grouped_by_molecule_and_order(tmp_path):
    """Titles differ from record to record; a mirror image and another atom order are other molecules; no status is given."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles("C[C@H](O)CF"), 3, 0)
    mols = [ensemble.graph.to_rdkit(frame) for frame in [*ensemble.positions, -ensemble.positions[0]]]
    mols.append(Chem.RenumberAtoms(mols[-1], list(range(len(ensemble.graph)))[::-1]))
    stretched = ensemble.graph.to_rdkit(ensemble.positions[0] * 1.5)
    path = tmp_path / "foreign.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for k, mol in enumerate([*mols, stretched]):
            mol.SetProp("_Name", f"conformer {k}")
            writer.write(mol)
    found = read_ensembles(path)
    assert [len(e) for e in found] == [3, 1, 1, 1]
    assert [e.counts() for e in found] == [{"OK": 3}, {"OK": 1}, {"OK": 1}, {"WRONG_GRAPH": 1}]
    assert found[0].graph.smiles != found[1].graph.smiles == found[2].graph.smiles
    assert found[0].energy is None
    assert [e.name for e in read_molecules(path)] == ["conformer 0", "conformer 3", "conformer 4", "conformer 5"]


def test_mol_file(tmp_path, alanine_ensemble, same_molecule):
    path = tmp_path / "one.mol"
    Chem.MolToMolFile(alanine_ensemble.graph.to_rdkit(alanine_ensemble.positions[0]), str(path))
    (ensemble,) = read_ensembles(path)
    assert same_molecule(ensemble.graph, alanine_ensemble.graph)
    assert [e.name for e in read_molecules(path)] == ["alanine"]


def test_flat_records_make_molecules_but_no_ensembles(tmp_path):
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](F)O"))
    rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "flat.sdf"
    with Chem.SDWriter(str(path)) as writer:
        writer.write(mol)
    assert read_molecules(path)[0].graph.smiles == Chem.CanonSmiles("C[C@H](F)O")
    with pytest.raises(FileFormatError, match=r"Record 1 of .* has no 3D coordinates"):
        read_ensembles(path)


def test_bad_records_are_named_and_stop_no_others(tmp_path):
    good = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO")))
    no_hydrogens = Chem.MolToMolBlock(Chem.MolFromSmiles("CCN"))
    five_bonds = good.replace("  1  2  1  0", "  1  2  3  0")
    assert five_bonds != good
    path = tmp_path / "mixed.sdf"
    path.write_text("$$$$\n".join([good, "no molecule at all\n", no_hydrogens, five_bonds, good, ""]))
    entries = read_molecules(path)
    assert [e.graph is not None for e in entries] == [True, False, True, False, True]
    assert all((e.graph is None) != (e.error is None) for e in entries)
    assert isinstance(entries[1].error, FileFormatError) and "Record 2" in str(entries[1].error)
    assert len(entries[2].graph) == 10 and entries[2].notes == ("explicit hydrogens were added, since the file has not all of them",)
    assert "Record 4" in str(entries[3].error) and "valence" in str(entries[3].error)
    assert entries[3].name == "record 4 of mixed.sdf"
    with pytest.raises(FileFormatError, match=r"Record 1 of .* no 3D"):
        read_ensembles(path)


def test_ensembles_beside_bad_records_can_be_had(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "good.sdf")
    good, flat = path.read_text(), Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("CCO"))) + "$$$$\n"
    path.write_text(good + "no molecule at all\n$$$$\n" + flat + good.replace("-6.5", "low") + good)
    outcomes = read_each_ensemble(path)
    assert [isinstance(outcome, Ensemble) for outcome in outcomes] == [True, False, False, True, False, True]
    assert ["Record 7" in str(outcomes[1]), "no 3D" in str(outcomes[2]), "'low'" in str(outcomes[4])] == [True] * 3
    assert [len(outcomes[k]) for k in (0, 3, 5)] == [6, 5, 6]
    np.testing.assert_array_equal(outcomes[0].energy, alanine_ensemble.energy[alanine_ensemble.ok])
    path.write_text(good + "no molecule at all\n$$$$\n" + good)
    first, _, last = read_each_ensemble(path)
    np.testing.assert_array_equal(first.positions, last.positions)
    with pytest.raises(FileFormatError, match="Record 7"):
        read_ensembles(path)


def test_bad_properties_are_named(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.sdf")
    text = path.read_text()
    path.write_text(text.replace("-6.5", "low"))
    with pytest.raises(FileFormatError, match=r"Record 6 of .*openmm_confgf_energy_kj_per_mol 'low'"):
        read_ensembles(path)
    path.write_text(text.replace("\nOK\n", "\nFINE\n", 1))
    with pytest.raises(FileFormatError, match=r"Record 1 of .*status 'FINE'; known are OK"):
        read_ensembles(path)


def test_names_that_would_break_a_record(alanine_ensemble, tmp_path):
    graph = MolecularGraph(alanine_ensemble.graph.mol, "two\nlines $$$$")
    (path,) = write_ensembles([alanine_ensemble.replace(graph=graph)], tmp_path / "out.sdf")
    (found,) = read_ensembles(path)
    assert found.graph.name == "two lines $$$$"
    assert len(found) == 6
    graph = MolecularGraph(alanine_ensemble.graph.mol, "$$$$ rich")
    (path,) = write_ensembles([alanine_ensemble.replace(graph=graph)] * 2, tmp_path / "out.sdf")
    assert [(e.graph.name, len(e)) for e in read_ensembles(path)] == [("$$$$ rich", 12)]
