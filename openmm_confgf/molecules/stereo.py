"""Which stereo a molecule specifies, and refusals of what no check here can see: it would be lost in silence otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ..errors import MoleculeError

HANDS = {Chem.ChiralType.CHI_TETRAHEDRAL_CCW: 1, Chem.ChiralType.CHI_TETRAHEDRAL_CW: -1}
"""The sign of the signed volume of a centre's first three neighbours (`MolecularGraph.stereocentres`)."""

_UNSPECIFIED = Chem.ChiralType.CHI_UNSPECIFIED
_PYRAMIDAL = (15, 33)
"""P and As keep their pyramids (30 kcal/mol and more), which RDKit does not read from coordinates; it does so for S and Se."""

_FLATTEST_PYRAMID = 1.0
"""Smallest signed volume (A^3) of a pyramid that has a hand; phosphines have 3 to 6."""

FLATTEST_CENTRE = 0.5
"""Smallest volume (A^3) of the tetrahedron of four neighbours, times six, where the centre has a hand. Relaxed centres have 3 to 12."""

MOST_INVERTED, MOST_INVERTED_HOT = 1.0, 1.2
"""How far (A^3) the volume of three neighbours may have the other sign, in what should be a minimum and elsewhere: to 0.99 in B3LYP minima
of QM9's propellanes, to 1.17 in embeddings of trans-fused small rings that last. Those that break in GFN2-xTB have more."""

_WEDGES = {"_MolFileBondStereo": (1, 6), "_MolFileBondCfg": (1, 3)}
"""RDKit's properties of bonds that were wedged in a V2000 or V3000 mol block or a CXSMILES, and their values for up and down."""

_ONLY = "only tetrahedral centres and double bonds can be"


def assign_stereo_from_3d(mol: Chem.Mol) -> None:
    """Specify what tags leave open from the molecule's 3D conformer, in place: centres, double bonds, and the pyramids of P and As.

    Stereo that coordinates imply and nothing here can check (square planar, octahedral ...) stays open, also where RDKit read it from the
    coordinates of a mol block, which has no other way to specify it.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised, with all hydrogens and a conformer in Angstrom.
    """
    specified = set() if mol.HasProp("_MolFileInfo") else set(_other_centres(mol))
    tagged = {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetChiralTag() != _UNSPECIFIED}
    Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=False)
    for index in set(_other_centres(mol)) - specified:
        mol.GetAtomWithIdx(index).SetChiralTag(_UNSPECIFIED)
    positions = mol.GetConformer().GetPositions()
    for atom in mol.GetAtoms():
        if atom.GetIdx() in tagged:
            continue
        pyramid = atom.GetAtomicNum() in _PYRAMIDAL and atom.GetDegree() == 3 and atom.GetTotalValence() == 3
        inverted = atom.GetChiralTag() in HANDS and atom.GetDegree() == 4
        if pyramid or inverted:
            flattest = _FLATTEST_PYRAMID if pyramid else FLATTEST_CENTRE
            hand = int(tetrahedral_hands(positions, np.array([centre_and_neighbours(atom)]), flattest)[0])
            atom.SetChiralTag(next((tag for tag, sign in HANDS.items() if sign == hand), _UNSPECIFIED))


def centre_and_neighbours(atom: Chem.Atom) -> list[int]:
    """The atom and its neighbours in RDKit's order of bonds, as `tetrahedral_hands` wants them.

    Parameters
    ----------
    atom : rdkit.Chem.Atom
        With three or four neighbours.

    Returns
    -------
    list of int, (5,)
        The fifth is the atom itself where it has three.
    """
    neighbours = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
    return [atom.GetIdx(), *neighbours, atom.GetIdx()][:5]


