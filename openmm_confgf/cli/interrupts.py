"""Ctrl-C that reaches Python, whatever library is at work."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_for_python_only() -> Iterator[None]:
    """Let SIGINT become a KeyboardInterrupt in the main thread, and be seen by nothing else.

    RDKit takes the signal for itself while it embeds or matches substructures, returns what it has so far, and Python never hears of it:
    Ctrl-C would not stop a batch, and cost conformers or symmetries on the way. So the signal is blocked in all threads (those that are
    started inside inherit this) but one, which waits for it and passes it on. A call into a library is finished before it is noticed.
    """
    # Windows has no signal masks; there Ctrl-C stays as it is
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    finished = threading.Event()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    watcher = threading.Thread(target=_pass_on, args=(finished,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        if watcher.ident is not None:
            signal.pthread_kill(watcher.ident, signal.SIGINT)
        watcher.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pass_on(finished: threading.Event) -> None:
    while True:
        signal.sigwait({signal.SIGINT})
        if finished.is_set():
            return
        _thread.interrupt_main()
