"""Reference ensembles of many molecules: several processes, each finished molecule kept at once, resumable."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, FileFormatError
from ..executors import Workers, work_through
from ..files.archive import ReferenceMolecule
from ..library.store import Store
from ..molecules.graph import MolecularGraph
from ..version import __version__
from .protocol import ReferenceMaker, ReferenceProtocol

_Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]

_EARLIER_LAYOUT = re.compile(r"[0-9a-f]{20}\.npz")
"""What finished molecules were called when each was an archive of its own."""


def reference_store(output: Path, maker: ReferenceMaker) -> Store:
    """The store of finished molecules beside an archive, which every call with the same maker takes up.

    Parameters
    ----------
    output : Path
        The archive that the call writes in the end.
    maker : ReferenceMaker

    Raises
    ------
    FileFormatError
        If what an earlier call left was made in another way, or by a version that kept it as archives.
    """
    store = Store(output, {"command": "reference", **maker.provenance}, resume=True, advice="give the same command again")
    if any(_EARLIER_LAYOUT.fullmatch(path.name) for path in store.folder.glob("*.npz")):
        raise FileFormatError(
            f"{store.folder} keeps molecules as archives, as an earlier version did, and this one cannot go on from them; "
            "finish with that version, name another output file, or delete the folder."
        )
    return store


def reference_ensembles(
    molecules: Sequence[MolecularGraph], store: Store, maker: ReferenceMaker, *, workers: Workers = 1, time_limit: float = 3600.0
) -> Iterator[tuple[int, ReferenceMolecule | ConfGFError]]:
    """Each molecule's index and reference ensemble once, as they finish; those that the store has already come first.

    What is wrong with the call is raised by the call; what is wrong with one molecule is its result, and is tried again the next time.

    Parameters
    ----------
    molecules : sequence of MolecularGraph
    store : Store
        Keeps each finished molecule, found again by its canonical SMILES: of `reference_store`.
    maker : ReferenceMaker
        Its protocol is followed by every worker.
    workers : int or callable
        Number of processes, or what makes an `Executor` (`work_through`).
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
    finished = {index: kept for index, of_one in enumerate(named) if (kept := _read(store, *of_one)) is not None}
    left = [index for index in range(len(named)) if index not in finished]
    stream = work_through(functools.partial(_work_of, maker.protocol), [named[i] for i in left], workers, time_limit)
    return _collect(finished, left, stream, named, store, maker)


def _collect(
    finished: dict[int, ReferenceMolecule],
    left: list[int],
    stream: Iterator[tuple[int, _Arrays | ConfGFError]],
    named: list[tuple[str, str]],
    store: Store,
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
        made = Provenance("reference", __version__, maker.protocol.seed, settings=maker.provenance)
        store.keep(_key(smiles), Ensemble(molecule.graph, molecule.positions, made, energy=molecule.energies))
        yield index, molecule


def _work_of(protocol: ReferenceProtocol) -> Callable[[tuple[str, str]], _Arrays]:
    """What a worker does: from a SMILES and a name to positions (nm) and energies (kJ/mol)."""
    maker = ReferenceMaker(protocol)

    def work(named: tuple[str, str]) -> _Arrays:
        made = maker.make(MolecularGraph.from_smiles(*named))
        return made.positions, made.energies

    return work


def _key(smiles: str) -> str:
    """Of all that a molecule is made from; its name is not: whatever it is called now, it is taken up."""
    return hashlib.sha256(smiles.encode()).hexdigest()[:32]


def _read(store: Store, smiles: str, name: str) -> ReferenceMolecule | None:
    """A molecule that was finished before, under the name that it has now."""
    if not store.has(_key(smiles)):
        return None
    try:
        kept = store.read(_key(smiles))
    except FileFormatError:  # damaged: made again
        return None
    if not isinstance(kept, Ensemble) or kept.energy is None:
        return None
    return ReferenceMolecule(name, MolecularGraph.from_smiles(smiles, name), kept.positions, kept.energy)
