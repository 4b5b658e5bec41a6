"""Ensembles from and to files, by the file's suffix."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..ensemble import Ensemble
from ..errors import ConfGFError, FileFormatError
from ..writing import clear_leftovers, whole_file, write_whole
from . import hdf5, pdb, sdf
from .source import check_readable, lines_of, uncompressed

_READABLE = (".sdf", ".mol", ".pdb", ".h5")
_WRITABLE = (".sdf", ".pdb", ".h5")


def read_ensembles(path: str | Path) -> list[Ensemble]:
    """The ensembles of an .sdf, .mol, .pdb or .h5 file; the first three may be compressed (.sdf.gz).

    Consecutive records of an SDF file that are the same molecule in the same atom order are one ensemble. Energies, statuses and provenance
    come from this package's own properties (``openmm_confgf_energy_kj_per_mol`` ...), as long as a record's geometry and molecule are the
    ones that they were written for: where some of an ensemble's records were edited or have no energy, it has none, and
    ``provenance.settings["edited_records"]`` tells their numbers. Other properties and the titles are in ``properties``. All conformations
    are checked anew. An .h5 file gives back exactly what was written.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FileFormatError
        If the file does not exist, is empty, truncated or of another format, or a record has no 3D coordinates.
    MoleculeError
        If a molecule is incomplete; the message names the record.
    """
    ensembles = []
    for outcome in iter_ensembles(path):
        if isinstance(outcome, ConfGFError):
            raise outcome
        ensembles.append(outcome)
    return ensembles


def read_each_ensemble(path: str | Path) -> list[Ensemble | ConfGFError]:
    """As `read_ensembles`, but SDF records that cannot be used are their own errors in the list, and stop no others.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FileFormatError
        If the file as a whole cannot be read.
    MoleculeError
        If the molecule of a .pdb file is incomplete.
    """
    return list(iter_ensembles(path))


def iter_ensembles(path: str | Path) -> Iterator[Ensemble | ConfGFError]:
    """As `read_each_ensemble`, one after the other as the file is read: of an SDF file, one ensemble is in memory at a time.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    Ensemble or ConfGFError
        An error stands for a record that cannot be used.

    Raises
    ------
    FileFormatError, MoleculeError
        As `read_each_ensemble`; what is wrong with later lines of the file, only when they are read.
    """
    path = Path(path)
    suffix = check_readable(path, _READABLE)
    if suffix == ".h5":
        return iter([hdf5.read_hdf5(path)])
    if suffix == ".pdb":
        with uncompressed(path) as file:
            return iter([pdb.read_pdb_ensemble(file)])
    return _at_least_one(sdf.iter_sdf(lines_of(path), path.name, str(path)), path)


def _at_least_one(outcomes: Iterator[Ensemble | ConfGFError], path: Path) -> Iterator[Ensemble | ConfGFError]:
    first = next(outcomes, None)
    if first is None:
        raise FileFormatError(f"{path} holds no molecule; give a file that has at least one.")
    return itertools.chain([first], outcomes)


def write_ensembles(ensembles: Ensemble | Sequence[Ensemble], path: str | Path) -> list[Path]:
    """Write ensembles as the suffix says: .sdf, .pdb or .h5.

    An .h5 file keeps everything. An .sdf or .pdb file takes the usable samples only; ``Ensemble.counts()`` tells how many the others are.
    An .sdf file takes all ensembles; of .pdb and .h5 there is one file for each if there are several, with its number from 0 and the
    molecule's name (``out-0000-aspirin.pdb``, ``out-0001-ibuprofen.pdb`` ...). Each file is complete or not there. Missing folders are
    made.

    Parameters
    ----------
    ensembles : Ensemble or sequence of Ensemble
    path : str or Path

    Returns
    -------
    list of Path
        The files, in the order of the ensembles. An ensemble without usable samples has no .pdb file.

    Raises
    ------
    FileFormatError
        If the suffix is unknown, the folder cannot be written, or there is nothing to write.
    """
    # an ensemble is a sequence too, of its samples
    several = [ensembles] if isinstance(ensembles, Ensemble) else ensembles
    return write_numbered(enumerate(several), len(several), path)


def write_numbered(numbered: Iterable[tuple[int, Ensemble]], total: int, path: str | Path) -> list[Path]:
    """As `write_ensembles`, for some ensembles of an input, by their numbers in it from 0; one after the other, so that few are in memory.

    Parameters
    ----------
    numbered : iterable of (int, Ensemble)
    total : int
        How many molecules the input has. Where there are several, .pdb and .h5 files have the number and the molecule's name in theirs.
    path : str or Path

    Returns
    -------
    list of Path

    Raises
    ------
    FileFormatError
        As `write_ensembles`.
    """
    path = Path(path)
    suffix = check_writable(path)
    if suffix == ".sdf":
        written = [path] if _write_sdf((ensemble for _, ensemble in numbered), path) else []
    else:
        written = []
        for number, ensemble in numbered:
            target = path if total == 1 else _numbered(path, number, total, ensemble.graph.name)
            if suffix == ".h5":
                written.append(write_whole(target, hdf5.hdf5_bytes(ensemble)))
            elif ensemble.ok.any():
                with whole_file(target) as stream:
                    pdb.write_pdb(ensemble, stream)
                written.append(target)
    if not written:
        raise FileFormatError(f"There is no usable conformation to write to {path}; an .h5 file would keep the others and their statuses.")
    return written


def _write_sdf(ensembles: Iterable[Ensemble], path: Path) -> int:
    """Write one SDF file, unless no conformation is usable; gives the number of its records."""
    meant = 0

    def counted() -> Iterator[Ensemble]:
        nonlocal meant
        for ensemble in ensembles:
            meant += int(ensemble.ok.sum())
            yield ensemble

    source = counted()
    first = next((ensemble for ensemble in source if ensemble.ok.any()), None)
    if first is None:
        return 0
    with whole_file(path) as stream:
        written = sdf.write_sdf(itertools.chain([first], source), stream)
        if written != meant:
            raise FileFormatError(f"{path} cannot be written: {written} records were made of {meant} conformations; give an .h5 file.")
    return written


_LONGEST_NAME = 40


def _numbered(path: Path, number: int, total: int, name: str) -> Path:
    """``out-0003-ibuprofen.pdb``: the number tells files apart, whatever the molecule's name, which is made one that a file can have."""
    safe = re.sub(r"[^A-Za-z0-9+=-]+", "_", name).strip("_-")[:_LONGEST_NAME]
    digits = max(4, len(str(total - 1)))
    return path.with_name("-".join([path.stem, f"{number:0{digits}d}", *([safe] if safe else [])]) + path.suffix)


