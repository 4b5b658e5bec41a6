"""Signals that ask to stop: they reach Python, whatever library is at work, and the exit code tells which it was."""

from __future__ import annotations

import _thread
import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ParamSpec

import typer

from ..writing import UNINTERRUPTED
from .output import note

Arguments = ParamSpec("Arguments")

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C, what schedulers and `timeout` send, and what a terminal that closes sends."""

_AGAIN = 0.02
"""Seconds after which a signal that fell into what it waits for is passed on once more."""


class Stopped(KeyboardInterrupt):
    """A signal asked to stop; whoever cleans up after Ctrl-C does so after this as well.

    Libraries swallow it: by an ``except`` without a name, or where Python cannot raise, in destructors. Then it goes without anybody
    having asked `exit_code_after`, and `pass_on` is called.

    Parameters
    ----------
    number : int
        Of the signal.
    pass_on : callable, optional
        Called with the number if nobody noticed.
    """

    def __init__(self, number: int, pass_on: Callable[[int], None] = lambda number: None) -> None:
        super().__init__()
        self.number, self.noticed, self._pass_on = number, False, pass_on

    def __del__(self) -> None:
        if not self.noticed:
            self._pass_on(self.number)


def exit_code_after(interrupt: KeyboardInterrupt) -> int:
    """As shells have it, 128 + the signal: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. Who asks has noticed the signal."""
    if isinstance(interrupt, Stopped):
        interrupt.noticed = True
        return 128 + interrupt.number
    return 128 + signal.SIGINT


def signal_name(exit_code: int) -> str:
    """What stopped a command, by its exit code: Ctrl-C or the signal's name."""
    number = signal.Signals(exit_code - 128)
    return "Ctrl-C" if number == signal.SIGINT else number.name


def ends_when_asked(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """A command that says in one line that it was stopped, where it keeps nothing itself, and exits with the signal's code."""

    @functools.wraps(command)
    def stoppable(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as interrupt:
            code = exit_code_after(interrupt)
            note(f"stopped by {signal_name(code)}")
            raise typer.Exit(code) from None

    return stoppable


@contextlib.contextmanager
def signals_for_python_only() -> Iterator[None]:
    """Let signals that ask to stop become a KeyboardInterrupt in the main thread, and be seen by nothing else.

    RDKit takes Ctrl-C for itself while it embeds or matches substructures, returns what it has so far, and Python never hears of it:
    Ctrl-C would not stop a batch, and cost conformers or symmetries on the way. So the signals are blocked in all threads (those that are
    started inside inherit this) but one, which waits for them and passes them on. A call into a library is finished before they are
    noticed, and so is an import: modules that are half initialised answer an exception with others of their own; and so is what is
    `writing.uninterrupted`. What a library swallows is raised again. A signal that is ignored, as SIGHUP under `nohup`, stays so.
    """
    # Windows has no signal masks; there Ctrl-C stays as it is
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in _NAMES)}
    heard = {number for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    numbers = heard | {signal.SIGINT}
    wanted: set[int] = set()
    under_way = _waited_for(sys._getframe())

    finished = threading.Event()
    watcher = threading.Thread(target=_pass_on, args=(numbers, wanted, finished), daemon=True)
    report_unraisable = sys.unraisablehook

    def pass_on(number: int) -> None:
        if not finished.is_set() and watcher.ident is not None:
            signal.pthread_kill(watcher.ident, number)

    def stop(number: int, frame: FrameType | None) -> None:
        if number in wanted and _waited_for(frame) <= under_way and not finished.is_set():
            wanted.clear()
            raise Stopped(number, pass_on)

    def report_others(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            report_unraisable(unraisable)

    for number in heard:
        signal.signal(number, stop)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    sys.unraisablehook = report_others
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        if watcher.ident is not None:
            signal.pthread_kill(watcher.ident, signal.SIGINT)
        watcher.join()
        sys.unraisablehook = report_unraisable
        for number in heard:
            signal.signal(number, handlers[number])
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _waited_for(frame: FrameType | None) -> int:
    """How many imports, and functions that a signal waits for, are under way where a frame runs."""
    count = 0
    while frame is not None:
        code = frame.f_code
        count += code in UNINTERRUPTED
        count += code.co_filename == "<frozen importlib._bootstrap>" and code.co_name == "_find_and_load"
        frame = frame.f_back
    return count


def _pass_on(numbers: set[signal.Signals], wanted: set[int], finished: threading.Event) -> None:
    while True:
        number = signal.Signals(signal.sigwait(numbers))
        if signal.getsignal(number) is not signal.SIG_IGN:
            wanted.add(number)
        while number in wanted and not finished.is_set():
            _thread.interrupt_main(number)
            finished.wait(_AGAIN)
        if finished.is_set():
            return
