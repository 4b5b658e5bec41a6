"""Conformers of many molecules in one call: one that cannot be done costs one molecule, and the others come out as they finish."""

from openmm_confgf import ConfGFError, ETKDGGenerator, MolecularGraph

SMILES = ["CCO", "C[C@H](N)C(=O)O", "c1ccccc1O", "O=C(O)/C=C/C(=O)O", "C1CC[C@@H]2CCCC[C@H]2C1"]

molecules = [MolecularGraph.from_smiles(smiles) for smiles in SMILES]
for index, result in ETKDGGenerator().sample_many(molecules, 10, seed=7):
    if isinstance(result, ConfGFError):
        print(f"{SMILES[index]} failed: {result}")
    else:
        print(result.summary(), "->", len(result.deduplicated(rmsd=0.05)), "distinct within 0.5 Angstrom")
