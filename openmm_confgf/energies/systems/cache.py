"""Systems kept in one file, so that a molecule is parametrised once."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import openmm

from ...errors import FileFormatError
from .xml import system_of_xml


class SystemCache:
    """A file of OpenMM Systems by key. SQLite, so that several processes may share it.

    Parameters
    ----------
    path : str or Path
        Created where it does not exist.

    Raises
    ------
    FileFormatError
        If it cannot be opened, or is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._execute("CREATE TABLE IF NOT EXISTS systems (key TEXT PRIMARY KEY, xml TEXT NOT NULL)")

    def get(self, key: str) -> openmm.System | None:
        """The System kept under a key, or None.

        Parameters
        ----------
        key : str

        Raises
        ------
        FileFormatError
            If the file cannot be used, or holds something else; nothing of it is run then.
        """
        rows = self._execute("SELECT xml FROM systems WHERE key = ?", key)
        return system_of_xml(str(rows[0][0]), self._refuse) if rows else None

    def put(self, key: str, system: openmm.System) -> None:
        """Keep a System under a key, in place of one that is there.

        Parameters
        ----------
        key : str
        system : openmm.System

        Raises
        ------
        FileFormatError
            If the file cannot be used.
        """
        self._execute("INSERT OR REPLACE INTO systems VALUES (?, ?)", key, openmm.XmlSerializer.serialize(system))

    def _refuse(self, function: str) -> None:
        raise FileFormatError(
            f"{self.path} holds a System with a PythonForce, which no force field makes, and reading it would run what is in it; "
            "name a new file as the cache."
        )

    def _execute(self, command: str, *values: str) -> list[tuple[str, ...]]:
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
                return connection.execute(command, values).fetchall()
        except sqlite3.Error as error:
            raise FileFormatError(f"{self.path} cannot be used as a cache of Systems ({error}); name a new or writable file.") from error
