"""What the coordinates of an SDF say that its molecules are, found without the package: RDKit and covalent radii only."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

PYYKKO = {
    1: {1: 0.32},
    5: {1: 0.85, 2: 0.78, 3: 0.73},
    6: {1: 0.75, 2: 0.67, 3: 0.60},
    7: {1: 0.71, 2: 0.60, 3: 0.54},
    8: {1: 0.63, 2: 0.57, 3: 0.53},
    9: {1: 0.64, 2: 0.59, 3: 0.53},
    14: {1: 1.16, 2: 1.07, 3: 1.02},
    15: {1: 1.11, 2: 1.02, 3: 0.94},
    16: {1: 1.03, 2: 0.94, 3: 0.95},
    17: {1: 0.99, 2: 0.95, 3: 0.93},
    34: {1: 1.16, 2: 1.07, 3: 1.07},
    35: {1: 1.14, 2: 1.09, 3: 1.10},
    53: {1: 1.33, 2: 1.29, 3: 1.25},
}
"""Covalent radii (Angstrom) by element and bond order: Pyykkö and Atsumi, Chem. Eur. J. 2009, 15, 186 and 12770."""

SHORTEST, LONGEST = 0.20, 0.25
"""How much shorter and longer (Angstrom) than the sum of the radii a bond may be; sulfoxides, N-O and O-O bonds are off by up to 0.2."""

POLAR = {14: 0.30, 15: 0.25}
"""The first of these for O and F on Si and P, whose radii leave polarity out: SiF4 1.55 A (sum 1.80), POF3 1.52 A (1.75). Not for S:
SO2F2 1.53 A (1.67) is the shortest."""

TRIPLE = 0.1
"""The same, either way, of triple bonds, which vary less: C#C is 1.19 to 1.23 A, strained or conjugated or not."""

APART = 1.15
"""Atoms that are not bonded are further apart than this times the sum of their single-bond radii."""

PERCEIVED_ATOMS = 60
"""Largest molecule whose bond orders RDKit is asked for, since it tries all combinations."""


@dataclasses.dataclass
class Seen:
    """What was found in one file.

    Attributes
    ----------
    ok : int
        Samples that call themselves OK.
    perceived : int
        Those whose bond orders RDKit found from coordinates, elements and charge.
    differences : list of str
    """

    ok: int = 0
    perceived: int = 0
    differences: list[str] = dataclasses.field(default_factory=list)


def look(path: Path, asked: str | None, source: Path | None) -> Seen:
    """Compare each OK sample of an SDF with its own graph, and its graph with what was asked for.

    Parameters
    ----------
    path : Path
        The output.
    asked : str, optional
        SMILES of the only molecule that it may hold.
    source : Path, optional
        The input, an SDF or PDB, whose molecules it may hold.
    """
    with rdBase.BlockLogs():
        return _look(path, asked, source)


def _look(path: Path, asked: str | None, source: Path | None) -> Seen:
    seen = Seen()
    wanted: list[Chem.Mol] | None = None if asked is None else _with_hydrogens(asked)
    if source is not None and source.suffix == ".sdf":
        given = [mol for mol in Chem.SDMolSupplier(str(source), removeHs=False) if mol is not None]
        wanted = [mol if any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()) else Chem.AddHs(mol) for mol in given] or None
    for mol in Chem.SDMolSupplier(str(path), removeHs=False, sanitize=False):
        if mol is None or not _is_ok(mol):
            continue
        seen.ok += 1
        seen.differences += _differences(mol, wanted, seen)
        if source is not None and source.suffix == ".pdb":
            seen.differences += _against_pdb(mol, source)
    seen.differences = list(dict.fromkeys(seen.differences))
    return seen


def _is_ok(mol: Chem.Mol) -> bool:
    """By the property whose name ends in ``status``; OK where there is none."""
    return all(mol.GetProp(name).strip() == "OK" for name in mol.GetPropNames() if re.fullmatch(r"(.*\W|.*_)?status", name.lower()))


def _with_hydrogens(smiles: str) -> list[Chem.Mol]:
    mol = Chem.MolFromSmiles(smiles)
    return [] if mol is None else [Chem.AddHs(mol)]


