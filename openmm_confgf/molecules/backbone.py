"""The torsions phi and psi of a peptide, whatever its atoms are called."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from .geometry import dihedrals
from .graph import MolecularGraph

_PHI = Chem.MolFromSmarts("[CX3](=O)-[NX3]-[CX4]-[CX3]=[OX1]")
_ALPHA = Chem.MolFromSmarts("[#7]-[CX4]-[CX3]=[OX1]")
_PSI = Chem.MolFromSmarts("[#7]-[CX4]-[CX3](=[OX1])-[NX3]")


def backbone_torsions(graph: MolecularGraph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Torsions phi, C-N-CA-C, and psi, N-CA-C-N, of alpha amino acids, in the order of their alpha carbons.

    They are told by bonds, so that a peptide from a SMILES has them as well as one from a PDB file. As in IUPAC's definition, phi needs a
    residue before and psi one behind, which may be caps.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    phi, psi : ndarray of int64, (P, 4) and (Q, 4)
        Atoms from 0; both are empty for what is no peptide.

    Examples
    --------
    >>> phi, psi = backbone_torsions(MolecularGraph.from_smiles("CC(=O)N[C@@H](C)C(=O)NC"))
    >>> phi.tolist(), psi.tolist()
    ([[1, 3, 4, 6]], [[3, 4, 6, 8]])
    """
    phi = [[c, n, ca, end] for c, _, n, ca, end, _ in graph.mol.GetSubstructMatches(_PHI)]
    psi = [[n, ca, c, after] for n, ca, c, _, after in graph.mol.GetSubstructMatches(_PSI)]
    # an amide with two of its ends alike matches once for each way through it; one torsion about a bond is enough
    return _one_per_bond(phi), _one_per_bond(psi)


def alpha_carbons(graph: MolecularGraph) -> NDArray[np.int64]:
    """The alpha carbons of a peptide's residues, those of the ends included, by index; told by bonds as in `backbone_torsions`.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    ndarray of int64, (R,)
        Empty for what is no peptide.

    Examples
    --------
    >>> alpha_carbons(MolecularGraph.from_smiles("[NH3+][C@@H](C)C(=O)N[C@@H](CC(=O)N)C(=O)[O-]")).tolist()
    [1, 6]
    """
    return np.array(sorted({match[1] for match in graph.mol.GetSubstructMatches(_ALPHA)}), np.int64)


def first_phi(graph: MolecularGraph, positions: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Phi of the first residue that has one, in radians.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray, (B, N, 3)
        nm.

    Returns
    -------
    ndarray, (B,), or None
        None where there is no phi.
    """
    phi = backbone_torsions(graph)[0]
    return dihedrals(torch.tensor(positions), torch.from_numpy(phi[:1])).numpy()[:, 0] if len(phi) else None


def rama_pairs(graph: MolecularGraph) -> NDArray[np.int64]:
    """Phi and psi that belong together in a Ramachandran plot: those of one residue; in a dipeptide with charged ends, those between them.

    Parameters
    ----------
    graph : MolecularGraph

    Returns
    -------
    ndarray of int64, (R, 2, 4)
        Atoms from 0.
    """
    phi, psi = backbone_torsions(graph)
    pairs = [[one, other] for one in phi for other in psi if one[2] == other[1]]
    if not pairs and len(phi) == len(psi) == 1:
        pairs = [[phi[0], psi[0]]]
    return np.array(pairs, np.int64).reshape(-1, 2, 4)


def _one_per_bond(found: list[list[int]]) -> NDArray[np.int64]:
    first = {(b, c): [a, b, c, d] for a, b, c, d in reversed(sorted(found))}
    rows = sorted(first.values(), key=lambda row: row[1:3])
    return np.array(rows, np.int64).reshape(-1, 4)
