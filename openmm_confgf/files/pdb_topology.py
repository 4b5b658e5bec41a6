"""The Topology of a PDB file's records: every record is an atom, in the file's order."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import app

from ..errors import MoleculeError
from ..molecules.residues import ALIASES, DOUBLE_BONDS, TEMPLATES
from .pdb_records import AtomRecord, PDBRecords

_LONGEST_LINK = 2.5
"""Atoms of standard residues that are farther apart (A) are not bonded: between residues, because others are missing there."""

_LONGEST_DISULFIDE = 3.0
"""S-S (A), as in OpenMM; it is 2.05."""

_LONGEST_TO_HYDROGEN = 1.45
"""A hydrogen of a standard residue whose name is unknown, or that of an atom farther away, is bonded to the nearest other atom of its
residue within this distance (A); S-H has 1.34, and the hydrogens of a neighbour 2.0."""

_ORDERS = {1: app.Single, 2: app.Double, 3: app.Triple}

_UNMISTAKABLE = {"CL": "Cl", "BR": "Br"}
"""Names that tell the element wherever they begin."""


def topology_of_records(records: PDBRecords) -> app.Topology:
    """An OpenMM Topology of the first model, with bonds, the bond orders of repeated CONECT records, and formal charges.

    Names of standard residues and their atoms become OpenMM's (``HSE`` is ``HIS``, its ``HN`` is ``H``); atoms of a residue that share a
    name are numbered, and the residue is none of the standard ones then.

    Parameters
    ----------
    records : PDBRecords

    Returns
    -------
    openmm.app.Topology
        Its atoms are those of the records, in their order; without positions.

    Raises
    ------
    MoleculeError
        If a residue has atoms without bonds, or an atom's element cannot be told.
    """
    app.PDBFile._loadNameReplacementTables()  # the tables that PDBFile and PDBxFile use, pdbNames.xml
    topology = app.Topology()
    for _, chain_atoms in itertools.groupby(records.atoms, key=lambda a: (a.segment, a.chain)):
        chain = None
        for members in _residues(list(chain_atoms)):
            chain = chain or topology.addChain(members[0].chain or None)
            name, names = _names(members)
            residue = topology.addResidue(name, chain, members[0].number, members[0].insertion)
            for atom, atom_name in zip(members, names, strict=True):
                topology.addAtom(atom_name, _element(atom, members), residue, atom.serial, formalCharge=atom.charge)
    _add_bonds(topology, records)
    return topology


def pairs_told_by_names(topology: app.Topology) -> set[tuple[int, int]]:
    """Bonds (i < j) that the names of standard residues and their order tell, disulfides excepted.

    Parameters
    ----------
    topology : openmm.app.Topology
        With OpenMM's names; its bonds are not looked at.
    """
    app.Topology().createStandardBonds()  # loads the table, residues.xml
    pairs = set()
    for chain in topology.chains():
        before: dict[str, int] = {}
        for residue in chain.residues():
            here = {atom.name: atom.index for atom in residue.atoms()}
            for ends in app.Topology._standardBonds.get(TEMPLATES.get(residue.name, residue.name), ()):
                names = ["SE" if residue.name == "MSE" and end == "SD" else end for end in ends]
                found = [before.get(name[1:]) if name.startswith("-") else here.get(name) for name in names]
                i, j = (-1 if index is None else index for index in found)
                if min(i, j) >= 0:
                    pairs.add((min(i, j), max(i, j)))
            before = here
    return pairs


def _residues(atoms: list[AtomRecord]) -> Iterator[list[AtomRecord]]:
    """The residues of a chain; a standard one whose first atom comes again is the next one, with the same number."""
    for _, group in itertools.groupby(atoms, key=lambda a: (a.number, a.insertion, a.residue)):
        members: list[AtomRecord] = []
        for atom in group:
            if members and atom.name == members[0].name and _standard_name(atom.residue) in DOUBLE_BONDS:
                yield members
                members = []
            members.append(atom)
        yield members


def _standard_name(residue: str) -> str:
    name = ALIASES.get(residue, residue)
    return str(name if name in TEMPLATES else app.PDBFile._residueNameReplacements.get(name, name))


def _names(members: list[AtomRecord]) -> tuple[str, list[str]]:
    """The residue's name and its atoms', OpenMM's where it is a standard residue."""
    given = [atom.name.strip() for atom in members]
    residue = _standard_name(members[0].residue)
    table = app.PDBFile._atomNameReplacements.get(TEMPLATES.get(residue, residue), {})
    names = [table.get(name, name) for name in given]
    if len(set(names)) == len(names):
        return residue, names
    seen: collections.Counter[str] = collections.Counter()
    unique = []
    for atom, name in zip(members, given, strict=True):
        label = name or atom.element or "X"
        while True:
            seen[label] += 1
            numbered = label if seen[label] == 1 and given.count(label) == 1 else f"{label}{seen[label]}"
            if numbered not in unique:
                break
        unique.append(numbered)
    return ("UNL" if residue in DOUBLE_BONDS else residue), unique


