"""What molecules of other sources lack: hydrogens that databases leave out, and counter-ions that they keep."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

HYDROGENS_ADDED = "explicit hydrogens were added, since the file has not all of them"
FRAGMENT_KEPT = "only the largest fragment was kept"


def with_hydrogens(mol: Chem.Mol) -> tuple[Chem.Mol, list[str]]:
    """The molecule with the hydrogens that its atoms lack, after the others.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        It is not changed.

    Returns
    -------
    mol : rdkit.Chem.Mol
        The same one where none is missing. Hydrogens have coordinates where the molecule has.
    notes : list of str
        `HYDROGENS_ADDED`, or nothing.
    """
    if not any(atom.GetTotalNumHs() for atom in mol.GetAtoms()):
        return mol, []
    return Chem.AddHs(mol, addCoords=mol.GetNumConformers() > 0), [HYDROGENS_ADDED]


def largest_fragment(mol: Chem.Mol) -> tuple[Chem.Mol, list[str]]:
    """The largest fragment of a molecule, its atoms in their order.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        It is not changed.

    Returns
    -------
    mol : rdkit.Chem.Mol
        The same one where it is one fragment.
    notes : list of str
        `FRAGMENT_KEPT`, or nothing.
    """
    if len(Chem.GetMolFrags(mol)) < 2:
        return mol, []
    return rdMolStandardize.LargestFragmentChooser().choose(mol), [FRAGMENT_KEPT]


def largest_fragment_of_smiles(smiles: str) -> tuple[str, list[str]]:
    """As `largest_fragment`, as a part of the text itself, so that nothing in it is lost.

    A SMILES that cannot be parsed, whose fragments share ring closures, or that has an extension (which counts atoms) is left as it is.

    Parameters
    ----------
    smiles : str

    Returns
    -------
    smiles : str
    notes : list of str
        `FRAGMENT_KEPT`, or nothing.
    """
    parts = smiles.split(".")
    mols = [Chem.MolFromSmiles(part) for part in parts]
    if len(parts) < 2 or "|" in smiles or None in mols:
        return smiles, []
    kept = Chem.MolToSmiles(rdMolStandardize.LargestFragmentChooser().choose(Chem.MolFromSmiles(smiles)))
    return next(part for part, mol in zip(parts, mols, strict=True) if Chem.MolToSmiles(mol) == kept), [FRAGMENT_KEPT]
