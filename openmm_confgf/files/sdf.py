"""SDF and MOL files: one record per conformation."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rdkit import Chem, rdBase

from .. import __version__
from ..checks import check_conformations
from ..ensemble import Ensemble, Provenance, Status
from ..errors import ConfGFError, FileFormatError, MoleculeError
from ..molecule import MolecularGraph
from ..units import NM_PER_ANGSTROM
from ._stereo import with_stereo_only_at

ENERGY, STATUS, STEREO = "energy_kj_per_mol", "status", "specified_smiles"
"""SD properties of each record. The SMILES tells which stereo is specified, where coordinates alone would specify all of it."""


@dataclasses.dataclass
class Group:
    """Consecutive records of one molecule in one atom order.

    Attributes
    ----------
    number : int
        Of the first record, from 1.
    graph : MolecularGraph or ConfGFError
        The molecule, or why the (only) record cannot be used.
    records : list of rdkit.Chem.Mol
        With one conformer each.
    """

    number: int
    graph: MolecularGraph | ConfGFError
    records: list[Chem.Mol]


def read_groups(path: Path) -> list[Group]:
    """The records of a file, those that follow each other and are the same molecule in the same atom order together."""
    # RDKit's own reader runs over the end of records that are too short, and loses the next one
    texts = re.split(r"^\$\$\$\$.*\n?", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
    if not texts[-1].strip():
        texts.pop()
    groups: list[Group] = []
    last_key: Any = None
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs():
        for number, text in enumerate(texts, start=1):
            supplier.SetData(text, removeHs=False)
            mol = next(iter(supplier), None)
            if mol is None:
                groups.append(Group(number, FileFormatError(f"Record {number} of {path} cannot be read: {_problem(text)}."), []))
                last_key = None
                continue
            key = _identity(mol)
            if key != last_key:
                groups.append(Group(number, _graph(mol, f"Record {number} of {path}"), []))
            groups[-1].records.append(mol)
            last_key = None if isinstance(groups[-1].graph, ConfGFError) else key
    return groups


def read_sdf(path: Path) -> list[Ensemble | ConfGFError]:
    """One ensemble for each group of records, or why there is none; where the file tells no status, the conformations are checked."""
    return [_ensemble(path, group) for group in read_groups(path)]


def write_sdf(ensembles: Iterable[Ensemble], stream: BinaryIO) -> int:
    """All usable samples, one record each, with their energies; the others are left out (an .h5 file keeps them).

    Returns
    -------
    int
        How many records were written.
    """
    written = 0
    for ensemble in ensembles:
        for record in _records(ensemble):
            # RDKit makes the text, Python writes it: RDKit's writer does not say that a disk is full
            stream.write(record.encode())
            written += 1
    return written


def _records(ensemble: Ensemble) -> Iterator[str]:
    mol = ensemble.to_rdkit()
    # one line, which must not look like the end of the record before it
    mol.SetProp("_Name", " ".join(ensemble.graph.name.split()).removeprefix("$$$$").lstrip())
    mol.SetProp(STATUS, Status.OK.name)
    mol.SetProp(STEREO, ensemble.graph.smiles)
    energies = None if ensemble.energy is None else ensemble.energy[ensemble.ok]
    for k, conformer in enumerate(mol.GetConformers()):
        if energies is not None:
            mol.SetProp(ENERGY, repr(float(energies[k])))
        yield Chem.SDWriter.GetText(mol, confId=conformer.GetId())


def _problem(text: str) -> str:
    """Why RDKit does not take a record."""
    mol: Any = Chem.MolFromMolBlock(text, sanitize=False, removeHs=False)
    if mol is None:
        return "it is not in MOL format (V2000 or V3000)"
    return "; ".join(str(p.Message()).strip().rstrip(".") for p in Chem.DetectChemistryProblems(mol)) or "RDKit rejects it"


def _identity(mol: Chem.Mol) -> tuple[Any, ...]:
    """What two records must share to be conformations of one molecule in one atom order."""
    atoms = tuple((a.GetAtomicNum(), a.GetFormalCharge()) for a in mol.GetAtoms())
    bonds = tuple((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds())
    if mol.HasProp(STEREO):
        return atoms, bonds, mol.GetProp("_Name"), mol.GetProp(STEREO)
    return atoms, bonds, Chem.MolToSmiles(mol)


def _graph(mol: Chem.Mol, label: str) -> MolecularGraph | ConfGFError:
    try:
        graph = MolecularGraph.from_rdkit(mol)
        if mol.HasProp(STEREO) and mol.GetProp(STEREO) != graph.smiles:
            return _with_specified_stereo(graph, mol.GetProp(STEREO))
    except MoleculeError as error:
        return type(error)(f"{label}: {error}")
    return graph


def _with_specified_stereo(graph: MolecularGraph, smiles: str) -> MolecularGraph:
    """The same molecule with only the stereo that the SMILES specifies; as it is where that is another molecule."""
    try:
        template = MolecularGraph.from_smiles(smiles)
    except MoleculeError:
        return graph
    match = graph.mol.GetSubstructMatch(template.mol, useChirality=True)
    if len(match) != len(graph):
        return graph
    double_bonds = {frozenset((match[b], match[c])) for _, b, c, _, _ in template.stereobonds.tolist()}
    return with_stereo_only_at(graph, {match[row[0]] for row in template.stereocentres.tolist()}, double_bonds)


def _ensemble(path: Path, group: Group) -> Ensemble | ConfGFError:
    if isinstance(group.graph, ConfGFError):
        return group.graph
    flat = [group.number + k for k, mol in enumerate(group.records) if not (mol.GetNumConformers() and mol.GetConformer().Is3D())]
    if flat:
        return FileFormatError(f"Record {flat[0]} of {path} has no 3D coordinates; make conformations of it first (generate).")
    positions = np.array([mol.GetConformer().GetPositions() for mol in group.records]) * NM_PER_ANGSTROM
    try:
        status = np.array([_status(path, group.number + k, mol) for k, mol in enumerate(group.records)])
        energies = [_energy(path, group.number + k, mol) for k, mol in enumerate(group.records)]
    except FileFormatError as error:
        return error
    if (status < 0).any():
        status = np.where(status < 0, check_conformations(group.graph, positions), status)
    energy = None if None in energies else np.array(energies, np.float64)
    return Ensemble(group.graph, positions, Provenance(path.name, __version__), status.astype(np.int8), energy)


def _status(path: Path, number: int, mol: Chem.Mol) -> int:
    """The status of a record, -1 where it tells none: without `STEREO` it is another program's, and about something else."""
    if not (mol.HasProp(STATUS) and mol.HasProp(STEREO)):
        return -1
    try:
        return Status[mol.GetProp(STATUS)]
    except KeyError as error:
        known = ", ".join(s.name for s in Status)
        raise FileFormatError(f"Record {number} of {path} has the {STATUS} {mol.GetProp(STATUS)!r}; known are {known}.") from error


def _energy(path: Path, number: int, mol: Chem.Mol) -> float | None:
    if not mol.HasProp(ENERGY):
        return None
    try:
        return float(mol.GetProp(ENERGY))
    except ValueError as error:
        raise FileFormatError(f"Record {number} of {path} has the {ENERGY} {mol.GetProp(ENERGY)!r}; give a number.") from error