def _differences(mol: Chem.Mol, wanted: list[Chem.Mol] | None, seen: Seen) -> Iterator[str]:
    xyz = mol.GetConformer().GetPositions()
    if not np.isfinite(xyz).all():
        yield "a coordinate is no number"
        return
    yield from _contacts(mol, xyz)
    claimed = Chem.Mol(mol)
    try:
        Chem.SanitizeMol(claimed)
    except ValueError as error:
        yield f"its own graph is no molecule: {str(error).splitlines()[0]}"
        return
    if mol.GetNumAtoms() <= PERCEIVED_ATOMS and (perceived := _perceived(mol)) is not None:
        seen.perceived += 1
        yield from _disagreements(claimed, perceived)
    if wanted is not None:
        yield from _against(claimed, wanted)


def _contacts(mol: Chem.Mol, xyz: np.ndarray) -> Iterator[str]:
    """Bonds whose length is not that of their order, and atoms that are bonded by distance but not in the graph."""
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    if not set(numbers) <= set(PYYKKO):
        return
    flat = Chem.Mol(mol)
    flat.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(flat)
    Chem.SetConjugation(flat)
    distance = np.linalg.norm(xyz[:, None] - xyz, axis=-1)
    bonded = set()
    for bond in flat.GetBonds():
        i, j = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonded.add((i, j))
        order, name = bond.GetBondTypeAsDouble(), f"{mol.GetAtomWithIdx(i).GetSymbol()}{i + 1}-{mol.GetAtomWithIdx(j).GetSymbol()}{j + 1}"
        # resonance makes single and double bonds alike, those of S(=O)(=O)[O-] too
        resonant = bond.GetIsConjugated() or order not in (1, 2) or min(mol.GetAtomWithIdx(a).GetFormalCharge() for a in (i, j)) < 0
        orders = (3,) if order == 3 else (1, 2) if resonant else (int(order),)
        sums = [sum(PYYKKO[numbers[a]].get(n, PYYKKO[numbers[a]][1]) for a in (i, j)) for n in orders]
        shorter, longer = (TRIPLE, TRIPLE) if order == 3 and {numbers[i], numbers[j]} <= {6, 7} else (SHORTEST, LONGEST)
        if {numbers[i], numbers[j]} & {8, 9}:
            shorter = POLAR.get(max(numbers[i], numbers[j]), shorter)
        if not min(sums) - shorter <= distance[i, j] <= max(sums) + longer:
            yield f"the bond {name} of order {order:g} has {distance[i, j]:.2f} A"
    for i, j in np.argwhere(np.triu(np.ones_like(distance, bool), 1)):
        limit = APART * (PYYKKO[numbers[i]][1] + PYYKKO[numbers[j]][1])
        if distance[i, j] < limit and (i, j) not in bonded and not _near(mol, int(i), int(j), numbers):
            yield f"atoms {i + 1} and {j + 1} are not bonded, and {distance[i, j]:.2f} A apart"


def _near(mol: Chem.Mol, i: int, j: int, numbers: list[int]) -> bool:
    """Whether they have a neighbour in common in a small ring of large atoms, across which sums of radii say nothing."""
    shared = {n.GetIdx() for n in mol.GetAtomWithIdx(i).GetNeighbors()} & {n.GetIdx() for n in mol.GetAtomWithIdx(j).GetNeighbors()}
    return len(shared) > 1 and max(numbers[i], numbers[j]) > 10


def _perceived(mol: Chem.Mol) -> Chem.Mol | None:
    """Elements, coordinates and charge alone, to which RDKit adds the bonds; None where it does not find any."""
    bare = Chem.RWMol()
    for atom in mol.GetAtoms():
        bare.AddAtom(Chem.Atom(atom.GetAtomicNum()))
    bare.AddConformer(Chem.Conformer(mol.GetConformer()))
    found = bare.GetMol()
    try:
        rdDetermineBonds.DetermineBonds(found, charge=Chem.GetFormalCharge(mol), embedChiral=False, maxIterations=1000)
        Chem.SanitizeMol(found)
    except (ValueError, RuntimeError):
        return None
    return found


