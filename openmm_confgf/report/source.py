"""What a report is asked of: a file of conformations, the folder of a run, or that of a library."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from ..ensemble import Ensemble
from ..errors import ConfGFError, FileFormatError
from ..files import check_folder, iter_ensembles, suffix_of
from ..writing import clear_leftovers, write_whole
from . import provenance
from .conformations import ensemble_page, library_page
from .page import Page
from .runs import run_page

_SUFFIXES = (".sdf", ".mol", ".pdb", ".h5")
_KINDS = "conformers (.sdf, .mol, .pdb, .h5), or the folder of a training, an alignment or a library"


def write_report(source: Ensemble | str | Path, path: str | Path = "report.html") -> Path:
    """Write a report as one HTML file that works offline.

    Parameters
    ----------
    source : Ensemble, str or Path
        An ensemble; a file of one or of many; the folder of a training or of an alignment, or what a call on many molecules keeps of those
        that are finished (``out.sdf.partial``).
    path : str or Path
        Ends in ``.html``; missing folders are made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileFormatError
        If `source` is none of these or damaged, or the file cannot be written.
    ConfGFError
        As reading molecules and cards raises it.
    """
    target = check_report(path)
    page = ensemble_page(source) if isinstance(source, Ensemble) else report_page(source)
    return write_whole(target, page.to_bytes())


def check_report(path: str | Path) -> Path:
    """Make sure, before long work starts, that a report can be written to `path`; gives it back.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FileFormatError
        If it does not end in ``.html``, is a directory, or its folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise FileFormatError(f"{path} is no name of a report; give a file that ends in .html.")
    if path.is_dir():
        raise FileFormatError(f"{path} is a directory; give a file that ends in .html.")
    check_folder(path.absolute().parent)
    clear_leftovers(path)
    return path


def report_page(source: str | Path) -> Page:
    """The report of what a path leads to.

    Parameters
    ----------
    source : str or Path

    Raises
    ------
    FileFormatError
        If it is nothing that a report can be made of, or damaged.
    ConfGFError
        As reading molecules and cards raises it.
    """
    path = Path(source)
    if path.is_dir():
        return _folder_page(path)
    if not path.exists():
        raise FileFormatError(f"{path} does not exist; give {_KINDS}.")
    if suffix_of(path) not in _SUFFIXES:
        raise FileFormatError(f"{path} is nothing that a report can be made of; give {_KINDS}.")
    outcomes = iter_ensembles(path)
    first, second = next(outcomes), next(outcomes, None)
    if second is None:
        if isinstance(first, ConfGFError):
            raise first
        return ensemble_page(first, provenance.of_file(path))
    page = library_page(itertools.chain([first, second], outcomes), path.name, provenance.of_file(path))
    if all(one.problem for one in page.index):
        raise FileFormatError(f"{path} has no record that can be used; the first: {page.index[0].problem}")
    return page


def _folder_page(folder: Path) -> Page:
    if (folder / "log.jsonl").exists():
        return run_page(folder)
    if not any(folder.glob("[!.]*.h5")):
        raise FileFormatError(f"{folder} has neither the log of a run (log.jsonl) nor ensembles (.h5); give {_KINDS}.")
    return library_page(_kept(folder), folder.resolve().name, provenance.of_file(folder))


def _kept(folder: Path) -> Iterator[Ensemble | ConfGFError]:
    """The molecules of a `library.Store`, or of any folder of .h5 files; one that is damaged is its own error."""
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix == ".h5":
            try:
                yield from iter_ensembles(path)
            except ConfGFError as error:
                yield error
        elif path.suffix == ".json" and path.name != "call.json":
            yield _failure(path)


def _failure(path: Path) -> ConfGFError:
    try:
        return ConfGFError(str(json.loads(path.read_text())["message"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return FileFormatError(f"{path.name} is damaged ({error}).")
