"""Work on many molecules: progress, failures that cost one molecule each, and Ctrl-C that keeps what is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import ConfGFError, GenerationError
from .output import note, progress_bar

if TYPE_CHECKING:
    from ..ensemble import Ensemble

Item = TypeVar("Item")
Result = TypeVar("Result")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""


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
    interrupted : bool
        Whether Ctrl-C stopped the work early.
    """

    finished: dict[int, Result]
    failed: list[Failure]
    total: int
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0 if every molecule came out, 1 if some failed, 130 after Ctrl-C."""
        return INTERRUPTED if self.interrupted else 1 if self.failed else 0

    def report(self) -> dict[str, Any]:
        """The part of the JSON that all batch commands share."""
        return {
            "failed": [{"index": f.index, "name": f.name, "error": str(f.error)} for f in self.failed],
            "interrupted": self.interrupted,
        }

    def explain(self) -> None:
        """Say on stderr which molecules failed and what Ctrl-C left undone."""
        for failure in self.failed:
            note(f"failed: molecule {failure.index + 1} ({failure.name}): {failure.error}")
        done = len(self.finished) + len(self.failed)
        if self.failed or self.interrupted:
            stopped = f", {self.total - done} not begun or not finished when Ctrl-C stopped the work" if self.interrupted else ""
            note(f"{len(self.finished)} of {self.total} molecules finished, {len(self.failed)} failed{stopped}")


def run_batch(
    names: Sequence[str], stream: Iterable[tuple[int, Result | ConfGFError]], description: str, failed: Iterable[Failure] = ()
) -> Batch[Result]:
    """Collect the results of a stream under a progress bar.

    Parameters
    ----------
    names : sequence of str
        Of all molecules of the input.
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
    interrupted = False
    with progress_bar(description, len(names)) as moved:
        moved(completed=len(failures))
        try:
            for index, outcome in stream:
                if isinstance(outcome, ConfGFError):
                    failures.append(Failure(index, names[index], outcome))
                else:
                    finished[index] = outcome
                moved(completed=len(finished) + len(failures))
        except KeyboardInterrupt:
            interrupted = True
    if len(names) == 1 and failures:
        raise failures[0].error
    failures.sort(key=lambda failure: failure.index)
    return Batch(dict(sorted(finished.items())), failures, len(names), interrupted)


def with_usable(ensemble: Ensemble, advice: str) -> Ensemble:
    """The ensemble, once one of its conformations is known to be OK.

    Raises
    ------
    GenerationError
        If none is: that molecule failed.
    """
    if ensemble.ok.any():
        return ensemble
    raise GenerationError(f"no conformation of {ensemble.graph.name!r} is usable ({status_text(ensemble)}); {advice}.")


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


def status_text(ensemble: Ensemble) -> str:
    """Counts by status, for tables."""
    return ", ".join(f"{number} {status}" for status, number in ensemble.counts().items())
