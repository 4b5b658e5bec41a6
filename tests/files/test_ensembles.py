import os

import numpy as np
import pytest

from openmm_confgf.errors import FileFormatError
from openmm_confgf.files import check_writable, read_ensembles, read_molecules, write_ensembles
from openmm_confgf.status import Status


def test_an_ensemble_without_usable_samples_survives_in_hdf5_only(alanine_ensemble, tmp_path):
    bad = alanine_ensemble.replace(status=np.full(8, Status.FAILED, np.int8))
    (path,) = write_ensembles([bad], tmp_path / "bad.h5")
    assert read_ensembles(path)[0].counts() == {"FAILED": 8}
    for suffix in (".sdf", ".pdb"):
        with pytest.raises(FileFormatError, match="no usable conformation"):
            write_ensembles([bad], tmp_path / f"bad{suffix}")
    assert [p.name for p in write_ensembles([bad, alanine_ensemble], tmp_path / "two.pdb")] == ["two-0001-alanine.pdb"]
    assert len(read_ensembles(*write_ensembles([bad, alanine_ensemble], tmp_path / "two.sdf"))) == 1


@pytest.mark.parametrize("suffix", [".smi", ".sdf", ".mol", ".pdb", ".h5"])
def test_empty_files(suffix, tmp_path):
    path = tmp_path / f"empty{suffix}"
    path.touch()
    for read in (read_molecules, *([] if suffix == ".smi" else [read_ensembles])):
        with pytest.raises(FileFormatError, match="is empty"):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "text", "said"),
    [
        (".smi", "# nothing\n\n", "holds no molecule"),
        (".sdf", "\n", "holds no molecule"),
        (".pdb", "REMARK nothing\nEND\n", "no ATOM or HETATM|no PDB file"),
        (".h5", "no HDF5", "no HDF5 file"),
    ],
)
def test_files_without_molecules(suffix, text, said, tmp_path):
    path = tmp_path / f"nothing{suffix}"
    path.write_text(text)
    for read in (read_molecules, *([] if suffix == ".smi" else [read_ensembles])):
        with pytest.raises(FileFormatError, match=said):
            read(path)


def test_directories(tmp_path):
    folder = tmp_path / "folder.sdf"
    folder.mkdir()
    for call in (read_molecules, read_ensembles, check_writable, lambda path: write_ensembles([], path)):
        with pytest.raises(FileFormatError, match="is a directory"):
            call(folder)
    with pytest.raises(FileFormatError, match="is a directory"):
        read_molecules(str(tmp_path))


@pytest.mark.parametrize("suffix", [".sdf", ".pdb", ".h5"])
def test_files_are_complete_or_absent(alanine_ensemble, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("older")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    for target in ("sdf.write_sdf", "pdb.write_pdb", "hdf5.hdf5_bytes"):
        monkeypatch.setattr(f"openmm_confgf.files.{target}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_ensembles([alanine_ensemble], path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]
    monkeypatch.undo()
    write_ensembles([alanine_ensemble], path)
    assert os.listdir(tmp_path) == [path.name]
    assert len(read_ensembles(path)[0]) == (8 if suffix == ".h5" else 6)


def test_check_writable(tmp_path):
    assert check_writable(tmp_path / "out.SDF") == ".sdf"
    assert check_writable(tmp_path / "new" / "deep" / "out.h5") == ".h5"
    assert os.listdir(tmp_path) == []
    for name in ("out", "out.xyz", "out.mol"):
        with pytest.raises(FileFormatError, match="no suffix that can be written; give one of"):
            check_writable(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(FileFormatError, match="cannot be written to"):
        check_writable(tmp_path / "file" / "out.sdf")
    with pytest.raises(FileFormatError, match="cannot be written to"):
        check_writable("/proc/out.sdf")


def test_missing_folders_are_made(alanine_ensemble, tmp_path):
    (path,) = write_ensembles([alanine_ensemble], tmp_path / "new" / "deep" / "out.sdf")
    assert path.is_file()
