"""A folder of seeds and its manifest: seeds of one call only, and listed only once all their files are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..files import check_folder
from ..writing import write_whole

MANIFEST = "manifest.json"

_SEED_FILES = ("seed-*-state.xml", "seed-*-system.xml", "seed-*.pdb")
_LEFT_BY_A_KILL = (".seed-*.partial", f".{MANIFEST}-*.partial")
_CALL = "call"


class SeedFolder:
    """Writes the seeds of one call and a manifest that lists them.

    A kill at any time leaves a manifest of seeds whose files are complete. What an earlier run of the same call left is replaced.

    Parameters
    ----------
    path : Path
        Created with the first seed.
    call : mapping
        What decides the seeds, in JSON's types; the same call may be repeated in the folder, another may not.
    about : mapping
        What else the manifest tells.

    Raises
    ------
    FileFormatError
        If the folder holds other seeds, or cannot be written.
    """

    def __init__(self, path: Path, call: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        check_seed_folder(path, call)
        self.path = path
        self._call, self._about, self._seeds = dict(call), dict(about), list[dict[str, Any]]()
        # the manifest first: it lists files that are there
        for file in [path / MANIFEST, *_seed_files(path), *_found(path, _LEFT_BY_A_KILL)]:
            file.unlink(missing_ok=True)

    def add(self, entry: Mapping[str, Any], files: Mapping[str, tuple[str, str]]) -> list[Path]:
        """Write one seed and list it.

        Parameters
        ----------
        entry : mapping
            What the manifest says of it, in JSON's types.
        files : mapping of str to (str, str)
            The name and the text of each file, by what it holds; none where the seed failed.

        Raises
        ------
        FileFormatError
            If one of them cannot be written, on a full disk for example; then none of them is there.
        """
        told = {kind: {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest()} for kind, (name, text) in files.items()}
        before, after = self._seeds, [*self._seeds, {**entry, "files": told}]
        try:
            # a kill must not leave files in a folder that does not say whose they are
            self._write(before, bool(files))
            written = [write_whole(self.path / name, text) for name, text in files.values()]
            self._write(after)
        except BaseException:  # Ctrl-C, too
            for name, _ in files.values():
                _remove(self.path / name)
            if not _any_usable(before):
                _remove(self.path / MANIFEST)
            raise
        self._seeds = after
        return written

    def complete(self) -> None:
        """Say in the manifest that nothing is missing."""
        self._write(self._seeds, complete=True)

    def _write(self, seeds: list[dict[str, Any]], wanted: bool = False, complete: bool = False) -> None:
        """The manifest; a folder without one usable seed has none."""
        if wanted or _any_usable(seeds):
            manifest = {**self._about, _CALL: self._call, "complete": complete, "seeds": seeds}
            write_whole(self.path / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def check_seed_folder(path: Path, call: Mapping[str, Any]) -> None:
    """Make sure, before work, that a folder can be written and holds no seeds but those of the same call.

    Parameters
    ----------
    path : Path
        Need not exist.
    call : mapping
        As in `SeedFolder`, or a part of it.

    Raises
    ------
    FileFormatError
    """
    check_folder(path)
    if path.exists() and not path.is_dir():
        raise FileFormatError(f"{path} is a file; name a folder for the seeds.")
    if not (path / MANIFEST).exists():
        if found := _seed_files(path):
            raise FileFormatError(f"{path} holds seeds without a manifest ({found[0].name}); name another folder, or delete them first.")
        return
    before = _call_of(path / MANIFEST)
    if other := sorted(key for key, value in call.items() if before.get(key) != value):
        given = ", ".join(f"{key} {before.get(key)}" for key in other if "sha256" not in key) or "other conformations, or another System"
        raise FileFormatError(f"{path} holds seeds of another call ({given}); name another folder, or delete this one first.")


def check_no_others(directory: Path, folders: Iterable[Path]) -> None:
    """Make sure that a folder of folders of seeds has none besides those that will be written.

    Raises
    ------
    FileFormatError
        If it has.
    """
    wanted = {folder.absolute() for folder in folders}
    beside = [directory, *sorted(directory.glob("molecule-*"))]
    for folder in beside:
        if folder.absolute() not in wanted and (_seed_files(folder) or (folder / MANIFEST).exists()):
            raise FileFormatError(f"{folder} holds seeds of another call; name another folder, or delete it first.")


def _any_usable(seeds: list[dict[str, Any]]) -> bool:
    return any(seed["files"] for seed in seeds)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _seed_files(path: Path) -> list[Path]:
    return _found(path, _SEED_FILES)


def _found(path: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(file for pattern in patterns for file in path.glob(pattern))


def _call_of(manifest: Path) -> Mapping[str, Any]:
    """What the seeds of a folder were made from.

    Raises
    ------
    FileFormatError
        If the manifest is not one of this package.
    """
    try:
        call = json.loads(manifest.read_text(encoding="utf-8"))[_CALL]
        if not isinstance(call, dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{manifest} is no manifest of seeds; name another folder, or delete it first.") from error
    return call
