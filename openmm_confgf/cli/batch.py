"""Work on many molecules: progress, failures that cost one molecule each, and signals to stop that keep what is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import ConfGFError, FileFormatError
from .interrupts import exit_code_after, signal_name
from .output import note, progress_bar

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..files import MoleculeEntry
    from ..library import Store

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Failure:
    """A molecule that did not come out, by its place in the input and its name."""

    index: int
    name: str
    error: ConfGFError


@dataclasses.dataclass(frozen=True)
class Batch(Generic[Result]):
    """What became of each molecule.

    Attributes
    ----------
    finished : dict of int to result
        By the molecule's place in the input, in the input's order.
    failed : list of Failure
        In the input's order.
    total : int
        How many molecules the input had.
    stopped : int or None
        The exit code, if a signal stopped the work early.
    """

    finished: dict[int, Result]
    failed: list[Failure]
    total: int
    stopped: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or another signal stopped the work early."""
        return self.stopped is not None

    @property
    def exit_code(self) -> int:
        """0 if every molecule came out, 1 if some failed; 130 after Ctrl-C, 143 after SIGTERM."""
        return self.stopped if self.stopped is not None else 1 if self.failed else 0

    def report(self) -> dict[str, Any]:
        """The part of the JSON that all batch commands share."""
        return {
            "failed": [{"index": f.index, "name": f.name, "error": str(f.error)} for f in self.failed],
            "interrupted": self.interrupted,
        }

    def explain(self) -> None:
        """Say on stderr which molecules failed and what a signal left undone."""
        for failure in self.failed:
            note(f"failed: molecule {failure.index + 1} ({failure.name}): {failure.error}")
        done = len(self.finished) + len(self.failed)
        if self.failed or self.interrupted:
            stopped = ""
            if self.stopped is not None:
                stopped = f", {self.total - done} not begun or not finished when {signal_name(self.stopped)} stopped the work"
            note(f"{len(self.finished)} of {self.total} molecules finished, {len(self.failed)} failed{stopped}")


def run_batch(
    names: Sequence[str], stream: Iterable[tuple[int, Result | ConfGFError]], description: str, failed: Iterable[Failure] = ()
) -> Batch[Result]:
    """Collect the results of a stream under a progress bar, until it ends or a signal to stop comes.

    Parameters
    ----------
    names : sequence of str
        Of all molecules of the input; it may grow while they are read, and is complete when the stream has ended.
    stream : iterable of (int, result or ConfGFError)
        As the molecules finish, in any order.
    description : str
        What the progress bar says.
    failed : iterable of Failure
        Molecules that failed before.

    Raises
    ------
    ConfGFError
        If the input is one molecule and that one fails: then there is no batch to save.
    """
    failures = list(failed)
    finished: dict[int, Result] = {}
    stopped = None
    # a single molecule is all or nothing: its bar shows that something goes on
    with progress_bar(description, len(names) if len(names) > 1 else None) as moved:
        moved(completed=len(failures))
        try:
            for index, outcome in stream:
                if isinstance(outcome, ConfGFError):
                    failures.append(Failure(index, names[index], outcome))
                else:
                    finished[index] = outcome
                moved(completed=len(finished) + len(failures))
        except KeyboardInterrupt as interrupt:
            stopped = exit_code_after(interrupt)
        finally:
            # processes and threads that work on the stream end here
            if isinstance(stream, Generator):
                stream.close()
    if len(names) == 1 and failures:
        raise failures[0].error
    failures.sort(key=lambda failure: failure.index)
    return Batch(dict(sorted(finished.items())), failures, len(names), stopped)


def tell_notes(entries: Iterable[MoleculeEntry]) -> None:
    """Say once each what was done to molecules on reading."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        for text in entry.notes:
            names.setdefault(text, []).append(entry.name)
    for text, of in names.items():
        note(f"{of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {text}")


def run_kept_batch(
    store: Store | None,
    names: Sequence[str],
    stream: Iterable[tuple[int, Ensemble | ConfGFError]],
    report: Callable[[int, Ensemble], Result],
    description: str,
    failed: Iterable[Failure] = (),
) -> Batch[Result]:
    """As `run_batch`, for ensembles that a store keeps, of which the batch has a report each; it goes where the only molecule failed."""
    try:
        batch = run_batch(names, attempt_each(stream, report), description, failed)
        if store is not None and batch.interrupted:
            # the signal may have come before those that an earlier call finished were read
            unread = [index for index in store.placed() if index not in batch.finished]
            found = batch.finished | {index: report(index, ensemble) for index, ensemble in store.ensembles(unread)}
            batch = dataclasses.replace(batch, finished=dict(sorted(found.items())))
        return batch
    except ConfGFError:
        if store is not None and not store.ensembles_kept:
            store.remove()
        raise


def write_kept(batch: Batch[Any], store: Store, output: Path) -> list[Path]:
    """Write the finished molecules in the input's order, from their store; it goes when the batch is complete.

    Raises
    ------
    FileFormatError
        If the file cannot be written; the store stays.
    """
    from ..files import write_numbered

    try:
        files = write_numbered(store.ensembles(batch.finished), batch.total, output) if batch.finished else []
    except FileFormatError as error:
        if str(store.folder) in str(error):  # something is wrong with the store, and it says how to go on
            raise
        raise FileFormatError(f"{error} What is finished is kept in {store.folder}; go on with --resume.") from error
    if not batch.interrupted:
        store.remove()
    elif len(store):
        note(f"what is finished is kept in {store.folder}; the same command goes on from there with --resume")
    return files


def named(given: Iterable[Ensemble | ConfGFError], path: Path, names: list[str]) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
    """The molecules of a file with their indices; their names (`names_of`) are added to `names` as they are read."""
    for index, outcome in enumerate(given):
        names += names_of([outcome], path)
        yield index, outcome


def names_of(given: Sequence[Ensemble | ConfGFError], path: Path) -> list[str]:
    """What the molecules of a file are called; one that could not be read is named by its file, and by the record in its error."""
    return [path.name if isinstance(outcome, ConfGFError) else outcome.graph.name for outcome in given]


def attempt_each(
    stream: Iterable[tuple[int, Item | ConfGFError]], work: Callable[[int, Item], Result]
) -> Iterator[tuple[int, Result | ConfGFError]]:
    """Do `work` on each item (its index, itself); an error of this package, there already or raised, is that item's result."""
    for index, item in stream:
        if isinstance(item, ConfGFError):
            yield index, item
            continue
        try:
            yield index, work(index, item)
        except ConfGFError as error:
            yield index, error


def status_text(report: Mapping[str, Any]) -> str:
    """What the report of a molecule (`describe`) tells in tables: counts by status, and what stereo is left open."""
    counts = [f"{number} {status}" for status, number in report["status"].items()]
    return ", ".join([*counts, *([report["unspecified_stereo"]] if report["unspecified_stereo"] else [])])