def tetrahedral_hands(
    positions: NDArray[np.float64], centres: NDArray[np.int64], flattest: float = FLATTEST_CENTRE, most_inverted: float = MOST_INVERTED_HOT
) -> NDArray[np.int8]:
    """The hand of tetrahedral centres, whichever order their neighbours are listed in but for its sign.

    Seen from any neighbour towards the centre, the other three turn one way. The volumes ``v_1 . (v_2 x v_3)`` of the four triples of
    bonds, each in the order that keeps the sense, have one sign where the centre is inside the tetrahedron of its neighbours. The
    inverted carbons of propellanes and other small bicycles lie beyond one of its faces, and one volume has the other sign (RDKit looks at
    the first alone); the turn is that of the other three, and of their sum, six times the volume of the tetrahedron. Beyond an edge
    two volumes disagree with two, and there is none.

    Parameters
    ----------
    positions : ndarray, (..., N, 3)
        A.
    centres : ndarray of int64, (C, 5)
        The centre and its four neighbours; the centre once more where it has three.
    flattest : float
        A^3, the sum of the four volumes below which there is no hand.
    most_inverted : float
        A^3, above which a volume of the other sign leaves none.

    Returns
    -------
    ndarray of int8, (..., C)
        The sign of that sum, 1 where the last three neighbours turn counter-clockwise seen from the first; 0 for no hand.
    """
    a, b, c, d = (positions[..., centres[:, k], :] - positions[..., centres[:, 0], :] for k in range(1, 5))
    triples = ((a, b, c), (a, c, d), (a, d, b), (b, d, c))
    volumes = np.stack([(i * np.cross(j, k)).sum(-1) for i, j, k in triples], axis=-1)
    total = volumes.sum(-1)
    outward = volumes * np.sign(total)[..., None]
    has_hand = (np.abs(total) >= flattest) & ((outward < 0).sum(-1) <= 1) & (outward.min(-1) >= -most_inverted)
    return np.where(has_hand, np.sign(total), 0).astype(np.int8)


def perceive_stereo(mol: Chem.Mol) -> None:
    """Leave open, in place, what is specified but makes no difference.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised.
    """
    _open_resonant_centres(mol)
    # perception reads bond directions, which molecules that were not made from a SMILES lack
    Chem.AssignStereochemistry(mol)
    Chem.SetDoubleBondNeighborDirections(mol)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)


def _open_resonant_centres(mol: Chem.Mol) -> None:
    """Leave P, As and S open, in place, where =O and -O(-), or =S and -S(-), differ by the resonance form alone."""
    for atom in mol.GetAtoms():
        if atom.GetChiralTag() in HANDS and atom.GetSymbol() in ("P", "As", "S"):
            ends = [(bond.GetBondTypeAsDouble(), bond.GetOtherAtom(atom)) for bond in atom.GetBonds()]
            terminal = {(order, end.GetSymbol(), end.GetFormalCharge()) for order, end in ends if end.GetDegree() == 1}
            if any((2.0, symbol, 0) in terminal and (1.0, symbol, -1) in terminal for symbol in ("O", "S")):
                atom.SetChiralTag(_UNSPECIFIED)


def check_stereo(mol: Chem.Mol, name: str) -> None:
    """Refuse specified stereo that no check here can see: a sample of the other hand would pass as right.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Need not be sanitised.
    name : str
        For the message.

    Raises
    ------
    MoleculeError
        If a centre's stereo is not tetrahedral, or a chiral axis is specified.
    """
    for index in _other_centres(mol):
        atom = mol.GetAtomWithIdx(index)
        kind = atom.GetChiralTag().name.removeprefix("CHI_").lower()
        raise MoleculeError(f"atom {index} ({atom.GetSymbol()}) of {name!r} has its {kind} stereo specified, and {_ONLY}; leave it open.")
    for bond in mol.GetBonds():
        if bond.GetStereo() in (Chem.BondStereo.STEREOATROPCW, Chem.BondStereo.STEREOATROPCCW):
            raise MoleculeError(
                f"the bond of atoms {bond.GetBeginAtomIdx()} and {bond.GetEndAtomIdx()} of {name!r} is a specified chiral axis, and "
                f"{_ONLY} specified; leave it open (drop the wedges beside it)."
            )


