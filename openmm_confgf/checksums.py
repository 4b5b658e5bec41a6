"""Checksums of files, and the short hash under which weights list the molecules they were trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import FileFormatError


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror}.") from error


def molecule_hash(constitution: str) -> str:
    """Short hash of a molecule: the first 12 hexadecimal digits of the SHA-256 of its SMILES without stereo.

    Parameters
    ----------
    constitution : str
        `MolecularGraph.constitution`.

    Examples
    --------
    >>> molecule_hash("CCO")
    'ab1de819ede9'
    """
    return hashlib.sha256(constitution.encode()).hexdigest()[:12]
