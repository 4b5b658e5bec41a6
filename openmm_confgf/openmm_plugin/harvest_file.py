"""The file of a harvest: an ensemble that is rewritten when it has doubled, and a journal of the frames since then.

A frame is in the journal, flushed to the disk, before the simulation goes on; it replaces the frames from its step on, which a run has that
was taken up from an earlier checkpoint. The ensemble and the journal count generations: a journal belongs to the ensemble of the same
generation, and what a kill left between the two writes of a new one is told by that. It names its writer as well, so that of two that
have the same file only the later one writes.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ensemble import Ensemble, Provenance, Target
from ..errors import FileFormatError
from ..files import read_run, write_run
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..version import __version__
from ..writing import write_whole

_HEAD = struct.Struct("<qd")
"""Step and energy, before the positions."""
_CHECK = struct.Struct("<I")


@dataclasses.dataclass(frozen=True, eq=False)
class HarvestOrigin:
    """What decides the frames of a harvest.

    Attributes
    ----------
    graph : MolecularGraph
    atoms : ndarray of int64, (N,)
        The particle of the simulation that each atom of the molecule is.
    settings : dict
        Of `Provenance`.
    target : Target
    has_energy : bool
        Whether the energies of the frames are known.
    """

    graph: MolecularGraph
    atoms: NDArray[np.int64]
    settings: dict[str, Any]
    target: Target
    has_energy: bool

    @property
    def sha256(self) -> str:
        """Equal where frames may be in one file."""
        told = [repr(self.graph.order_key), self.atoms.tolist(), self.settings, dataclasses.asdict(self.target), self.has_energy]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class HarvestFile:
    """Frames by the step at which they were taken, in memory and on the disk.

    Parameters
    ----------
    path : Path
        An .h5 file; beside it, ``NAME.h5.journal`` is there as long as frames are missing in it.
    origin : HarvestOrigin
        What the file must hold, if it exists.

    Raises
    ------
    FileFormatError
        If the file holds something else, or cannot be read or written.
    """

    def __init__(self, path: Path, origin: HarvestOrigin) -> None:
        self.path, self.origin = path, origin
        self._frames, self._generation = _Frames(), 0
        if path.exists():
            before, self._frames, self._generation = read_saved(path)
            _check_same(path, before, origin)
        self.resumed = path.exists() or journal_of(path).exists()
        self._journaled = self._replay()
        self._writer, self._header, self._whole = secrets.token_hex(8), b"", 0

    @property
    def last_step(self) -> int:
        """Of the last frame; 0 where there is none."""
        return self._frames.steps[-1] if self._frames.steps else 0

    def add(self, step: int, energy: float, positions: NDArray[np.float64]) -> None:
        """One more frame, which no kill takes away from now on; it replaces those from its step on.

        Parameters
        ----------
        step : int
        energy : float
            kJ/mol.
        positions : ndarray of float64, (N, 3)
            nm.

        Raises
        ------
        FileFormatError
            If it cannot be written; the frames before are kept.
        """
        record = _HEAD.pack(step, energy) + positions.astype("<f8").tobytes()
        self._append(record + _CHECK.pack(zlib.crc32(record)))
        replaced = self._frames.add(step, energy, positions)
        self._journaled += 1
        if replaced or 2 * self._journaled >= len(self._frames.steps):
            self._save()

    def ensemble(self) -> Ensemble:
        """All frames so far."""
        return _ensemble(self.origin, self._frames)

    def take(self) -> None:
        """Become the one that writes the file; another one that did, in this process or elsewhere, is refused from now on.

        Raises
        ------
        FileFormatError
            If the file cannot be written.
        """
        if self._journaled:
            self._save()
        else:
            self._start_journal()

    def close(self) -> None:
        """Take the frames of the journal into the ensemble, and remove it; nothing is done where another one writes by now.

        Raises
        ------
        FileFormatError
            If it cannot be written; the frames are kept in the journal.
        """
        journal = journal_of(self.path)
        if self._header and journal.exists() and journal.read_bytes().startswith(self._header):
            if self._journaled:
                self._save()
            journal.unlink()

    def _save(self) -> None:
        """Write all frames into the ensemble of the next generation, and begin its journal."""
        generation = self._generation + 1
        write_run(self.ensemble(), self._state(generation), self.path)
        self._generation, self._journaled = generation, 0
        self._start_journal()

    def _state(self, generation: int) -> dict[str, Any]:
        return {"steps": np.array(self._frames.steps, np.int64), "generation": np.int64(generation), "atoms": self.origin.atoms}

    def _start_journal(self) -> None:
        self._header = _header(self.origin, self._generation) + f"{self._writer}\n".encode()
        write_whole(journal_of(self.path), self._header)
        self._whole = len(self._header)

    def _replay(self) -> int:
        """Take up the frames of the journal, if there is one of this generation; gives their number."""
        journal, header = journal_of(self.path), _header(self.origin, self._generation)
        content = journal.read_bytes() if journal.exists() else b""
        records = content[len(header) :].partition(b"\n")[2] if content.startswith(header) else b""
        return self._frames.replay(records, len(self.origin.graph))

    def _append(self, record: bytes) -> None:
        journal = journal_of(self.path)
        try:
            with journal.open("r+b") as stream:
                if stream.read(len(self._header)) != self._header:
                    raise FileFormatError(f"{self.path} is written by another HarvestReporter by now; give each its own file.")
                stream.seek(self._whole)
                stream.truncate()  # what a full disk left of a record
                stream.write(record)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise FileFormatError(
                f"{journal} cannot be written: {error.strerror or error}, and the frames before are kept; make room, and go on from the "
                "last checkpoint."
            ) from error
        self._whole += len(record)


@dataclasses.dataclass
class _Frames:
    """Frames in the order of their steps, each of which is later than the one before."""

    steps: list[int] = dataclasses.field(default_factory=list)
    energies: list[float] = dataclasses.field(default_factory=list)
    positions: list[NDArray[np.float64]] = dataclasses.field(default_factory=list)

    def add(self, step: int, energy: float, positions: NDArray[np.float64]) -> int:
        """Add a frame; gives the number of those that it replaces."""
        first = bisect.bisect_left(self.steps, step)
        replaced = len(self.steps) - first
        self.steps[first:] = [step]
        self.energies[first:] = [energy]
        self.positions[first:] = [positions]
        return replaced

    def replay(self, records: bytes, n_atoms: int) -> int:
        """Add the frames of a journal up to the first record that is not whole; gives their number."""
        size = _HEAD.size + 24 * n_atoms
        length = size + _CHECK.size
        for k in range(len(records) // length):
            record = records[k * length : (k + 1) * length]
            if zlib.crc32(record[:size]) != _CHECK.unpack_from(record, size)[0]:
                return k
            step, energy = _HEAD.unpack_from(record)
            self.add(step, energy, np.frombuffer(record, "<f8", 3 * n_atoms, _HEAD.size).reshape(-1, 3).astype(np.float64))
        return len(records) // length


def journal_of(path: Path) -> Path:
    """The journal beside a file.

    Parameters
    ----------
    path : Path
    """
    return path.with_name(f"{path.name}.journal")


def read_saved(path: Path) -> tuple[HarvestOrigin, _Frames, int]:
    """What an .h5 file of a harvest holds: where it is from, its frames, and its generation.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FileFormatError
        If it holds no harvest, or cannot be read.
    """
    ensemble, state = read_run(path)
    if set(state) != {"steps", "generation", "atoms"} or len(state["steps"]) != len(ensemble):
        raise FileFormatError(f"{path} holds no frames of a HarvestReporter; name another output file.")
    settings, target, energy = ensemble.provenance.settings, ensemble.target or Target(), ensemble.energy
    origin = HarvestOrigin(ensemble.graph, state["atoms"], settings, target, energy is not None)
    energies = [np.nan] * len(ensemble) if energy is None else energy.tolist()
    return origin, _Frames(state["steps"].tolist(), energies, list(ensemble.positions)), int(state["generation"])


def harvested(path: str | Path) -> Ensemble:
    """The frames of a harvest, also of one that still runs or was killed: those of the file and those of its journal.

    Parameters
    ----------
    path : str or Path
        The .h5 file of a `HarvestReporter`.

    Returns
    -------
    Ensemble
        In the order of their steps.

    Raises
    ------
    FileFormatError
        If the file holds no harvest, or cannot be read.
    """
    origin, _, _ = read_saved(Path(path))
    return HarvestFile(Path(path), origin).ensemble()


def _ensemble(origin: HarvestOrigin, frames: _Frames) -> Ensemble:
    positions = np.array(frames.positions, np.float64).reshape(-1, len(origin.graph), 3)
    energy = np.array(frames.energies, np.float64) if origin.has_energy else None
    provenance = Provenance("harvest", __version__, None, settings=origin.settings)
    status = check_conformations(origin.graph, positions)
    told = {"first_step": frames.steps[0], "last_step": frames.steps[-1]} if frames.steps else {}
    return Ensemble(origin.graph, positions, provenance, status, energy, target=origin.target, diagnostics=told)


def _header(origin: HarvestOrigin, generation: int) -> bytes:
    return (json.dumps({"harvest": origin.sha256, "generation": generation}) + "\n").encode()


def _check_same(path: Path, before: HarvestOrigin, wanted: HarvestOrigin) -> None:
    """Make sure that frames of two runs belong together.

    Raises
    ------
    FileFormatError
        If they do not; the message says in what.
    """
    if not before.graph.same_as(wanted.graph):
        raise FileFormatError(f"{path} holds frames of {before.graph.name!r} or of another atom order; name another output file.")
    told = [one.settings | dataclasses.asdict(one.target) | {"energies": one.has_energy} for one in (before, wanted)]
    if other := sorted(key for key in told[0].keys() | told[1].keys() if told[0].get(key) != told[1].get(key)):
        given = ", ".join("another System" if key.endswith("sha256") else f"{key} {told[0].get(key)}" for key in other)
        raise FileFormatError(f"{path} holds frames of a run with {given}; go on with the same, or name another output file.")
    if not np.array_equal(before.atoms, wanted.atoms):
        raise FileFormatError(f"{path} holds frames of other atoms of the Topology; name another output file.")