def check_source_stereo(mol: Chem.Mol, name: str) -> None:
    """Refuse what a source specifies and RDKit drops while it sanitises: allenes, cumulenes, groups of stereoisomers, lone wedges.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        As it was parsed: from a SMILES, not sanitised.
    name : str
        For the message.

    Raises
    ------
    MoleculeError
        If there is any of them.
    """
    for group in mol.GetStereoGroups():
        if group.GetGroupType() != Chem.StereoGroupType.STEREO_ABSOLUTE:
            members = ", ".join(str(atom.GetIdx()) for atom in group.GetAtoms())
            kind = "a mixture of" if group.GetGroupType() == Chem.StereoGroupType.STEREO_AND else "one of"
            raise MoleculeError(
                f"{name!r} is {kind} two stereoisomers (enhanced stereo of atoms {members}); give one of them, or leave these atoms open."
            )
    inner = {atom.GetIdx() for atom in mol.GetAtoms() if _doubles(atom) == 2 and atom.GetDegree() == 2}
    for index in sorted(inner):
        if mol.GetAtomWithIdx(index).GetChiralTag() != _UNSPECIFIED:
            raise MoleculeError(f"atom {index} (C) of {name!r} has its allene stereo specified, and {_ONLY}; leave it open.")
    for first, last in _cumulenes(mol, inner):
        if _has_direction(mol.GetAtomWithIdx(first)) and _has_direction(mol.GetAtomWithIdx(last)):
            raise MoleculeError(
                f"the cumulated double bonds of atoms {first} to {last} of {name!r} have their stereo specified, and {_ONLY}; "
                "leave it open."
            )
    for bond in mol.GetBonds():
        begin = bond.GetBeginAtom()
        wedged = any(bond.HasProp(key) and int(bond.GetProp(key)) in values for key, values in _WEDGES.items())
        if wedged and begin.GetChiralTag() == _UNSPECIFIED and any(n.GetIdx() in inner for n in begin.GetNeighbors()):
            raise MoleculeError(f"atom {begin.GetIdx()} of {name!r} has its allene stereo specified by a wedge; leave it open.")


def check_wedges_of_smiles(mol: Chem.Mol, name: str) -> None:
    """Refuse wedges of a CXSMILES that specified nothing, for want of coordinates.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        As RDKit parsed and sanitised it.
    name : str
        For the message.

    Raises
    ------
    MoleculeError
        If there is one.
    """
    axes = {i for bond in mol.GetBonds() if "ATROP" in bond.GetStereo().name for i in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())}
    for bond in mol.GetBonds():
        begin = bond.GetBeginAtom()
        wedged = bond.HasProp("_MolFileBondCfg") and int(bond.GetProp("_MolFileBondCfg")) in _WEDGES["_MolFileBondCfg"]
        if wedged and begin.GetChiralTag() == _UNSPECIFIED and begin.GetIdx() not in axes:
            raise MoleculeError(f"the wedge at atom {begin.GetIdx()} of {name!r} specifies nothing without coordinates; use @ and @@.")


def _other_centres(mol: Chem.Mol) -> Iterator[int]:
    """Atoms with specified stereo that is not tetrahedral."""
    return (atom.GetIdx() for atom in mol.GetAtoms() if atom.GetChiralTag() not in (_UNSPECIFIED, *HANDS))


def _doubles(atom: Chem.Atom) -> int:
    return sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in atom.GetBonds())


def _cumulenes(mol: Chem.Mol, inner: set[int]) -> Iterator[tuple[int, int]]:
    """The ends of three, five ... cumulated double bonds: they are cis or trans, where two or four make an allene."""
    for start in sorted(inner):
        for end in mol.GetAtomWithIdx(start).GetNeighbors():
            if end.GetIdx() in inner:
                continue
            chain = [end.GetIdx(), start]
            while chain[-1] in inner:
                chain.append(next(n.GetIdx() for n in mol.GetAtomWithIdx(chain[-1]).GetNeighbors() if n.GetIdx() != chain[-2]))
                if chain[-1] == start:  # a ring of nothing else
                    break
            if len(chain) % 2 == 0 and chain[0] < chain[-1]:
                yield chain[0], chain[-1]


def _has_direction(atom: Chem.Atom) -> bool:
    directions = (Chem.BondDir.ENDUPRIGHT, Chem.BondDir.ENDDOWNRIGHT)
    return any(bond.GetBondDir() in directions for bond in atom.GetBonds())
