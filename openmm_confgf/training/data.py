"""Training sets: features and conformers of many molecules as flat arrays that load without RDKit or OpenMM."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import molecule_hash
from ..errors import FileFormatError
from ..models.features import GraphFeatures, featurise

if TYPE_CHECKING:
    from ..archive import ReferenceMolecule


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
    """

    features: GraphFeatures
    positions: NDArray[np.float32]
    energies: NDArray[np.float32]
    fingerprint: str


def prepare(molecules: Iterable[ReferenceMolecule]) -> list[TrainingMolecule]:
    """Features and conformers of reference molecules of at least 3 atoms."""
    from ..units import NM_PER_ANGSTROM

    prepared = []
    for molecule in molecules:
        if len(molecule.graph) < 3:
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


def load_training_molecules(path: str | Path, excluded: Collection[str] = ()) -> list[TrainingMolecule]:
    """Training molecules of an archive or of a training set, without those whose fingerprint is excluded."""
    if _is_training_set(path):
        molecules = load_training_set(path)
    else:
        from ..archive import load_archive

        molecules = prepare(load_archive(path))
    return [m for m in molecules if m.fingerprint not in excluded]


def archive_fingerprints(path: str | Path) -> set[str]:
    """The `molecule_hash` of every molecule of an archive."""
    from ..archive import load_archive

    return {molecule_hash(m.graph.constitution) for m in load_archive(path)}


def _is_training_set(path: str | Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return "fingerprints" in arrays
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False  # the loader of archives says what is wrong with it


_FEATURES = [f.name for f in dataclasses.fields(GraphFeatures)]


def save_training_set(path: str | Path, molecules: list[TrainingMolecule]) -> None:
    """Write a training set as one npz file of flat arrays and their lengths."""
    arrays: dict[str, NDArray[Any]] = {
        "fingerprints": np.array([m.fingerprint for m in molecules]),
        "n_conf": np.array([len(m.positions) for m in molecules]),
        "positions": np.concatenate([m.positions.reshape(-1, 3) for m in molecules]),
        "energies": np.concatenate([m.energies for m in molecules]),
    }
    for name in _FEATURES:
        values = [getattr(m.features, name) for m in molecules]
        arrays[name] = np.concatenate(values)
        arrays[f"n_{name}"] = np.array([len(v) for v in values])
    partial = Path(path).with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keyword names for its own flag
    partial.replace(path)


def load_training_set(path: str | Path) -> list[TrainingMolecule]:
    """Read what `save_training_set` wrote.

    Raises
    ------
    FileFormatError
        If the file is not a complete training set.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        split = {name: np.split(arrays[name], np.cumsum(arrays[f"n_{name}"])[:-1]) for name in _FEATURES}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} is not a complete training set ({error}); write it with prepare and save_training_set.") from error
    n_atoms, n_conf = arrays["n_atoms"], arrays["n_conf"]
    positions = np.split(arrays["positions"], np.cumsum(n_atoms * n_conf)[:-1])
    energies = np.split(arrays["energies"], np.cumsum(n_conf)[:-1])
    return [
        TrainingMolecule(
            GraphFeatures(**{name: split[name][m] for name in _FEATURES}),
            positions[m].reshape(n_conf[m], n_atoms[m], 3),
            energies[m],
            str(arrays["fingerprints"][m]),
        )
        for m in range(len(n_atoms))
    ]