def write_run(ensemble: Ensemble, state: Mapping[str, NDArray[Any]], path: str | Path) -> None:
    """Write the ensemble of a run, and the state that it goes on from, to an .h5 file: both or none.

    Parameters
    ----------
    ensemble : Ensemble
    state : mapping of str to array
        As `hdf5_bytes` takes it.
    path : str or Path
        Missing folders are made.

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    """
    write_whole(path, hdf5.hdf5_bytes(ensemble, state))


def read_run(path: str | Path) -> tuple[Ensemble, dict[str, Any]]:
    """What `write_run` wrote.

    Parameters
    ----------
    path : str or Path
        An .h5 file.

    Returns
    -------
    ensemble : Ensemble
    state : dict of str to array

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

    What processes that were killed left there of the same file is removed.

    Parameters
    ----------
    path : str or Path
        The file need not exist.

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
    clear_leftovers(path)
    return path.suffix.lower()


def check_folder(folder: str | Path) -> None:
    """Make sure, before long work starts, that files can be written in a folder, or in the one where it is to be made.

    Parameters
    ----------
    folder : str or Path
        It need not exist.

    Raises
    ------
    FileFormatError
        If they cannot.
    """
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise FileFormatError(f"{existing} cannot be written to ({error.strerror}); choose another folder.") from error
