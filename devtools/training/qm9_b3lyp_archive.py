"""Bring QM9's own B3LYP minima, which have QM9's atom order and flat SMILES, into the archive layout that training reads.

    python devtools/training/qm9_b3lyp_archive.py qm9_b3lyp_train.npz OUT.npz COUNT

Bonds are perceived from the geometry and stereo is read from it; a molecule whose perceived graph is not its SMILES is dropped.
COUNT molecules are drawn with seed 0.
"""

import sys

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds


def in_smiles_order(numbers: np.ndarray, coords: np.ndarray, flat: str) -> tuple[str, np.ndarray] | None:
    """The isomeric SMILES of a geometry and its coordinates in that SMILES' atom order; None where the graph is not `flat`."""
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(numbers))
    for z, r in zip(numbers, coords.astype(float), strict=True):
        conformer.SetAtomPosition(mol.AddAtom(Chem.Atom(int(z))), r)
    mol.AddConformer(conformer)
    try:
        rdDetermineBonds.DetermineBonds(mol, charge=0, embedChiral=True)
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
    except (ValueError, RuntimeError):
        return None
    if Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False) != Chem.MolToSmiles(
        Chem.MolFromSmiles(flat), isomericSmiles=False
    ):
        return None
    ordered = Chem.AddHs(Chem.MolFromSmiles(smiles))
    match = mol.GetSubstructMatch(ordered, useChirality=True)
    return (smiles, coords[list(match)]) if len(match) == len(numbers) else None


def main(source: str, target: str, count: int) -> None:
    """Convert `count` random molecules of `source`."""
    RDLogger.DisableLog("rdApp.*")
    data = dict(np.load(source))
    numbers, coords, ends = data["numbers"], data["coords"], np.cumsum(data["n_atoms"].astype(np.int64))
    rows = []
    for m in np.sort(np.random.default_rng(0).permutation(len(ends))[:count]):
        atoms = slice(ends[m] - data["n_atoms"][m], ends[m])
        converted = in_smiles_order(numbers[atoms], coords[atoms], str(data["smiles"][m])) if len(str(data["smiles"][m])) else None
        if converted is not None:
            rows.append(converted)
    mols = [Chem.AddHs(Chem.MolFromSmiles(s)) for s, _ in rows]
    np.savez_compressed(
        target,
        smiles=np.array([s for s, _ in rows]),
        n_atoms=np.array([m.GetNumAtoms() for m in mols], np.int32),
        numbers=np.concatenate([[a.GetAtomicNum() for a in m.GetAtoms()] for m in mols]).astype(np.int8),
        coords=np.concatenate([x for _, x in rows]).astype(np.float32),
    )
    print(f"{len(rows)} of {count} molecules -> {target}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
