import dataclasses
import json

import h5py
import mdtraj
import numpy as np
import pytest

from openmm_confgf.errors import FileFormatError
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.status import Status


def test_hdf5_gives_everything_back(ensembles, tmp_path, same_molecule):
    paths = write_ensembles(ensembles, tmp_path / "out.h5")
    assert [p.name for p in paths] == ["out-0000-alanine.h5", *(f"out-{k:04d}-molecule_{k - 1}.h5" for k in range(1, len(ensembles)))]
    for wanted, path in zip(ensembles, paths, strict=True):
        (found,) = read_ensembles(path)
        assert same_molecule(found.graph, wanted.graph)
        assert found.graph.name == wanted.graph.name
        assert found.provenance == wanted.provenance
        assert (found.target, found.diagnostics) == (wanted.target, wanted.diagnostics)
        for name in ("positions", "status", "energy", "log_q"):
            ours, theirs = getattr(found, name), getattr(wanted, name)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)


def test_rows_that_are_not_ok_keep_their_energies(ensembles, tmp_path):
    (path,) = write_ensembles(ensembles[1], tmp_path / "out.h5")
    (found,) = read_ensembles(path)
    assert found.status[1] == Status.CLASH and np.isfinite(found.energy[1])
    assert mdtraj.load(str(path)).n_frames == 4


def test_a_file_of_before_there_were_targets(ensembles, tmp_path, as_of_layout_1):
    told = ensembles[2].replace(energy=np.linspace(1, 2, 5))
    assert told.target is not None and told.diagnostics
    (path,) = write_ensembles(told.replace(target=dataclasses.replace(told.target, temperature=None)), tmp_path / "out.h5")
    as_of_layout_1(path)
    (found,) = read_ensembles(path)
    assert found.provenance == told.provenance and found.diagnostics == told.diagnostics
    assert found.target == dataclasses.replace(told.target, temperature=None)
    np.testing.assert_array_equal(found.energy, np.where(told.ok, told.energy, np.inf))


def test_settings_with_the_names_of_before_are_the_users_own(alanine_ensemble, tmp_path):
    own = dataclasses.replace(alanine_ensemble.provenance, settings={"repaired": 3, "forcefield": "mine", "ways": "many"})
    (path,) = write_ensembles(alanine_ensemble.replace(provenance=own, target=None, diagnostics={}), tmp_path / "out.h5")
    (found,) = read_ensembles(path)
    assert found.provenance == own and found.target is None and found.diagnostics == {}


def test_mdtraj_loads_the_usable_samples(alanine_ensemble, tmp_path):
    pytest.importorskip("tables", reason="mdtraj reads HDF5 with PyTables")
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    trajectory, wanted = mdtraj.load(str(path)), alanine_ensemble.to_mdtraj()
    np.testing.assert_array_equal(trajectory.xyz, wanted.xyz)
    assert np.isfinite(trajectory.xyz).all() and trajectory.n_frames == 6
    # mdtraj's own == tells apart the topologies of its oldest version here
    found, right = (
        ([(a.name, a.element.symbol, a.residue.name) for a in t.atoms], sorted(tuple(sorted(a.index for a in bond)) for bond in t.bonds))
        for t in (trajectory.topology, wanted.topology)
    )
    assert found == right and len(found[1]) == 12


def test_residues_survive_hdf5(shared_data, tmp_path):
    (peptide,) = read_ensembles(shared_data / "ala2_md" / "ala2.pdb")
    (path,) = write_ensembles([peptide], tmp_path / "peptide.h5")
    (back,) = read_ensembles(path)
    wanted, found = ([(a.name, a.residue.name, a.residue.id) for a in e.graph.to_topology().atoms()] for e in (peptide, back))
    assert {row[1] for row in wanted} == {"ACE", "ALA", "NME"}
    assert found == wanted


