"""Archives of reference conformers: many molecules, each with a few conformers, in one npz file without pickle.

The layout: ``smiles`` (M,) isomeric, ``n_atoms`` (M,), ``n_conf`` (M,) (absent: one each), ``numbers`` (sum n_atoms,), ``coords``
(sum n_conf * n_atoms, 3) in Angstrom, molecule by molecule and conformer by conformer, ``energies`` (sum n_conf,) in kJ/mol (optional),
``name`` (M,) (optional), ``provenance`` (a JSON text: how they were made; optional). The atom order is that of
``Chem.AddHs(Chem.MolFromSmiles(smiles))``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ensemble import Ensemble, Provenance
from ..errors import FileFormatError, MoleculeError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from ..writing import whole_file

_UNCHECKED_STEREO = re.compile(r"@(SP|TB|OH|AL)\d*")
"""Stereo that is neither a tetrahedral centre's nor a double bond's; reference conformers have it, and nothing else reads it."""


@dataclasses.dataclass(frozen=True)
class ReferenceMolecule:
    """One molecule of an archive and its reference conformers.

    Attributes
    ----------
    name : str
        The archive's label, or the SMILES where it has none.
    graph : MolecularGraph
        The molecule; its atom order is that of ``positions``.
    positions : ndarray of float64, (K, N, 3)
        Coordinates in nm.
    energies : ndarray of float64, (K,)
        kJ/mol above the molecule's lowest conformer; NaN where the archive has none.
    """

    name: str
    graph: MolecularGraph
    positions: NDArray[np.float64]
    energies: NDArray[np.float64]

    def ensemble(self, source: str) -> Ensemble:
        """The conformers as an ensemble, with their energies where the archive has all; whose these are, it does not tell.

        Parameters
        ----------
        source : str
            The name of the file, for the provenance.
        """
        energy = self.energies if np.isfinite(self.energies).all() else None
        status = check_conformations(self.graph, self.positions)
        return Ensemble(self.graph, self.positions, Provenance(f"archive {source}", __version__), status, energy)


def load_archive(path: str | Path) -> list[ReferenceMolecule]:
    """All molecules of an archive, in its order.

    Parameters
    ----------
    path : str or Path
        An npz file of the layout of this module.

    Returns
    -------
    list of ReferenceMolecule
        Positions in nm.

    Raises
    ------
    FileFormatError
        If the file is missing, is no npz, lacks an array, its sizes disagree, holds non-finite coordinates, or its atom order is not
        that of its SMILES.
    """
    arrays = _read_arrays(Path(path))
    n_atoms, n_conf = arrays["n_atoms"], arrays["n_conf"]
    atom_ends = np.cumsum(n_atoms)
    conformer_ends = np.cumsum(n_conf)
    row_ends = np.cumsum(n_atoms * n_conf)
    molecules = []
    for m, smiles in enumerate(arrays["smiles"]):
        name = str(arrays["name"][m])
        try:
            graph = MolecularGraph.from_smiles(_UNCHECKED_STEREO.sub("", str(smiles)), name=name)
        except MoleculeError as error:
            raise FileFormatError(f"Molecule {m} of {path} cannot be used: {error}") from error
        if not np.array_equal(graph.numbers, arrays["numbers"][atom_ends[m] - n_atoms[m] : atom_ends[m]]):
            raise FileFormatError(
                f"The atoms of molecule {m} ({name}) of {path} are not in the order of Chem.AddHs(Chem.MolFromSmiles(smiles)); reorder."
            )
        coords = arrays["coords"][row_ends[m] - n_atoms[m] * n_conf[m] : row_ends[m]].reshape(n_conf[m], n_atoms[m], 3)
        energies = arrays["energies"][conformer_ends[m] - n_conf[m] : conformer_ends[m]]
        molecules.append(ReferenceMolecule(name, graph, coords * NM_PER_ANGSTROM, energies))
    return molecules


def save_archive(path: str | Path, molecules: Sequence[ReferenceMolecule], provenance: Mapping[str, Any] | None = None) -> None:
    """Write molecules and their conformers as one archive, in the atom order of their canonical SMILES.

    The file is complete or not there: it is written under a temporary name first. Coordinates are kept in single precision.

    Parameters
    ----------
    path : str or Path
    molecules : sequence of ReferenceMolecule
        At least one, each with at least one conformer.
    provenance : mapping, optional
        How the conformers were made, in JSON's types.

    Raises
    ------
    FileFormatError
        If there is nothing to write, a coordinate is not finite, the file cannot be written, or the SMILES of a molecule does not stand
        for it.
    """
    target = Path(path)
    if not molecules or any(len(molecule.positions) == 0 for molecule in molecules):
        raise FileFormatError(f"There are no conformers of some molecule to write to {target}; leave that molecule out.")
    if not all(np.isfinite(molecule.positions).all() for molecule in molecules):
        raise FileFormatError(f"There are coordinates that are not finite to write to {target}; leave those conformers out.")
    orders = [_order_of_smiles(molecule.graph) for molecule in molecules]
    arrays: dict[str, NDArray[Any]] = {
        "smiles": np.array([molecule.graph.smiles for molecule in molecules]),
        "name": np.array([molecule.name for molecule in molecules]),
        "n_atoms": np.array([len(molecule.graph) for molecule in molecules], np.int32),
        "n_conf": np.array([len(molecule.positions) for molecule in molecules], np.int32),
        "numbers": np.concatenate([m.graph.numbers[order] for m, order in zip(molecules, orders, strict=True)]).astype(np.int8),
        "coords": np.concatenate([m.positions[:, order].reshape(-1, 3) for m, order in zip(molecules, orders, strict=True)]),
        "energies": np.concatenate([molecule.energies for molecule in molecules]).astype(np.float64),
    }
    arrays["coords"] = (arrays["coords"] / NM_PER_ANGSTROM).astype(np.float32)
    if provenance is not None:
        arrays["provenance"] = np.array(json.dumps(provenance, sort_keys=True))
    with whole_file(target) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keyword names for its own flag


def _order_of_smiles(graph: MolecularGraph) -> NDArray[np.int64]:
    """Where the atoms of ``Chem.AddHs(Chem.MolFromSmiles(graph.smiles))`` are in the graph, (N,)."""
    try:
        template = MolecularGraph.from_smiles(graph.smiles)
    except MoleculeError as error:
        raise FileFormatError(f"{graph.name!r} cannot be written to an archive: {error}") from error
    if graph.same_as(template):
        return np.arange(len(graph))
    match = graph.mol.GetSubstructMatch(template.mol, useChirality=True)
    if len(match) != len(graph):
        raise FileFormatError(f"{graph.name!r} cannot be written to an archive: its SMILES {graph.smiles} stands for other stereo.")
    return np.array(match, np.int64)


_LARGEST_RATIO = 1100
"""Bytes that one byte of deflate can stand for, at most (1,032), and room for headers."""

_SPOILED = (
    *(ValueError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
"""What numpy, zipfile and zlib raise where bytes of a file were changed."""


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive with the optional ones filled in, their types and sizes checked against each other."""
    arrays = _load(path)
    if missing := [key for key in ("smiles", "n_atoms", "numbers", "coords") if key not in arrays]:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}; see openmm_confgf.files.archive for the layout.")
    molecules = arrays["n_atoms"].shape
    arrays["n_conf"] = arrays.get("n_conf", np.ones(molecules, np.int64))
    arrays["name"] = arrays.get("name", arrays["smiles"])
    for key in ("n_atoms", "n_conf"):
        counts = arrays[key]
        if counts.ndim != 1 or len(counts) == 0 or counts.dtype.kind not in "iu" or (counts < 1).any():
            raise FileFormatError(f"{key} of {path} is no list of counts; give each molecule an integer of at least 1, and one molecule.")
    for kinds, what, keys in (
        ("U", "text", ("smiles", "name")),
        ("iu", "integers", ("numbers",)),
        ("iuf", "numbers", ("coords", "energies")),
    ):
        if wrong := [key for key in keys if key in arrays and arrays[key].dtype.kind not in kinds]:
            raise FileFormatError(f"{' and '.join(wrong)} of {path} hold no {what}; write them as in openmm_confgf.files.archive.")
    # in Python's integers, which do not overflow
    n_atoms, n_conf = ([int(count) for count in arrays[key]] for key in ("n_atoms", "n_conf"))
    conformers = sum(n_conf)
    wanted = {
        "n_conf": molecules,
        "smiles": molecules,
        "name": molecules,
        "numbers": (sum(n_atoms),),
        "coords": (sum(atoms * count for atoms, count in zip(n_atoms, n_conf, strict=False)), 3),
        "energies": (conformers,),
    }
    for key, shape in wanted.items():
        if key in arrays and arrays[key].shape != shape:
            raise FileFormatError(f"{key} of {path} has shape {arrays[key].shape} where n_atoms and n_conf ask for {shape}.")
    types = {"n_atoms": np.int64, "n_conf": np.int64, "coords": np.float64, "energies": np.float64}
    arrays["energies"] = arrays.get("energies", np.full(conformers, np.nan))
    arrays |= {key: arrays[key].astype(dtype) for key, dtype in types.items()}
    if not np.isfinite(arrays["coords"]).all():
        raise FileFormatError(f"{path} holds coordinates that are not finite; drop those conformers.")
    return arrays


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, none of which is larger than the file can hold."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise FileFormatError(f"{path} is a single array; an archive is written with np.savez_compressed.")
        with loaded as archive:
            with zipfile.ZipFile(path) as members:
                for member in members.infolist():
                    _check_size(members, member)
            return {key: archive[key] for key in archive.files}
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}.") from error
    except _SPOILED as error:
        raise FileFormatError(f"{path} is not a complete npz file without pickled objects; write it with np.savez_compressed.") from error


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array whose header claims more than its bytes, before numpy makes room for it."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    if math.prod(shape) * dtype.itemsize > min(member.file_size, _LARGEST_RATIO * member.compress_size):
        raise ValueError(f"{member.filename} claims to be larger than it is")