def _element(atom: AtomRecord, members: list[AtomRecord]) -> Any:
    """The element that the record's columns name; without them, the one that its name tells."""
    symbol = atom.element.capitalize()
    label = f"Atom {atom.name.strip()} of residue {atom.residue} {atom.number}"
    if atom.element.upper() == "EP":
        raise MoleculeError(f"{label} is a virtual site (EP in columns 77-78); remove its record.")
    standard = _standard_name(atom.residue) in DOUBLE_BONDS
    if _is_symbol(symbol):
        element = app.Element.getBySymbol(symbol)
        letter = atom.name.strip().lstrip("0123456789")[:1].upper()
        if standard and len(members) > 1 and letter.isalpha() and element.symbol not in (letter, "D", "Se"):
            raise MoleculeError(f"{label} has the element {element.symbol} in columns 77-78, which it is not; correct or clear them.")
        return element
    guess = _symbol_of_name(atom, members, standard)
    if guess is None:
        raise MoleculeError(f"{label} does not tell its element; give it in columns 77-78 (EP marks a virtual site).")
    return app.Element.getBySymbol(guess)


def _symbol_of_name(atom: AtomRecord, members: list[AtomRecord], standard: bool) -> str | None:
    """PDB names have the element right-aligned in their first two columns; None where that is not clear."""
    name = atom.name.strip().upper()
    letters = name.lstrip("0123456789")
    if len(members) == 1 and name == atom.residue.upper().rstrip("+-0123456789") and _is_symbol(name):
        return name
    if letters[:2] in _UNMISTAKABLE:
        return _UNMISTAKABLE[letters[:2]]
    one = letters[:1] if _is_symbol(letters[:1]) else None
    if standard or not atom.name[0].isalpha() or not letters[1:2].isalpha() or not _is_symbol(letters[:2]):
        return one
    # "CA  " where "C1  " begins in the same column may be carbon or calcium, and "HG11" is hydrogen
    return "H" if letters[0] == "H" and len(name) == 4 else None


def _is_symbol(symbol: str) -> bool:
    try:
        return app.Element.getBySymbol(symbol) is not None
    except KeyError:
        return False


def _add_bonds(topology: app.Topology, records: PDBRecords) -> None:
    """Bonds that residue names tell, then those of CONECT records."""
    positions = records.frames[0]
    atoms = list(topology.atoms())
    pairs = _disulfides(topology, positions)
    for i, j in pairs_told_by_names(topology):
        hydrogen = any(atoms[k].element is not None and atoms[k].element.atomic_number == 1 for k in (i, j))
        if np.linalg.norm(positions[i] - positions[j]) < (_LONGEST_TO_HYDROGEN if hydrogen else _LONGEST_LINK):
            pairs.add((i, j))
    pairs |= _hydrogens_of_standard_residues(topology, positions, pairs)
    told = any(count > 1 for count in records.connections.values())
    for i, j in sorted(pairs | set(records.connections)):
        order = records.connections.get((i, j))
        if order is None or (i, j) in pairs or not told:
            topology.addBond(atoms[i], atoms[j])
        else:
            topology.addBond(atoms[i], atoms[j], _ORDERS.get(order), order)
    bonded = {bond[k].index for bond in topology.bonds() for k in (0, 1)}
    if bonded and (alone := [atom for atom in atoms if atom.index not in bonded and len(list(atom.residue.atoms())) > 1]):
        _refuse_unbonded(alone)


def _refuse_unbonded(alone: list[Any]) -> None:
    residue = alone[0].residue
    members = list(residue.atoms())
    there = [atom.name for atom in alone if atom.residue is residue]
    if residue.name not in DOUBLE_BONDS and len(there) > len(members) // 2:
        raise MoleculeError(
            f"Residue {residue.name} {residue.id} has no bonds in the file and is unknown by name; add CONECT records, or rename it and "
            "its atoms as OpenMM knows them (HIS, CYS, NME ...)."
        )
    raise MoleculeError(
        f"Atom {', '.join(there)} of residue {residue.name} {residue.id} has no bond; add CONECT records, or rename it as OpenMM knows it."
    )


def _disulfides(topology: app.Topology, positions: NDArray[np.float64]) -> set[tuple[int, int]]:
    free = []
    for residue in topology.residues():
        here = {atom.name: atom.index for atom in residue.atoms()}
        if residue.name in ("CYS", "CYX") and "SG" in here and "HG" not in here:
            free.append(here["SG"])
    return {(i, j) for i, j in itertools.combinations(free, 2) if np.linalg.norm(positions[i] - positions[j]) < _LONGEST_DISULFIDE}


def _hydrogens_of_standard_residues(
    topology: app.Topology, positions: NDArray[np.float64], pairs: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Bonds of hydrogens whose names differ from OpenMM's (HB1 and HB2 for HB2 and HB3, say)."""
    bonded = set(itertools.chain.from_iterable(pairs))
    found = set()
    for residue in topology.residues():
        if residue.name not in DOUBLE_BONDS:
            continue
        heavy = [atom.index for atom in residue.atoms() if atom.element is not None and atom.element.atomic_number > 1]
        heavy = [index for index in heavy if index in bonded or len(heavy) == 1]  # the others have unknown names
        for atom in residue.atoms():
            if atom.index in bonded or atom.element is None or atom.element.atomic_number != 1 or not heavy:
                continue
            reach = np.linalg.norm(positions[heavy] - positions[atom.index], axis=1)
            if reach.min() < _LONGEST_TO_HYDROGEN:
                nearest = heavy[int(reach.argmin())]
                found.add((min(nearest, atom.index), max(nearest, atom.index)))
    return found
