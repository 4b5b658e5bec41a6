"""HDF5 files that the library may be given: it may hang or crash on bytes that a disk or a transfer spoiled.

Files of this package end with the SHA-256 of all bytes before, which HDF5 does not look at, and which goes when another program edits the
file. Any other file is read in a process of its own first, with an end to its time and memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

from ..errors import FileFormatError

_MARK = b"\nopenmm_confgf sha256\n"
_SEAL = len(_MARK) + hashlib.sha256().digest_size

_SECONDS = 5
"""CPU time for a file that has no seal, and one more for each of these bytes."""
_BYTES_PER_SECOND = 10**7

_PATIENCE = 12
"""How many times as long by the clock, on a machine that is busy."""

_TRIAL = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:  # Windows, where the clock alone ends it
    pass
import h5py
def read(name, item):
    dict(item.attrs)
    if isinstance(item, h5py.Dataset):
        item[()]
with h5py.File(sys.argv[1], "r") as file:
    read("/", file)
    file.visititems(read)
"""

_LARGEST_RATIO = 1100
"""Bytes that one byte of deflate can stand for, at most."""
_OVERHEAD = 2**30


def sealed(image: bytes) -> bytes:
    """An HDF5 file with its checksum at the end.

    Parameters
    ----------
    image : bytes
        All bytes of the file.
    """
    return image + _MARK + hashlib.sha256(image).digest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading, once its seal was found intact, or it has none and all of it can be read.

    Parameters
    ----------
    path : Path

    Yields
    ------
    h5py.File

    Raises
    ------
    FileFormatError
        If the file was damaged, or is none that HDF5 reads.
    """
    if not _is_sealed(path):
        _try_apart(path)
    with h5py.File(path, "r") as file:
        yield file


def _is_sealed(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _SEAL))
        seal = stream.read()
        if not seal.startswith(_MARK):
            return False
        stream.seek(0)
        total, left = hashlib.sha256(), size - _SEAL
        while left and (block := stream.read(min(left, 2**20))):
            total.update(block)
            left -= len(block)
    if total.digest() != seal.removeprefix(_MARK):
        raise FileFormatError(f"{path} was damaged: its checksum is not that of its content; write it again.")
    return True


def _try_apart(path: Path) -> None:
    """Let another process read all of a file, which ends with it where HDF5 never would."""
    size = path.stat().st_size
    seconds, memory = _SECONDS + size // _BYTES_PER_SECOND, _OVERHEAD + _LARGEST_RATIO * size
    command = [sys.executable, "-c", _TRIAL, str(path.resolve()), str(seconds), str(memory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    try:
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=_PATIENCE * seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise FileFormatError(f"{path} is truncated or no HDF5 file; write it again.") from error
