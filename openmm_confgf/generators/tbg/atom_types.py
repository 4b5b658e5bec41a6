"""What a transferable Boltzmann generator is told of each atom: one-hot features, and the density does not tell atoms of one row apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ...errors import ConfGFError, UnsupportedMoleculeError
from ...molecules.backbone import backbone_torsions
from ...molecules.equivalence import ranks_without_resonance
from ...molecules.graph import MolecularGraph

ELEMENTS = (1, 6, 7, 8, 16)
"""Atomic numbers that the transferable variants know, in the order of their columns."""

BACKBONE = ("N", "CA", "C", "O")
"""Atoms of each residue that "tbg+backbone" tells apart; OXT is oxygen like any other."""

_SIDE_CHAINS = {
    "ALA": "CB HB",
    "ARG": "CB HB CG HG CD HD NE HE CZ NH1 HH1 NH2 HH2",
    "ASN": "CB HB CG OD ND2 HD2",
    "ASP": "CB HB CG OD",
    "CYS": "CB HB SG HG",
    "GLN": "CB HB CG HG CD OE NE2 HE2",
    "GLU": "CB HB CG HG CD OE",
    "GLY": "",
    "HIS": "CB HB CG ND1 HD1 CE1 HE1 NE2 HE2 CD2 HD2",
    "ILE": "CB HB CG1 HG1 CG2 HG2 CD1 HD1",
    "LEU": "CB HB CG HG CD1 HD1 CD2 HD2",
    "LYS": "CB HB CG HG CD HD CE HE NZ HZ",
    "MET": "CB HB CG HG SD CE HE",
    "PHE": "CB HB CG CD1 HD1 CD2 HD2 CE1 HE1 CE2 HE2 CZ HZ",
    "PRO": "CB HB CG HG CD HD",
    "SER": "CB HB OG HG",
    "THR": "CB HB OG1 HG CG2 HG2",
    "TRP": "CB HB CG CD1 HD1 CD2 NE1 HE1 CE2 CE3 HE3 CZ2 HZ2 CZ3 HZ3 CH2 HH2",
    "TYR": "CB HB CG CD1 HD1 CD2 HD2 CE1 HE1 CE2 HE2 CZ OH HH",
    "VAL": "CB HB CG1 HG1 CG2 HG2",
}
ATOMS = {residue: frozenset(f"N H CA HA C O OXT {names}".split()) for residue, names in _SIDE_CHAINS.items()}
"""The twenty amino acids, in the order of their columns, and the names of their atoms after the published merge.

