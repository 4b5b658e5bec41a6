"""Training sets: features and conformers of many molecules as flat arrays that load without RDKit or OpenMM."""

from __future__ import annotations

import collections
import dataclasses
import math
import zipfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import molecule_hash
from ..errors import ConfGFError, FileFormatError
from ..models.features import GraphFeatures, featurise
from ..writing import whole_file

if TYPE_CHECKING:
    from ..files.archive import ReferenceMolecule

SMALLEST = 3
"""Atoms of the smallest molecule that has anything to learn."""

VALIDATION_SHARE = 40
"""One constitution in so many is left out of the training and validates it."""

FEWEST_VALIDATED = 8
"""Constitutions that validate at least; a fifth of all where that is less."""


@dataclasses.dataclass(frozen=True)
class TrainingMolecule:
    """One molecule of a training set.

    Attributes
    ----------
    features : GraphFeatures
    positions : ndarray of float32, (K, N, 3)
        Mean-free conformers in Angstrom.
    energies : ndarray of float32, (K,)
        kJ/mol above the molecule's lowest; NaN where unknown.
    fingerprint : str
        `molecule_hash` of its constitution: what a benchmark compares.
    paths : ndarray of float32, (K, F, N, 3), optional
        Mean-free conformations on the way to each conformer, superposed on it: where a minimiser that ended there began, and was.
    """

    features: GraphFeatures
    positions: NDArray[np.float32]
    energies: NDArray[np.float32]
    fingerprint: str
    paths: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.paths is not None and (self.paths[:, :1].shape != self.positions[:, None].shape):
            raise ValueError(
                f"The paths have shape {self.paths.shape} for conformers of {self.positions.shape}; give (K, F, N, 3), F >= 1."
            )

    @property
    def elements(self) -> set[int]:
        """The atomic numbers that occur."""
        return set(self.features.atoms[:, 0].tolist())


@dataclasses.dataclass(frozen=True)
class TrainingFile:
    """What a file has for the training.

    Attributes
    ----------
    path : Path
    molecules : list of TrainingMolecule
    dropped : dict of str to int
        How many conformers were left out, by reason; ``"unreadable"`` counts molecules, whose conformers nobody knows.
    first_problem : str
        What is wrong with the first unreadable molecule; empty if none is.
    """

    path: Path
    molecules: list[TrainingMolecule]
    dropped: dict[str, int]
    first_problem: str = ""

    @property
    def conformers(self) -> int:
        """How many there are for the training."""
        return sum(len(m.positions) for m in self.molecules)


def prepare(molecules: Iterable[ReferenceMolecule]) -> list[TrainingMolecule]:
    """Features and conformers of reference molecules of at least `SMALLEST` atoms.

    Parameters
    ----------
    molecules : iterable of ReferenceMolecule
        Positions in nm, energies in kJ/mol above the molecule's lowest.

    Returns
    -------
    list of TrainingMolecule
        Positions in Angstrom and without their mean.
    """
    from ..units import NM_PER_ANGSTROM

    prepared = []
    for molecule in molecules:
        if len(molecule.graph) < SMALLEST:
            continue
        positions = molecule.positions / NM_PER_ANGSTROM
        positions -= positions.mean(axis=1, keepdims=True)
        prepared.append(
            TrainingMolecule(
                featurise(molecule.graph),
                positions.astype(np.float32),
                molecule.energies.astype(np.float32),
                molecule_hash(molecule.graph.constitution),
            )
        )
    return prepared


def read_training_file(path: str | Path, excluded: Collection[str] = ()) -> TrainingFile:
    """What a file has for the training.

    Parameters
    ----------
    path : str or Path
        A training set (`save_training_set`) or an archive (`files.archive`), which are taken as they are; or a file of conformers
        (.sdf, .mol, .pdb, .h5), of which those that are not a conformation of their molecule are dropped.
    excluded : collection of str
        Fingerprints of molecules that are left out.

    Returns
    -------
    TrainingFile

    Raises
    ------
    FileFormatError
        If the file cannot be read, or no molecule of it can be used.
    """
    path = Path(path)
    dropped: collections.Counter[str] = collections.Counter()
    problem = ""
    if _is_training_set(path):
        molecules = load_training_set(path)
    else:
        references, dropped, problem = _references(path)
        molecules = prepare(references)
        dropped[f"fewer than {SMALLEST} atoms"] = sum(len(m.positions) for m in references if len(m.graph) < SMALLEST)
    if not molecules:
        reasons = problem or ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        raise FileFormatError(f"{path} has no conformer to learn from: {reasons}")
    dropped["held out"] = sum(len(m.positions) for m in molecules if m.fingerprint in excluded)
    kept = [m for m in molecules if m.fingerprint not in excluded]
    return TrainingFile(path, kept, {reason: count for reason, count in dropped.items() if count}, problem)


def fingerprints(path: str | Path) -> set[str]:
    """The `molecule_hash` of every molecule of a file.

    Parameters
    ----------
    path : str or Path
        One that `read_training_file` reads.

    Returns
    -------
    set of str
    """
    if _is_training_set(path):
        return {m.fingerprint for m in load_training_set(path)}
    return {molecule_hash(m.graph.constitution) for m in _references(Path(path))[0]}


def validates(fingerprint: str, share: int = VALIDATION_SHARE) -> bool:
    """Whether a constitution is for validation and not for training, whatever the other data.

    Parameters
    ----------
    fingerprint : str
        The `molecule_hash` of the constitution.
    share : int
        One constitution in so many validates.

    Returns
    -------
    bool
    """
    return _rank(fingerprint, share) == 0


