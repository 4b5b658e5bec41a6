"""A folder of seeds and its manifest: seeds of one call only, and listed only once all their files are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checksums import sha256_of
from ..errors import FileFormatError
from ..files import check_folder
from ..writing import whole_file, write_whole

MANIFEST = "manifest.json"

_SEED_FILES = ("seed-*-state.xml", "seed-*-system.xml", "seed-*.pdb")
_LEFT_BY_A_KILL = (".seed-*.partial", f".{MANIFEST}-*.partial")
_CALL = "call"

_Seed = dict[str, Any]
"""An entry of the manifest."""


class SeedFolder:
    """Writes the seeds of one call and a manifest that lists them.

    A kill, or a full disk, at any time leaves a manifest of seeds whose files are complete. Those of an earlier run of the same call are
    replaced one by one, and only where they differ.

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
        self._call, self._about = dict(call), dict(about)
        self._listed = [seed for seed in _seeds_of(path) if _is_whole(path, seed)]
        self._added = 0
        whole = {path / name for seed in self._listed for name in _names(seed)}
        for file in [*_seed_files(path), *_found(path, _LEFT_BY_A_KILL)]:
            if file not in whole:
                file.unlink(missing_ok=True)

    def add(self, entry: Mapping[str, Any], files: Mapping[str, tuple[str, str]]) -> list[Path]:
        """Write one seed and list it.

        Parameters
        ----------
        entry : mapping
            What the manifest says of it, in JSON's types.
        files : mapping of str to (str, str)
            The name and the text of each file, by what it holds; none where the seed failed.

        Returns
        -------
        list of Path
            Of the files, in their order.

        Raises
        ------
        FileFormatError
            If one of them cannot be written, on a full disk for example; then none of them is there, but for those of an earlier run.
        """
        told = {kind: {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest()} for kind, (name, text) in files.items()}
        new = json.loads(json.dumps({**entry, "files": told}))
        earlier = self._listed[self._added : self._added + 1]
        if earlier != [new]:
            before, later = self._listed[: self._added], self._listed[self._added + 1 :]
            self._replace(earlier, [*before, *later], [*before, new, *later], dict(files.values()))
        self._added += 1
        return [self.path / name for name, _ in files.values()]

    def complete(self) -> None:
        """Say in the manifest that nothing is missing."""
        more = self._listed[self._added :]
        self._list(self._listed[: self._added], complete=True)
        self._remove(name for seed in more for name in _names(seed))

    def _replace(self, earlier: list[_Seed], without: list[_Seed], after: list[_Seed], texts: Mapping[str, str]) -> None:
        """List a seed instead of an earlier one, if there is one; while its files change, the manifest lists neither."""
        try:
            with contextlib.ExitStack() as files:
                for name, text in texts.items():
                    stream = files.enter_context(whole_file(self.path / name))
                    stream.write(text.encode())
                    stream.flush()
                # a kill must not leave files in a folder that does not say whose they are
                self._list(without, wanted=bool(texts))
            self._list(after)
        except BaseException:  # Ctrl-C, too
            if self._listed is without:
                self._remove(texts)
            if not _any_usable(self._listed):
                self._remove([MANIFEST])
            raise
        self._remove(name for seed in earlier for name in _names(seed) if name not in texts)

    def _list(self, seeds: list[_Seed], wanted: bool = False, complete: bool = False) -> None:
        """Write the manifest, unless it says so already; a folder without one usable seed has none."""
        if wanted or _any_usable(seeds):
            manifest = {**self._about, _CALL: self._call, "complete": complete, "seeds": seeds}
            text = json.dumps(manifest, indent=2) + "\n"
            file = self.path / MANIFEST
            if not (file.exists() and file.read_text(encoding="utf-8") == text):
                write_whole(file, text)
        else:
            self._remove([MANIFEST])
        self._listed = seeds

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                (self.path / name).unlink()


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
        If it cannot, is a file, or holds others.
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

    Parameters
    ----------
    directory : Path
        Itself and its folders ``molecule-*`` are looked at.
    folders : iterable of Path
        Those that will be written.

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


def _any_usable(seeds: list[_Seed]) -> bool:
    return any(seed["files"] for seed in seeds)


def _names(seed: _Seed) -> list[str]:
    return [file["name"] for file in seed["files"].values()]


def _is_whole(path: Path, seed: _Seed) -> bool:
    """Whether the files of a seed are those that its manifest lists."""
    try:
        return all(sha256_of(path / file["name"]) == file["sha256"] for file in seed["files"].values())
    except (FileFormatError, LookupError, TypeError):
        return False


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


def _seeds_of(path: Path) -> list[_Seed]:
    """What the manifest of a folder lists, which may have none."""
    try:
        return list(json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("seeds", []))
    except FileNotFoundError:
        return []
