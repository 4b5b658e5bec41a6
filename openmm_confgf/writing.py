"""Files that are there whole or not at all: every file of this package is written through here."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import BinaryIO, ParamSpec, TypeVar

from .errors import FileFormatError

Arguments = ParamSpec("Arguments")
ResultT = TypeVar("ResultT")

UNINTERRUPTED: set[CodeType] = set()
"""Functions that a signal waits for."""


def uninterrupted(function: Callable[Arguments, ResultT]) -> Callable[Arguments, ResultT]:
    """Let signals that ask to stop wait for a function: `cli.interrupts` raises nothing while it runs, nor while what it calls does."""
    UNINTERRUPTED.add(function.__code__)
    return function


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A stream of bytes that becomes the file `path` when the block ends well, and leaves an earlier file as it is otherwise.

    The stream writes to a temporary name beside `path`, which is flushed to the disk and renamed. Everything goes through it: libraries
    that open files themselves (RDKit's writer, HDF5) may report success on a full disk.

    Parameters
    ----------
    path : str or Path
        Missing folders are made.

    Yields
    ------
    BinaryIO

    Raises
    ------
    FileFormatError
        If the file cannot be written, on a full disk for example.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}-{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if os.fstat(stream.fileno()).st_size != stream.tell():
                raise OSError("the disk took less than was written")
        partial.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        kept = ", and the earlier file is as it was" if target.exists() else ""
        problem = error.strerror or error
        raise FileFormatError(f"{target} cannot be written: {problem}{kept}; make room, or choose another folder.") from error
    finally:
        _remove(partial)


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a text (in UTF-8) or bytes as `whole_file` does; gives the path back.

    Parameters
    ----------
    path : str or Path
        Missing folders are made.
    content : str or bytes

    Raises
    ------
    FileFormatError
        If the file cannot be written; an earlier one is then as it was.
    """
    with whole_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextlib.contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """While the block runs, no other process that asks for it may write the same file or folder, on whatever machine of a shared disk.

    The lock is on a file beside `path`, ``.<name>.lock``, which goes when the block ends. If the process is killed, the system lets go of
    the lock, and the file is taken over by the next one.

    Parameters
    ----------
    path : str or Path
        What is going to be written; it need not exist, and missing folders are made.

    Raises
    ------
    FileFormatError
        If another process is writing it, or its folder cannot be written to.
    """
    lock = _WriterLock(path)
    try:
        lock.take()
        yield
    finally:
        lock.release()


class _WriterLock:
    """The lock of `only_writer`; `release` makes good whatever `take` has done."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.target = path, Path(path).absolute()
        self.file = self.target.with_name(f".{self.target.name}.lock")
        self._held: int | None = None
        self._owned = False

    @uninterrupted
    def take(self) -> None:
        while not self._owned:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._held = held = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise FileFormatError(f"{self.target} cannot be written: {error.strerror}; choose another folder.") from error
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(held, 1000, 0).decode(errors="replace") or "another process"
                raise FileFormatError(
                    f"{self.path} is being written by {holder}; wait until it has ended, or give another output."
                ) from None
            except OSError:  # a file system without locks
                return
            if self.file.exists() and os.path.samestat(os.fstat(held), self.file.stat()):
                self._owned = True
            else:  # its last holder took it away meanwhile
                self.release()
        with contextlib.suppress(OSError):  # on a full disk the lock holds, too
            os.ftruncate(held, 0)
            os.pwrite(held, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)

    @uninterrupted
    def release(self) -> None:
        if self._owned:
            _remove(self.file)
            self._owned = False
        if self._held is not None:
            os.close(self._held)
            self._held = None

    __del__ = release  # where a signal came between the two


def clear_leftovers(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote left behind.

    What processes that still run are writing stays, and so does what cannot be removed.

    Parameters
    ----------
    path : str or Path
        A folder, for all files in it (not in folders below); or a file, for what was to become this one.
    """
    target = Path(path)
    folder, name = (target, "*") if target.is_dir() else (target.parent, glob.escape(target.name))
    for partial in folder.glob(f".{name}-*.partial"):
        writer = partial.name.removesuffix(".partial").rpartition("-")[2]
        if writer.isdigit() and not _runs(int(writer)):
            _remove(partial)


@uninterrupted
def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or a system that cannot tell
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
