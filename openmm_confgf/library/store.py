"""Finished molecules of one call, each kept at once, so that whatever ends the call costs no more than what it was working on."""

from __future__ import annotations

import collections
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import errors
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, FileFormatError, WorkerError
from ..files.hdf5 import digest_of, hdf5_bytes, read_hdf5
from ..molecules.graph import MolecularGraph
from ..writing import write_whole

Item = TypeVar("Item", MolecularGraph, Ensemble)
Outcome = Ensemble | ConfGFError

_CALL = "call.json"


class Store:
    """A folder beside the output of a call, with a file for each molecule that is finished.

    An ensemble is an .h5 file, as it is to the last bit; a failure is a .json file, so that a molecule that cannot be done is not tried
    again. Only what may go well another time, since its process died, is. A file is found again by the molecule that it was made of
    (atom order, name and, where there are some, conformations), and the folder by the settings of the call.

    Parameters
    ----------
    output : Path
        The file that the call writes in the end; the folder is ``<output>.partial``. It is made when the first molecule is finished.
    settings : mapping
        All that decides the results, in JSON's types.
    resume : bool
        Whether to go on with what an earlier call of the same settings has finished.
    advice : str
        How the call goes on, for the messages of what comes in between.

    Raises
    ------
    FileFormatError
        If an earlier call left molecules and `resume` is not set, or its settings were others.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], resume: bool = False, advice: str = "go on with --resume") -> None:
        self.folder = output.with_name(f"{output.name}.partial")
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._advice = advice
        self._kept = {path.name for path in self._files()}
        self._keys: dict[int, str] = {}
        if not self._kept:
            return
        if not resume:
            raise FileFormatError(
                f"{self.folder} keeps {len(self._kept)} molecules that an earlier call finished; "
                "add --resume to go on from there, or delete the folder to begin anew."
            )
        self._check_same_call()

    def __len__(self) -> int:
        """How many molecules are kept, failures included."""
        return len(self._kept)

    @property
    def ensembles_kept(self) -> bool:
        """Whether there is an ensemble among them."""
        return any(name.endswith(".h5") for name in self._kept)

    def has(self, key: str) -> bool:
        """Whether a molecule is finished.

        Parameters
        ----------
        key : str
            Its `key_of`.
        """
        return not self._kept.isdisjoint((f"{key}.h5", f"{key}.json"))

    def read(self, key: str) -> Outcome:
        """What came out of a molecule that is finished.

        Parameters
        ----------
        key : str
            Its `key_of`.

        Returns
        -------
        Ensemble or ConfGFError

        Raises
        ------
        FileFormatError
            If its file is damaged or missing.
        """
        path = self.folder / (f"{key}.h5" if f"{key}.h5" in self._kept else f"{key}.json")
        if not path.exists():
            raise FileFormatError(f"{path} is gone; {self._advice}, which makes it again.")
        try:
            if path.suffix == ".h5":
                return read_hdf5(path)
            failure = json.loads(path.read_text())
            kind: type[ConfGFError] = getattr(errors, failure["error"])
            return kind(failure["message"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FileFormatError) as error:
            raise FileFormatError(f"{path} is damaged ({error}); delete it and {self._advice}.") from error

    def keep(self, key: str, outcome: Outcome) -> None:
        """Keep what came out of a molecule; a `WorkerError` is not kept, so that the molecule is tried again.

        Parameters
        ----------
        key : str
            Its `key_of`.
        outcome : Ensemble or ConfGFError

        Raises
        ------
        FileFormatError
            If it cannot be written.
        """
        if isinstance(outcome, WorkerError):
            return
        if isinstance(outcome, Ensemble):
            name, content = f"{key}.h5", hdf5_bytes(outcome, trajectory=False)
        else:
            name, content = f"{key}.json", json.dumps({"error": type(outcome).__name__, "message": str(outcome)}).encode()
        try:
            if not (self.folder / _CALL).exists():  # nothing is kept yet, or somebody removed it
                write_whole(self.folder / _CALL, json.dumps(self._settings, indent=1))
            write_whole(self.folder / name, content)
        except FileFormatError as error:
            raise FileFormatError(f"{error} What is finished is kept in {self.folder}; {self._advice}.") from error
        self._kept.add(name)

    def place(self, index: int, key: str) -> None:
        """Say which molecule of the input a key belongs to.

        Parameters
        ----------
        index : int
            The molecule's, in the input.
        key : str
            Its `key_of`.
        """
        self._keys[index] = key

    def placed(self) -> list[int]:
        """The molecules of the input of which an ensemble is kept, as far as they were placed, in the input's order."""
        self._kept = {path.name for path in self._files()}  # a signal may have come between a file and its entry here
        return sorted(index for index, key in self._keys.items() if f"{key}.h5" in self._kept)

    def ensembles(self, indices: Iterable[int]) -> Iterator[tuple[int, Ensemble]]:
        """The finished ensembles of some molecules of the input, with their indices; one is in memory at a time.

        Parameters
        ----------
        indices : iterable of int
            Molecules that are finished and were placed (`placed`); those that failed are left out.

        Yields
        ------
        index : int
        Ensemble

        Raises
        ------
        FileFormatError
            If a file is damaged.
        """
        for index in indices:
            outcome = self.read(self._keys[index])
            if isinstance(outcome, Ensemble):
                yield index, outcome

    def remove(self) -> None:
        """Remove the molecules, which are somewhere else now; what else is in the folder stays."""
        leftovers = self.folder.glob(".*.partial")
        for path in (*self._files(), *leftovers, self.folder / _CALL):
            path.unlink(missing_ok=True)
        self._kept.clear()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        found = [path for suffix in ("h5", "json") for path in self.folder.glob(f"[!.]*.{suffix}")]
        return [path for path in found if path.name != _CALL]

    def _check_same_call(self) -> None:
        try:
            earlier = dict(json.loads((self.folder / _CALL).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise FileFormatError(f"{self.folder} does not tell which call it is of; delete it, or name another output file.") from error
        names = sorted(name for name in {*earlier, *self._settings} if earlier.get(name) != self._settings.get(name))
        if names:
            other = ", ".join(f"{name} {earlier.get(name)}" for name in names)
            raise FileFormatError(
                f"{self.folder} is of a call with {other}; give the same settings to go on, name another output file, or delete the folder."
            )


def key_of(item: MolecularGraph | Ensemble) -> str:
    """A hash of all that an .h5 file would hold of a molecule, and of its conformations if it has some.

    Parameters
    ----------
    item : MolecularGraph or Ensemble

    Returns
    -------
    str
        The first 32 hexadecimal digits of a SHA-256.
    """
    ensemble = item if isinstance(item, Ensemble) else Ensemble(item, np.empty((0, len(item), 3)), Provenance("", ""))
    return digest_of(ensemble)[:32]


def kept_or_made(
    store: Store | None,
    items: Iterable[tuple[int, Item | ConfGFError]],
    make: Callable[[Iterable[Item]], Iterable[tuple[int, Outcome]]],
) -> Iterator[tuple[int, Outcome]]:
    """Each item's index and outcome once: from the store where it is finished, made and kept there otherwise.

    Parameters
    ----------
    store : Store or None
        None: everything is made, and nothing is kept.
    items : iterable of (int, item or ConfGFError)
        With their indices in the input; an error is its own outcome.
    make : callable
        Takes the items that are left and gives the place of each among them and its outcome, in any order. It is called at once, so that
        what it says against the call is raised here.

    Yields
    ------
    index : int
    Ensemble or ConfGFError

    Raises
    ------
    FileFormatError
        If an outcome cannot be kept, or one that was is damaged.
    """
    ready: collections.deque[tuple[int, str | ConfGFError]] = collections.deque()
    left: list[tuple[int, str]] = []

    def those_left() -> Iterator[Item]:
        for index, item in items:
            if isinstance(item, ConfGFError):
                ready.append((index, item))
                continue
            key = "" if store is None else key_of(item)
            if store is not None:
                store.place(index, key)
                if store.has(key):
                    ready.append((index, key))
                    continue
            left.append((index, key))
            yield item

    def outcomes(made: Iterable[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
        for place, outcome in made:
            yield from those_ready()
            index, key = left[place]
            if store is not None:
                store.keep(key, outcome)
            yield index, outcome
        yield from those_ready()

    def those_ready() -> Iterator[tuple[int, Outcome]]:
        while ready:
            index, found = ready.popleft()
            if isinstance(found, str):
                assert store is not None
                yield index, store.read(found)
            else:
                yield index, found

    return outcomes(make(those_left()))