def _disagreements(claimed: Chem.Mol, perceived: Chem.Mol) -> Iterator[str]:
    """Bonds of one that the other lacks, and orders that resonance does not explain: of carbons in bonds that are not conjugated."""
    bonds = [{tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))): b for b in mol.GetBonds()} for mol in (claimed, perceived)]
    for i, j in sorted(bonds[0].keys() ^ bonds[1].keys()):
        yield f"atoms {i + 1} and {j + 1} are bonded in the {'graph' if (i, j) in bonds[0] else 'coordinates'} only"
    for i, j in sorted(bonds[0].keys() & bonds[1].keys()):
        pair = [one[i, j] for one in bonds]
        carbons = all(bond.GetBeginAtom().GetAtomicNum() == bond.GetEndAtom().GetAtomicNum() == 6 for bond in pair)
        if carbons and not any(bond.GetIsConjugated() for bond in pair) and pair[0].GetBondType() != pair[1].GetBondType():
            orders = [f"{bond.GetBondTypeAsDouble():g}" for bond in pair]
            yield f"the bond of atoms {i + 1} and {j + 1} has order {orders[0]} in the graph and {orders[1]} in the coordinates"


def _against(claimed: Chem.Mol, wanted: list[Chem.Mol]) -> Iterator[str]:
    """The graph and the stereo of the coordinates against those asked for, one of which they must be."""
    same = [one for one in wanted if _flat_smiles(one) == _flat_smiles(claimed)]
    if not same:
        yield f"asked for {' or '.join(sorted({_flat_smiles(one) for one in wanted}))}, got {_flat_smiles(claimed)}"
        return
    measured = Chem.Mol(claimed)
    Chem.AssignStereochemistryFrom3D(measured, replaceExistingTags=True)
    _read_inverted_centres(measured)
    # RDKit measures some nitrogens of bridgeheads and not others
    if not any(atom.GetAtomicNum() == 7 and atom.GetChiralTag() for atom in measured.GetAtoms()):
        same = [_without_nitrogens_hands(one) for one in same]
    if not any(measured.HasSubstructMatch(one, useChirality=True) for one in same):
        yield f"the stereo of the coordinates is {_smiles(measured)}, asked for {_smiles(same[0])}"


def _read_inverted_centres(mol: Chem.Mol) -> None:
    """RDKit reads the first three neighbours alone, which see a propellane's carbon from the other side: let the four triples vote."""
    positions = mol.GetConformer().GetPositions()
    tags = {-1: Chem.ChiralType.CHI_TETRAHEDRAL_CW, 1: Chem.ChiralType.CHI_TETRAHEDRAL_CCW}
    for atom in mol.GetAtoms():
        neighbours = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
        if atom.GetChiralTag() in tags.values() and len(neighbours) == 4:
            bonds = positions[neighbours] - positions[atom.GetIdx()]
            votes = sum((-1) ** left * np.sign(np.linalg.det(np.delete(bonds, 3 - left, axis=0))) for left in range(4))
            if votes:
                atom.SetChiralTag(tags[int(np.sign(votes))])


def _without_nitrogens_hands(mol: Chem.Mol) -> Chem.Mol:
    bare = Chem.Mol(mol)
    for atom in bare.GetAtoms():
        if atom.GetAtomicNum() == 7:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    return bare


def _flat_smiles(mol: Chem.Mol) -> str:
    bare = Chem.RemoveHs(mol, sanitize=False)
    bare = Chem.Mol(bare)
    Chem.RemoveStereochemistry(bare)
    for atom in bare.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.MolToSmiles(bare)


def _smiles(mol: Chem.Mol) -> str:
    return Chem.MolToSmiles(Chem.RemoveHs(mol))


def _against_pdb(mol: Chem.Mol, source: Path) -> Iterator[str]:
    """Elements counted in the records of the first model, less alternate locations."""
    counted: Counter[str] = Counter()
    locations: dict[tuple[bytes, bytes], bytes] = {}
    for line in re.split(rb"\r\n|\r|\n", source.read_bytes()):
        if line.startswith(b"END") and counted:
            break
        if line.startswith((b"ATOM", b"HETATM")):
            element, location = line[76:78].strip().decode(errors="replace").capitalize(), line[16:17].strip()
            if not element:
                return
            # the same letter again is another atom that has the same name
            if location and locations.setdefault((line[12:16], line[17:27]), location) != location:
                continue
            counted["H" if element == "D" else element] += 1
    own = Counter(atom.GetSymbol() for atom in mol.GetAtoms())
    if counted != own:
        yield f"the PDB has {_formula(counted)}, the output {_formula(own)}"


def _formula(counted: Counter[str]) -> str:
    return "".join(f"{symbol}{number}" for symbol, number in sorted(counted.items()))