def _rank(fingerprint: str, share: int) -> int:
    return int(fingerprint, 16) % share


def split_validation(
    molecules: Sequence[TrainingMolecule], share: int = VALIDATION_SHARE
) -> tuple[list[TrainingMolecule], list[TrainingMolecule]]:
    """Training and validation molecules: every `share`-th constitution by its fingerprint is for validation, whatever the other data.

    Where these are fewer than `FEWEST_VALIDATED` and than a fifth of all constitutions, the next ones by fingerprint join them, those
    last that have an element of their own. A single constitution has no validation.

    Parameters
    ----------
    molecules : sequence of TrainingMolecule
    share : int

    Returns
    -------
    list of TrainingMolecule
        Those that are trained on.
    list of TrainingMolecule
        Those that validate, none of the same constitution.
    """
    elements = {m.fingerprint: m.elements for m in molecules}
    held = {fingerprint for fingerprint in elements if validates(fingerprint, share)}
    wanted = min(FEWEST_VALIDATED, math.ceil(len(elements) / 5), len(elements) - 1)
    if len(held) < wanted or len(held) == len(elements):
        found = collections.Counter(z for own in elements.values() for z in own)
        unique = {fingerprint: any(found[z] == 1 for z in own) for fingerprint, own in elements.items()}
        held = set(sorted(elements, key=lambda fingerprint: (unique[fingerprint], _rank(fingerprint, share), fingerprint))[:wanted])
    return [m for m in molecules if m.fingerprint not in held], [m for m in molecules if m.fingerprint in held]


def _references(path: Path) -> tuple[list[ReferenceMolecule], collections.Counter[str], str]:
    """Reference molecules of an archive or a file of conformers, how many were dropped and why, and the first problem."""
    from ..files.archive import ReferenceMolecule, load_archive

    dropped: collections.Counter[str] = collections.Counter()
    if path.suffix.lower() == ".npz":
        return load_archive(path), dropped, ""
    from ..files import read_each_ensemble
    from ..molecules.checks import check_conformations
    from ..status import Status

    references, problem = [], ""
    for outcome in read_each_ensemble(path):
        if isinstance(outcome, ConfGFError):
            dropped["unreadable"] += 1
            problem = problem or str(outcome)
            continue
        # a status in the file may be another program's, or older than the coordinates
        status = np.where(outcome.ok, check_conformations(outcome.graph, outcome.positions), outcome.status)
        dropped.update(Status(s).name for s in status if s != Status.OK)
        usable = status == Status.OK
        if usable.any():
            energies = np.full(len(outcome), np.nan) if outcome.energy is None else outcome.energy
            energies = np.where(np.isfinite(energies), energies, np.nan)[usable]
            lowest = np.nanmin(energies) if np.isfinite(energies).any() else 0.0
            references.append(ReferenceMolecule(outcome.graph.name, outcome.graph, outcome.positions[usable], energies - lowest))
    return references, dropped, problem


def _is_training_set(path: str | Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return "fingerprints" in arrays
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile):
        return False  # the loader of archives or of conformers says what is wrong with it


_FEATURES = [f.name for f in dataclasses.fields(GraphFeatures)]


def save_training_set(path: str | Path, molecules: list[TrainingMolecule]) -> None:
    """Write a training set as one npz file of flat arrays and their lengths.

    Parameters
    ----------
    path : str or Path
    molecules : list of TrainingMolecule
        At least one.
    """
    arrays: dict[str, NDArray[Any]] = {
        "fingerprints": np.array([m.fingerprint for m in molecules]),
        "n_conf": np.array([len(m.positions) for m in molecules]),
        "positions": np.concatenate([m.positions.reshape(-1, 3) for m in molecules]),
        "energies": np.concatenate([m.energies for m in molecules]),
        "n_paths": np.array([0 if m.paths is None else m.paths.shape[1] for m in molecules]),
        "paths": np.concatenate([np.empty((0, 3), np.float32), *(m.paths.reshape(-1, 3) for m in molecules if m.paths is not None)]),
    }
    for name in _FEATURES:
        values = [getattr(m.features, name) for m in molecules]
        arrays[name] = np.concatenate(values)
        arrays[f"n_{name}"] = np.array([len(v) for v in values])
    with whole_file(path) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keyword names for its own flag


def load_training_set(path: str | Path) -> list[TrainingMolecule]:
    """Read what `save_training_set` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    list of TrainingMolecule

    Raises
    ------
    FileFormatError
        If the file is not a complete training set.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        split = {name: np.split(arrays[name], np.cumsum(arrays[f"n_{name}"])[:-1]) for name in _FEATURES}
        n_atoms, n_conf = arrays["n_atoms"], arrays["n_conf"]
        positions = np.split(arrays["positions"], np.cumsum(n_atoms * n_conf)[:-1])
        energies = np.split(arrays["energies"], np.cumsum(n_conf)[:-1])
        n_paths = arrays.get("n_paths", np.zeros_like(n_conf))  # older files have none
        paths = np.split(arrays.get("paths", np.empty((0, 3), np.float32)), np.cumsum(n_atoms * n_conf * n_paths)[:-1])
        return [
            TrainingMolecule(
                GraphFeatures(**{name: split[name][m] for name in _FEATURES}),
                positions[m].reshape(n_conf[m], n_atoms[m], 3),
                energies[m],
                str(arrays["fingerprints"][m]),
                paths[m].reshape(n_conf[m], n_paths[m], n_atoms[m], 3) if n_paths[m] else None,
            )
            for m in range(len(n_atoms))
        ]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} is not a complete training set ({error}); write it with prepare and save_training_set.") from error
