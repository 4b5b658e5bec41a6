"""A peptide from the names of its residues: no file is needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from openmm import app

from ..errors import MoleculeError
from .graph import MolecularGraph

THREE_LETTERS = {
    **{"A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIE", "I": "ILE", "K": "LYS", "L": "LEU"},
    **{"M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN", "R": "ARG", "S": "SER", "T": "THR", "V": "VAL", "W": "TRP", "Y": "TYR"},
}
"""Residues by their one-letter codes, as Amber's force fields name them."""


def peptide(residues: str | Sequence[str], name: str | None = None) -> MolecularGraph:
    """A linear peptide of L residues, with the atom order and the atom and residue names of Amber's force fields.

    Parameters
    ----------
    residues : str or sequence of str
        One-letter codes, for charged ends; or the names of Amber's templates, ends included: ``["ACE", "ALA", "NME"]``,
        ``["NALA", "GLY", "CSER"]``.
    name : str, optional
        Default: the residues.

    Raises
    ------
    MoleculeError
        If a residue is unknown, or the ends make it no complete molecule.

    Examples
    --------
    >>> peptide(["ACE", "ALA", "NME"]).smiles
    'CNC(=O)[C@H](C)NC(C)=O'
    """
    names = _with_charged_ends(residues) if isinstance(residues, str) else list(residues)
    # ForceField keeps what it read of its residues in this table, as pdbfixer and openmmforcefields rely on, too
    templates = app.ForceField("amber14-all.xml")._templates
    if not names or (unknown := [one for one in names if one not in templates]):
        raise MoleculeError(
            f"There is no residue {', '.join(unknown) if names else ''!r} in amber14-all.xml; give for example ACE, ALA, NME."
        )
    topology = app.Topology()
    chain = topology.addChain("A")
    ends = []
    for number, one in enumerate(names, 1):
        residue = topology.addResidue(one[-3:], chain, str(number))
        atoms = [topology.addAtom(atom.name, atom.element, residue) for atom in templates[one].atoms]
        for first, second in templates[one].bonds:
            topology.addBond(atoms[first], atoms[second])
        ends.append({atom.name: atom for atom in atoms})
    for before, after in itertools.pairwise(ends):
        if "C" not in before or "N" not in after:
            raise MoleculeError(f"The residues {' '.join(names)} make no chain of peptide bonds.")
        topology.addBond(before["C"], after["N"])
    return MolecularGraph.from_topology(topology, name=name or (residues if isinstance(residues, str) else "-".join(names)))


def _with_charged_ends(sequence: str) -> list[str]:
    names = [THREE_LETTERS.get(letter, letter) for letter in sequence]
    if names:
        names[0], names[-1] = f"N{names[0]}", f"C{names[-1]}"
    return names
