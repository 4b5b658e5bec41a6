"""Files that are there whole or not at all: every file of this package is written through here."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import FileFormatError


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
        with contextlib.suppress(OSError):
            partial.unlink()


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
    target = Path(path).absolute()
    lock = target.with_name(f".{target.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FileFormatError(f"{target} cannot be written: {error.strerror}; choose another folder.") from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(held, 1000, 0).decode(errors="replace") or "another process"
            raise FileFormatError(f"{path} is being written by {holder}; wait until it has ended, or give another output.") from None
        except OSError:  # a file system without locks
            yield
            return
        if not (lock.exists() and os.path.samestat(os.fstat(held), lock.stat())):  # its last holder took it away meanwhile
            with only_writer(path):
                yield
            return
        with contextlib.suppress(OSError):  # on a full disk the lock holds, too
            os.ftruncate(held, 0)
            os.pwrite(held, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
    finally:
        os.close(held)


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
            with contextlib.suppress(OSError):
                partial.unlink()


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