def test_truncated_or_foreign_hdf5(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    whole = path.read_bytes()
    for kept in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(FileFormatError, match="truncated or no HDF5"):
            read_ensembles(path)
    with h5py.File(path, "w") as file:
        file["coordinates"] = np.zeros((2, 3, 3))
    with pytest.raises(FileFormatError, match="holds no ensemble of openmm_confgf"):
        read_ensembles(path)


def test_a_file_that_claims_more_than_it_holds_is_refused_in_time(alanine_ensemble, tmp_path):
    """A million million conformations that were never written need no bytes in HDF5."""
    path = tmp_path / "claims.h5"
    write_ensembles(alanine_ensemble, path)
    with h5py.File(path, "a") as file:
        shape = file["coordinates"].shape
        del file["coordinates"]
        file.create_dataset("coordinates", (10**12, *shape[1:]), "f4", chunks=(1, *shape[1:]))
    with pytest.raises(FileFormatError, match=r"claims\.h5"):
        read_ensembles(path)


def test_hdf5_with_nonsense_in_it(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["openmm_confgf"]["status"][0] = 77
    with pytest.raises(FileFormatError, match="was altered .*status"):
        read_ensembles(path)
    with h5py.File(path, "a") as file:
        file["openmm_confgf"].create_group("inner")
    with pytest.raises(FileFormatError, match="no HDF5"):
        read_ensembles(path)


@pytest.mark.parametrize("change", ["molecule", "provenance", "target", "diagnostics", "status", "layout"])
def test_altered_hdf5(alanine_ensemble, tmp_path, change):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        group = file["openmm_confgf"]
        if change == "layout":
            group.attrs["layout"] = 99
        else:
            nonsense = {"provenance": json.dumps({"nonsense": 1}), "target": json.dumps({"temperature": -1}), "diagnostics": "[1, 2]"}
            if change in group:
                del group[change]
            group[change] = {"molecule": "{}", "status": np.zeros(2, np.int8), **nonsense}[change]
    with pytest.raises(FileFormatError, match="newer than this version" if change == "layout" else "was altered"):
        read_ensembles(path)


def test_properties_are_kept(alanine_ensemble, tmp_path):
    given = tuple({"_Name": f"record {k}", "assay": "µ\n7"} for k in range(8))
    (path,) = write_ensembles(alanine_ensemble.replace(properties=given), tmp_path / "out.h5")
    (found,) = read_ensembles(path)
    assert found.properties == given


@pytest.mark.parametrize("name", ["positions", "energy", "log_q", "status"])
def test_a_file_that_was_edited_is_refused(alanine_ensemble, tmp_path, name):
    """An energy is of its positions: one changed without the other is neither."""
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["openmm_confgf"][name][7] = 3
    with pytest.raises(FileFormatError, match=r"was altered \(it is not what this package wrote\)"):
        read_ensembles(path)


def test_a_file_of_an_earlier_version_is_checked_anew(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        group = file["openmm_confgf"]
        del group.attrs["sha256"]
        group["positions"][0] = group["positions"][0] * 2
    (found,) = read_ensembles(path)
    assert found.status.tolist() == [Status.WRONG_GRAPH, 0, Status.NON_FINITE, 0, 0, Status.NON_FINITE, 0, 0]
    np.testing.assert_array_equal(found.energy[1:], alanine_ensemble.energy[1:])


def _zeroed(whole, start):
    return whole[:start] + bytes(len(whole[start : start + 4096])) + whole[start + 4096 :]


def test_a_damaged_file_is_refused_before_hdf5_sees_it(alanine_ensemble, tmp_path):
    """HDF5's library goes round in circles on some of these."""
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    whole = path.read_bytes()
    for start in range(0, len(whole) - 4096, 1024):
        path.write_bytes(_zeroed(whole, start))
        if path.read_bytes() == whole:
            continue
        with pytest.raises(FileFormatError, match="was damaged: its checksum is not that of its content"):
            read_ensembles(path)


def test_the_checksum_goes_when_another_program_edits_the_file(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["notes"] = "mine"
    (found,) = read_ensembles(path)
    np.testing.assert_array_equal(found.positions, alanine_ensemble.positions)


def test_files_without_a_checksum_are_read_and_their_damage_is_found_in_time(alanine_ensemble, tmp_path, monkeypatch):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["notes"] = "mine"
    whole, circles = path.read_bytes(), tmp_path / "circles.h5"
    monkeypatch.setattr("openmm_confgf.files.hdf5_guard._SECONDS", 2)
    refused = 0
    for start in range(0, len(whole), 4096):
        circles.write_bytes(_zeroed(whole, start))
        try:
            (found,) = read_ensembles(circles)
            np.testing.assert_array_equal(found.positions, alanine_ensemble.positions)
        except FileFormatError as error:
            assert str(circles) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused >= 2
