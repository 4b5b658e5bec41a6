"""What is no molecule that anything here could build, and why: each refusal names the atom and the cure."""

from __future__ import annotations

from rdkit import Chem, rdBase

from ..errors import MoleculeError

_P_BLOCK_BELOW = (*range(13, 18), *range(31, 36), *range(49, 54))
"""Elements that may have more than an octet, but not where they have one neighbour."""

_BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.DATIVE)


def check_one_structure(mol: Chem.Mol, name: str) -> None:
    """Refuse atoms and bonds that stand for several (those of queries), and bonds that no program here knows.

    MOL files and SMARTS have queries; RDKit takes aromatic bonds outside rings too.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
    name : str
        For messages.

    Raises
    ------
    MoleculeError
    """
    for atom in mol.GetAtoms():
        if atom.HasQuery() and atom.GetAtomicNum() != 0:
            raise MoleculeError(f"atom {atom.GetIdx()} of {name!r} is a query (an element with a condition); give the element alone.")
    for bond in mol.GetBonds():
        order, ends = bond.GetBondType(), (bond.GetBeginAtom(), bond.GetEndAtom())
        known = bond.GetIsAromatic() or order in _BONDS
        terminal_hydrogen = any(atom.GetAtomicNum() == 1 and atom.GetDegree() == 1 for atom in ends)
        if bond.HasQuery() or not known or (terminal_hydrogen and order != Chem.BondType.SINGLE):
            atoms = " and ".join(f"{atom.GetIdx()} ({atom.GetSymbol()})" for atom in ends)
            kind = "one of several orders" if bond.HasQuery() else str(order).lower()
            raise MoleculeError(f"the bond of atoms {atoms} of {name!r} is {kind} there; make it single, double, triple or dative.")


def check_complete(mol: Chem.Mol, name: str) -> None:
    """Refuse what no generator here can build: nothing, fragments, radicals, dummy atoms, missing hydrogens, broken octets.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised.
    name : str
        For messages.

    Raises
    ------
    MoleculeError
    """
    if mol.GetNumAtoms() == 0:
        raise MoleculeError(f"{name!r} has no atoms.")
    fragments = len(Chem.GetMolFrags(mol))
    if fragments > 1:
        raise MoleculeError(
            f"{name!r} has {fragments} fragments; give one molecule at a time (--largest-fragment, or rdMolStandardize."
            "LargestFragmentChooser, drops salts)."
        )
    table = Chem.GetPeriodicTable()
    for atom in mol.GetAtoms():
        label = f"atom {atom.GetIdx()} ({atom.GetSymbol()}) of {name!r}"
        if atom.GetAtomicNum() == 0:
            raise MoleculeError(f"{label} is a dummy atom; replace it by an element.")
        if atom.GetNumRadicalElectrons():
            raise MoleculeError(f"{label} is a radical; add the missing hydrogen, bond or charge.")
        if atom.GetTotalNumHs():
            missing = atom.GetTotalNumHs()
            raise MoleculeError(f"{label} lacks {missing} explicit hydrogen(s); add them with Chem.AddHs(mol, addCoords=True).")
        electrons = table.GetNOuterElecs(atom.GetAtomicNum()) - atom.GetFormalCharge() + atom.GetTotalValence()
        octet = 5 <= atom.GetAtomicNum() <= 10 or (atom.GetDegree() == 1 and atom.GetAtomicNum() in _P_BLOCK_BELOW)
        if octet and electrons > 8:
            charge, bonds = atom.GetFormalCharge(), atom.GetTotalValence()
            raise MoleculeError(f"{label} would have {electrons} outer electrons with charge {charge:+d} and {bonds} bond(s); correct it.")


def parse_problem(smiles: str) -> str:
    """What RDKit says of an unparsable SMILES, with the place where it can be told.

    Parameters
    ----------
    smiles : str
    """
    if not smiles.strip():
        return "it is empty"
    if (written := unsanitised(smiles)) is not None:
        return chemistry_problems(written)
    plain, _, extension = smiles.partition(" |")
    if extension and unsanitised(plain) is not None:
        return f"its CXSMILES extension |{extension} cannot be read"
    # RDKit's parser reports the position only in its log: the longest readable prefix tells it too
    for end in range(len(smiles) - 1, 0, -1):
        if unsanitised(smiles[:end]) is not None:
            return f"syntax error at or after position {end + 1} ({smiles[:end]}>>{smiles[end:]}<<)"
    return f"syntax error at position 1 (>>{smiles}<<)"


def chemistry_problems(mol: Chem.Mol) -> str:
    """Why RDKit does not sanitise a molecule.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
    """
    with rdBase.BlockLogs():
        problems = Chem.DetectChemistryProblems(mol)
    return "; ".join(str(p.Message()).strip().rstrip(".") for p in problems) or "RDKit rejects it"


def unsanitised(smiles: str) -> Chem.Mol | None:
    """The molecule of a SMILES as it is written; None where it cannot be parsed.

    Parameters
    ----------
    smiles : str
    """
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles, sanitize=False)
