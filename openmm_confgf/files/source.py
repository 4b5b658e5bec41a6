"""What a file is by its name, and its lines, compressed or not, whatever its encoding and line ends."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import ConfGFError, FileFormatError

COMPRESSED = ".gz"
_HEAD = 4096
_ESCAPED = re.compile("[\udc80-\udcff]")
"""How Python keeps bytes that are not UTF-8."""


def suffix_of(path: str | Path) -> str:
    """The suffix that tells the format, in lower case; that of ``x.sdf.gz`` is ``.sdf``.

    Parameters
    ----------
    path : str or Path
    """
    path = Path(path)
    return Path(path.stem).suffix.lower() if path.suffix.lower() == COMPRESSED else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The name of a file without its folder, its suffix and a ``.gz`` after that.

    Parameters
    ----------
    path : Path
    """
    return Path(path.stem).stem if path.suffix.lower() == COMPRESSED else path.stem


def check_readable(path: Path, suffixes: tuple[str, ...]) -> str:
    """The suffix of a file (without .gz), once it is known to be one of `suffixes`, to exist and to hold something.

    Parameters
    ----------
    path : Path
    suffixes : tuple of str
        In lower case, each with its dot.

    Raises
    ------
    FileFormatError
        If it is a directory, empty, of another suffix or no text where it should be, or cannot be read.
    """
    suffix = suffix_of(path)
    if path.is_dir():
        raise FileFormatError(f"{path} is a directory; give a file ({', '.join(suffixes)}).")
    if suffix not in suffixes:
        raise FileFormatError(f"{path} has no suffix that can be read here; give one of {', '.join(suffixes)}.")
    with _said_of(path), _opened(path) as stream:
        head = stream.read(_HEAD)
    if not head:
        raise FileFormatError(f"{path} is empty; give a file that has at least one molecule.")
    if suffix != ".h5" and b"\0" in head:
        raise FileFormatError(f"{path} is no text file in UTF-8; save it as one.")
    return suffix


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, compressed or not, as `lines_in` gives them.

    Parameters
    ----------
    path : Path

    Yields
    ------
    str

    Raises
    ------
    FileFormatError
        If it cannot be read; of a truncated .gz file, after the lines that are there.
    """
    with _said_of(path), _opened(path) as stream:
        yield from lines_in(stream)


def lines_in(stream: BinaryIO) -> Iterator[str]:
    """The lines of a stream without their ends (Windows' or others) and without a byte order mark; zero bytes are replaced.

    A line that is not UTF-8 is read as Latin-1: what is beyond ASCII in these formats is names.

    Parameters
    ----------
    stream : binary stream
        Closed at the end.

    Yields
    ------
    str
    """
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
        for line in text:
            if not line.isascii() and _ESCAPED.search(line):
                line = line.encode("utf-8", "surrogateescape").decode("latin-1")
            yield line.rstrip("\n").replace("\0", "\ufffd")


@contextlib.contextmanager
def uncompressed(path: Path) -> Iterator[Path]:
    """The file itself, or for a .gz file a temporary one of the same name without .gz.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        The temporary file goes with the context.

    Raises
    ------
    FileFormatError
        If the .gz file cannot be read. A `ConfGFError` that names the temporary file names this one instead.
    """
    if path.suffix.lower() != COMPRESSED:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.stem
        with _said_of(path), _opened(path) as stream:
            copy.write_bytes(stream.read())
        try:
            yield copy
        except ConfGFError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix.lower() == COMPRESSED else path.open("rb")  # type: ignore[return-value]  # GzipFile is one


@contextlib.contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile as error:
        raise FileFormatError(f"{path} is no gzip file; give it its own suffix, or compress it again.") from error
    except (EOFError, zlib.error) as error:
        raise FileFormatError(f"{path} is truncated or damaged; copy or compress it again.") from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}.") from error
