"""Reference ensembles of many molecules: several processes, each finished molecule kept at once, resumable."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfGFError, FileFormatError
from ..executors import work_through
from ..files.archive import ReferenceMolecule, load_archive, save_archive
from ..molecules.graph import MolecularGraph
from .protocol import ReferenceMaker, ReferenceProtocol

_Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]


def reference_ensembles(
    molecules: Sequence[MolecularGraph], folder: str | Path, maker: ReferenceMaker, *, workers: int = 1, time_limit: float = 3600.0
) -> Iterator[tuple[int, ReferenceMolecule | ConfGFError]]:
    """Each molecule's index and reference ensemble once, as they finish; those that the folder has already come first.

    What is wrong with the call is raised by the call; what is wrong with one molecule is its result, and is tried again the next time.

    Parameters
    ----------
    molecules : sequence of MolecularGraph
    folder : str or Path
        Keeps an archive of each finished molecule, found again by its canonical SMILES and the maker's provenance.
    maker : ReferenceMaker
        Its protocol is followed in every worker.
    workers : int
        Number of processes (`work_through` says what they need).
    time_limit : float
        Seconds for one molecule, after which it has failed.

    Yields
    ------
    index : int
    ReferenceMolecule or ConfGFError
        In the atom order of the canonical SMILES.

    Raises
    ------
    ConfGFError
        If the number of workers or the time limit is not positive.
    """
    named = [(graph.smiles, graph.name) for graph in molecules]
    paths = [Path(folder) / f"{_key(smiles, maker)}.npz" for smiles, _ in named]
    finished = {index: kept for index, path in enumerate(paths) if (kept := _read(path, molecules[index].name)) is not None}
    left = [index for index in range(len(named)) if index not in finished]
    stream = work_through(functools.partial(_work_of, maker.protocol), [named[i] for i in left], workers, time_limit)
    return _collect(finished, left, stream, named, paths, maker)


def _collect(
    finished: dict[int, ReferenceMolecule],
    left: list[int],
    stream: Iterator[tuple[int, _Arrays | ConfGFError]],
    named: list[tuple[str, str]],
    paths: list[Path],
    maker: ReferenceMaker,
) -> Iterator[tuple[int, ReferenceMolecule | ConfGFError]]:
    yield from finished.items()
    for place, outcome in stream:
        index = left[place]
        if isinstance(outcome, ConfGFError):
            yield index, outcome
            continue
        smiles, name = named[index]
        molecule = ReferenceMolecule(name, MolecularGraph.from_smiles(smiles, name), *outcome)
        save_archive(paths[index], [molecule], maker.provenance)
        yield index, molecule


def _work_of(protocol: ReferenceProtocol) -> Callable[[tuple[str, str]], _Arrays]:
    """What a worker process does: from a SMILES and a name to positions (nm) and energies (kJ/mol)."""
    maker = ReferenceMaker(protocol)

    def work(named: tuple[str, str]) -> _Arrays:
        made = maker.make(MolecularGraph.from_smiles(*named))
        return made.positions, made.energies

    return work


def _key(smiles: str, maker: ReferenceMaker) -> str:
    """Of the molecule and all that decides its ensemble: what was made in another way is not taken for it."""
    return hashlib.sha256(json.dumps([smiles, maker.provenance], sort_keys=True).encode()).hexdigest()[:20]


def _read(path: Path, name: str) -> ReferenceMolecule | None:
    """A molecule that was finished before, under the name that it has now."""
    if not path.exists():
        return None
    try:
        (molecule,) = load_archive(path)
    except (FileFormatError, ValueError):  # damaged: made again
        return None
    return dataclasses.replace(molecule, name=name)
