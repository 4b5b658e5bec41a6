"""Where things are printed: results on stdout, as one JSON object or for people; everything else on stderr."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def note(message: str) -> None:
    """One line on stderr, whatever a molecule's name or a library's error brings along."""
    print(" ".join(message.splitlines()), file=sys.stderr)


@contextlib.contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar on stderr, shown on terminals only.

    Yields a function that moves it: ``moved(completed=3)``, and ``description`` and ``total`` where they change.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield functools.partial(progress.update, task)


@contextlib.contextmanager
def results_only_on_stdout() -> Iterator[Callable[[str], None]]:
    """Send what libraries print to stderr; yields the function that writes to the real stdout."""
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield lambda text: print(text, file=stdout, flush=True)


def as_json(report: dict[str, Any]) -> str:
    """One line of JSON; numbers that are not finite become null, since JSON has none.

    Raises
    ------
    ValueError
        If the report does not name its command.
    """
    if not report.get("command"):
        raise ValueError("A report names its command.")
    return json.dumps(_finite(report), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
