"""Where things are printed: results on stdout, as one JSON object or for people; everything else on stderr."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

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
    """Send what libraries print to stderr, from C as well; yields the function that writes to the real stdout."""
    stdout = sys.stdout
    stdout.flush()
    descriptor = os.dup(1)
    with open(descriptor, "w", encoding=stdout.encoding or "utf-8", errors=stdout.errors) as real, contextlib.redirect_stdout(sys.stderr):
        # whoever replaced sys.stdout, as tests do, does not write to descriptor 1 through it
        results = real if _is_descriptor_1(stdout) else stdout
        os.dup2(2, 1)
        try:
            yield lambda text: print(text, file=results, flush=True)
        finally:
            _flush_c()
            os.dup2(descriptor, 1)


def _is_descriptor_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (OSError, AttributeError):  # it is no file
        return False


def _flush_c() -> None:
    """Write what C libraries printed and have not written yet; Python's own streams know nothing of it."""
    (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).fflush(None)


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
