"""Ensembles from and to files, by the file's suffix."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..errors import ConfGFError, FileFormatError
from . import hdf5, pdb, sdf
from .molecules import check_readable

_READABLE = (".sdf", ".mol", ".pdb", ".h5")
_WRITABLE = (".sdf", ".pdb", ".h5")


def read_ensembles(path: str | Path) -> list[Ensemble]:
    """The ensembles of an .sdf, .mol, .pdb or .h5 file.

    Consecutive records of an SDF file that are the same molecule in the same atom order are one ensemble; energies and statuses come from
    the properties ``energy_kj_per_mol`` and ``status``. Where a file tells no status, the conformations are checked. An .h5 file gives back
    exactly what was written.

    Raises
    ------
    FileFormatError
        If the file does not exist, is empty, truncated or of another format, or a record has no 3D coordinates.
    MoleculeError
        If a molecule is incomplete; the message names the record.
    """
    ensembles = []
    for outcome in read_each_ensemble(path):
        if isinstance(outcome, ConfGFError):
            raise outcome
        ensembles.append(outcome)
    return ensembles


def read_each_ensemble(path: str | Path) -> list[Ensemble | ConfGFError]:
    """As `read_ensembles`, but SDF records that cannot be used are their own errors in the list, and stop no others.

    Raises
    ------
    FileFormatError
        If the file as a whole cannot be read.
    MoleculeError
        If the molecule of a .pdb file is incomplete.
    """
    path = Path(path)
    suffix = check_readable(path, _READABLE)
    if suffix == ".pdb":
        return [pdb.read_pdb_ensemble(path)]
    if suffix == ".h5":
        return [hdf5.read_hdf5(path)]
    ensembles = sdf.read_sdf(path)
    if not ensembles:
        raise FileFormatError(f"{path} holds no molecule; give a file that has at least one.")
    return ensembles


def write_ensembles(ensembles: Sequence[Ensemble], path: str | Path) -> list[Path]:
    """Write ensembles as the suffix says: .sdf, .pdb or .h5.

    An .h5 file keeps everything. An .sdf or .pdb file takes the usable samples only; ``Ensemble.counts()`` tells how many the others are.
    An .sdf file takes all ensembles; of .pdb and .h5 there is one file for each (``out-000.pdb``, ``out-001.pdb`` ...) if there are
    several. Each file is complete or not there: it is written under a temporary name first. Missing folders are made.

    Returns
    -------
    list of Path
        The files, in the order of the ensembles. An ensemble without usable samples has no .pdb file.

    Raises
    ------
    FileFormatError
        If the suffix is unknown, the folder cannot be written, or there is nothing to write.
    """
    path = Path(path)
    suffix = check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [ensemble for ensemble in ensembles if suffix == ".h5" or ensemble.ok.any()]
    if not kept:
        raise FileFormatError(f"There is no usable conformation to write to {path}; an .h5 file would keep the others and their statuses.")
    if suffix == ".sdf":
        with _complete_or_absent(path) as partial:
            sdf.write_sdf(kept, partial)
        return [path]
    targets = [path]
    if len(ensembles) > 1:
        digits = max(3, len(str(len(ensembles) - 1)))
        targets = [path.with_name(f"{path.stem}-{k:0{digits}d}{path.suffix}") for k in range(len(ensembles))]
    written = []
    for ensemble, target in zip(ensembles, targets, strict=True):
        if suffix == ".h5":
            with _complete_or_absent(target) as partial:
                hdf5.write_hdf5(ensemble, partial)
        elif ensemble.ok.any():
            with _complete_or_absent(target) as partial:
                pdb.write_pdb(ensemble, partial)
        else:
            continue
        written.append(target)
    return written


def write_run(ensemble: Ensemble, state: Mapping[str, NDArray[Any]], path: str | Path) -> None:
    """Write the ensemble of a run, and the state that it goes on from, to an .h5 file: both or none.

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _complete_or_absent(path) as partial:
        hdf5.write_hdf5(ensemble, partial)
        hdf5.write_state(state, partial)


def read_run(path: str | Path) -> tuple[Ensemble, dict[str, Any]]:
    """What `write_run` wrote.

    Raises
    ------
    FileFormatError
        If the file holds no run, or cannot be read.
    """
    path = Path(path)
    check_readable(path, (".h5",))
    return hdf5.read_hdf5(path), hdf5.read_state(path)


def check_writable(path: str | Path) -> str:
    """Make sure, before long work starts, that ensembles can be written to `path`; gives its suffix in lower case.

    Raises
    ------
    FileFormatError
        If the suffix is unknown, `path` is a directory, or its folder (or the one to make it in) cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise FileFormatError(f"{path} is a directory; give a file ({', '.join(_WRITABLE)}).")
    if path.suffix.lower() not in _WRITABLE:
        raise FileFormatError(f"{path} has no suffix that can be written; give one of {', '.join(_WRITABLE)}.")
    check_folder(path.absolute().parent)
    return path.suffix.lower()


def check_folder(folder: str | Path) -> None:
    """Make sure, before long work starts, that files can be written in a folder, or in the one where it is to be made.

    Raises
    ------
    FileFormatError
    """
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise FileFormatError(f"{existing} cannot be written to ({error.strerror}); choose another folder.") from error


@contextlib.contextmanager
def _complete_or_absent(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place when the block ends well and vanishes otherwise."""
    partial = path.with_name(f".{path.stem}-{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise FileFormatError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