Merged are the hydrogens of one atom (H1 H2 H3 of the N end; HA2 HA3 of glycine, as HA; HB1 HB2 HB3 ...), and OD1 OD2 and OE1 OE2, of a
carboxylate. Kept apart, although the bonds do not tell them apart, are O and OXT, NH1 and NH2 with their hydrogens, the methyls of valine
and leucine, and both sides of the rings of phenylalanine and tyrosine."""

ATOM_NAMES = tuple(sorted(frozenset().union(*ATOMS.values())))
"""The 54 names, in the order of their columns."""

_HISTIDINES = ("HID", "HIE", "HIP")
_NAMES_FOR = "Amber's names, as those of `peptide` and of PDB files"


def atom_types(graph: MolecularGraph, variant: str) -> NDArray[np.float32]:
    """Features of each atom, as Klein & Noe 2024 (arXiv:2406.14426) have them.

    ======================  ====================================================================================================
    ``"tbg"``               5 columns: H C N O S.
    ``"tbg+backbone"``      13: the same for atoms outside of the backbone; N CA C O of the first residue, those of the second.
                            Dipeptides alone.
    ``"tbg+full"``          76, three of which are 1: the first residue, the last; twenty amino acids; 54 names of atoms, after a
                            merge (`ATOMS`). In longer peptides, residues between have no position.
    ``"bg+backbone"``       For one molecule. One for each element that it has; one for each N, CA and C about which phi and psi turn,
                            told by bonds: 4 + 5 for alanine dipeptide, whose nitrogens are all in the backbone.
    ``"graph"``             For one molecule, any. One for each class of atoms that its bonds and stereo do not tell apart
                            (`ranks_without_resonance`): 16 for alanine dipeptide, the published "TBG + full" of this molecule.
    ======================  ====================================================================================================

    Parameters
    ----------
    graph : MolecularGraph
    variant : str

    Returns
    -------
    ndarray of float32, (N, F)

    Raises
    ------
    UnsupportedMoleculeError
        If the variant needs names of residues and atoms that the molecule lacks, or does not know an element or a name, or needs a
        backbone.
    ConfGFError
        If there is no such variant.

    Examples
    --------
    >>> dipeptide = MolecularGraph.from_smiles("CC(=O)N[C@@H](C)C(=O)NC")
    >>> atom_types(dipeptide, "tbg").shape, atom_types(dipeptide, "bg+backbone").shape, atom_types(dipeptide, "graph").shape
    ((22, 5), (22, 9), (22, 16))
    """
    if variant not in _VARIANTS:
        raise ConfGFError(f"There is no variant {variant!r} of atom types; choose one of {', '.join(VARIANTS)}.")
    return _VARIANTS[variant](graph)


def feature_width(variant: str, graph: MolecularGraph) -> int:
    """How many columns `atom_types` has: 5, 13, 76, or what the molecule has classes.

    Parameters
    ----------
    variant : str
    graph : MolecularGraph

    Raises
    ------
    UnsupportedMoleculeError, ConfGFError
        As `atom_types`.
    """
    return int(atom_types(graph, variant).shape[1])


@dataclasses.dataclass(frozen=True)
class _Named:
    """One atom of a peptide: the residue's place in the sequence from 0, its name in `ATOMS`, the atom's merged name."""

    place: int
    residue: str
    atom: str


def _elements(graph: MolecularGraph) -> NDArray[np.float32]:
    return _one_hot(_element_columns(graph), len(ELEMENTS))


def _elements_and_backbone(graph: MolecularGraph) -> NDArray[np.float32]:
    named = _named_atoms(graph)
    if (residues := named[-1].place + 1) != 2:
        raise UnsupportedMoleculeError(
            f'{graph.name!r} has {residues} residues, and "tbg+backbone" is defined for two; choose "tbg+full", or "bg+backbone".'
        )
    columns = _element_columns(graph)
    for k, atom in enumerate(named):
        if atom.atom in BACKBONE:
            columns[k] = len(ELEMENTS) + len(BACKBONE) * atom.place + BACKBONE.index(atom.atom)
    return _one_hot(columns, len(ELEMENTS) + 2 * len(BACKBONE))


def _residues_and_names(graph: MolecularGraph) -> NDArray[np.float32]:
    named = _named_atoms(graph)
    last = named[-1].place
    positions = np.array([[atom.place == 0, atom.place == last] for atom in named], np.float32)
    residues = list(ATOMS)
    return np.concatenate(
        [
            positions,
            _one_hot([residues.index(atom.residue) for atom in named], len(residues)),
            _one_hot([ATOM_NAMES.index(atom.atom) for atom in named], len(ATOM_NAMES)),
        ],
        axis=1,
    )


def _own_elements_and_backbone(graph: MolecularGraph) -> NDArray[np.float32]:
    phi, psi = backbone_torsions(graph)
    chain = np.unique(np.concatenate([phi.ravel(), psi.ravel()]))
    if not len(chain):
        raise UnsupportedMoleculeError(f'{graph.name!r} has no backbone of a peptide; choose "graph", which takes any molecule.')
    elements, columns = np.unique(graph.numbers, return_inverse=True)
    columns[chain] = len(elements) + np.arange(len(chain))
    return _one_hot(columns.tolist(), len(elements) + len(chain))


def _classes(graph: MolecularGraph) -> NDArray[np.float32]:
    classes, columns = np.unique(ranks_without_resonance(graph.mol), return_inverse=True)
    return _one_hot(columns.tolist(), len(classes))


_VARIANTS: dict[str, Callable[[MolecularGraph], NDArray[np.float32]]] = {
    "tbg": _elements,
    "tbg+backbone": _elements_and_backbone,
    "tbg+full": _residues_and_names,
    "bg+backbone": _own_elements_and_backbone,
    "graph": _classes,
}

VARIANTS = tuple(_VARIANTS)


def _one_hot(columns: list[int], width: int) -> NDArray[np.float32]:
    return np.eye(width, dtype=np.float32)[columns]


def _element_columns(graph: MolecularGraph) -> list[int]:
    if foreign := sorted(set(graph.numbers.tolist()) - set(ELEMENTS)):
        symbols = ", ".join(Chem.GetPeriodicTable().GetElementSymbol(number) for number in foreign)
        raise UnsupportedMoleculeError(f'{graph.name!r} has {symbols}, and this variant knows H, C, N, O, S; choose "graph".')
    return [ELEMENTS.index(number) for number in graph.numbers.tolist()]


def _named_atoms(graph: MolecularGraph) -> list[_Named]:
    infos = [atom.GetPDBResidueInfo() for atom in graph.mol.GetAtoms()]
    if None in infos:
        raise UnsupportedMoleculeError(
            f"{graph.name!r} has no names of residues and atoms, which this variant needs; make it by `peptide` or from a PDB file, or "
            'choose "tbg" or "graph".'
        )
    keys = [(info.GetChainId(), info.GetResidueNumber(), info.GetInsertionCode()) for info in infos]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    named = []
    for key, info in zip(keys, infos, strict=True):
        residue, name = info.GetResidueName().strip(), info.GetName().strip()
        known = "HIS" if residue in _HISTIDINES else residue
        if known not in ATOMS:
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has the residue {residue}, and this variant knows the twenty amino acids with charged ends; choose "
                '"bg+backbone" or "graph".'
            )
        merged = _merged(known, name)
        if merged is None:
            raise UnsupportedMoleculeError(
                f"Atom {name} of {residue} in {graph.name!r} has a name that this variant does not know; give {_NAMES_FOR}, or choose "
                '"bg+backbone" or "graph".'
            )
        named.append(_Named(places[key], known, merged))
    return named


def _merged(residue: str, name: str) -> str | None:
    """The name in `ATOMS`: the atom's own, or that without the number that counts the hydrogens of one atom, or a carboxylate's oxygens."""
    if name in ATOMS[residue]:
        return name
    shorter = name[:-1] if name.startswith(("H", "OD", "OE")) and name[-1:].isdigit() else name
    return shorter if shorter in ATOMS[residue] else None
