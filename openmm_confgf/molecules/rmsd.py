"""How different two conformations are: symmetry-aware RMSD after the best alignment (RDKit), and what follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolAlign
from rdkit.SimDivFilters import rdSimDivPickers

from ..units import KJ_PER_KCAL, NM_PER_ANGSTROM, in_md_units
from .graph import MolecularGraph

DUPLICATE_RMSD = 0.125 * NM_PER_ANGSTROM
"""Minima nearer than this (nm, all atoms, symmetry-aware) are duplicates, if also"""

DUPLICATE_ENERGY = 0.1 * KJ_PER_KCAL
"""their energies differ by less than this (kJ/mol). Both are the values of GEOM (Axelrod & Gomez-Bombarelli 2022,
doi:10.1038/s41597-022-01288-4) and CREST (Pracht et al. 2020, doi:10.1039/C9CP06869D)."""

MAX_MATCHES = 2000
"""Most relabellings tried per pair. Each tert-butyl, trifluoromethyl or phenyl multiplies their number by 6 or 2; where a molecule has
more, the RMSD is an upper bound, rather than minutes of work for every pair."""

_FEWEST_ATOMS = 3
"""Fewer heavy atoms than this have no shape; then hydrogens are compared as well."""

_SMALLEST_BLOCK = 4
"""RDKit finds the relabellings once per call and then compares all conformers with all: blocks share the first and limit the second."""


def rmsd_matrix(graph: MolecularGraph, a: Any, b: Any) -> NDArray[np.float64]:
    """RMSD of each conformation of `a` to each of `b`, as ``rdMolAlign.GetBestRMS`` after ``Chem.RemoveHs``.

    The smallest over all rotations, translations and relabellings by the molecule's symmetry. As in published conformer benchmarks, the
    two ends of a conjugated terminal group (carboxylate, nitro) count as equal, mirror images as different, and a hydrogen that
    ``Chem.RemoveHs`` keeps (it defines the E/Z of an imine) takes part. Molecules of fewer than 3 heavy atoms: all atoms.

    Parameters
    ----------
    graph : MolecularGraph
    a : array_like or Quantity, (A, N, 3)
        nm.
    b : array_like or Quantity, (B, N, 3)
        nm.

    Returns
    -------
    ndarray of float64, (A, B)
        nm.

    Raises
    ------
    ValueError
        If an array has another number of atoms, or is not finite.
    """
    first, second = _frames(graph, a), _frames(graph, b)
    if len(first) > len(second):
        return rmsd_matrix(graph, second, first).T
    matrix = np.empty((len(first), len(second)))
    if not len(first):
        return matrix
    template, kept = _compared_atoms(graph)
    step = max(len(first), _SMALLEST_BLOCK)
    for start in range(0, len(second), step):
        block = second[start : start + step]
        condensed = _condensed_rmsd(template, np.concatenate([first, block])[:, kept])
        rows, columns = np.arange(len(first))[:, None], len(first) + np.arange(len(block))[None, :]
        matrix[:, start : start + step] = condensed[columns * (columns - 1) // 2 + rows]
    return matrix


def greedy_distinct(graph: MolecularGraph, positions: Any, threshold: Any) -> NDArray[np.int64]:
    """Indices of the conformations that are farther than `threshold` from every earlier one that was kept.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm; in order of preference (the first is always kept).
    threshold : float or Quantity
        RMSD in nm as `rmsd_matrix` gives it; a conformation at exactly this distance is dropped.

    Returns
    -------
    ndarray of int64, (K,)
        Increasing.

    Raises
    ------
    ValueError
        If the threshold is negative, or the positions are not finite or of another number of atoms.
    """
    limit = float(in_md_units(threshold))
    if not limit >= 0:
        raise ValueError(f"The RMSD threshold is {limit} nm; give one of at least 0.")
    frames = _frames(graph, positions)
    template, atoms = _compared_atoms(graph)
    condensed = _condensed_rmsd(template, frames[:, atoms])
    kept: list[int] = []
    for i in range(len(frames)):
        if not (condensed[i * (i - 1) // 2 + np.array(kept, np.int64)] <= limit).any():
            kept.append(i)
    return np.array(kept, np.int64)


def diverse_low_energy(graph: MolecularGraph, positions: Any, energy: ArrayLike, count: int) -> NDArray[np.int64]:
    """Pick `count` conformations that differ in shape and are low in energy.

    The conformations are clustered by `rmsd_matrix` (average linkage, as RDKit's HierarchicalClusterPicker does it) into `count` clusters;
    the lowest in energy represents its cluster.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.
    energy : array_like or Quantity, (B,)
        kJ/mol.
    count : int

    Returns
    -------
    ndarray of int64, (min(count, B),)
        Indices, lowest energy first.

    Raises
    ------
    ValueError
        If `count` is not positive, or an energy or position is not finite.
    """
    frames = _frames(graph, positions)
    energies = _finite_energies(energy, len(frames))
    if count < 1:
        raise ValueError(f"{count} conformations were asked for; ask for at least 1.")
    clusters: Any = [[i] for i in range(len(frames))]
    if len(frames) > count:
        template, atoms = _compared_atoms(graph)
        picker = rdSimDivPickers.HierarchicalClusterPicker(rdSimDivPickers.ClusterMethod.UPGMA)
        clusters = picker.Cluster(_condensed_rmsd(template, frames[:, atoms]), len(frames), count)
    picks = np.array([min(cluster, key=lambda i: energies[i]) for cluster in clusters], np.int64)
    return picks[np.argsort(energies[picks], kind="stable")]


def distinct_minima(
    graph: MolecularGraph, positions: Any, energy: ArrayLike, threshold: Any = DUPLICATE_RMSD, tolerance: Any = DUPLICATE_ENERGY
) -> NDArray[np.int64]:
    """Indices of the minima that are new: a duplicate has both the energy and, hydrogens included, the shape of a lower one.

    Unlike `greedy_distinct` it tells apart what differs in a hydroxyl's hydrogen alone. Where the molecule has more than `MAX_MATCHES`
    symmetric relabellings (many methyl groups), the hydrogens of carbon are left out: with too few relabellings tried, the same minimum
    with its hydrogens numbered otherwise would count as new.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3)
        nm.
    energy : array_like or Quantity, (B,)
        kJ/mol.
    threshold, tolerance : float or Quantity
        Duplicates are nearer than this symmetry-aware RMSD (nm), and their energies differ by less than this (kJ/mol).

    Returns
    -------
    ndarray of int64, (K,)
        Lowest energy first.

    Raises
    ------
    ValueError
        If an energy or position is not finite.
    """
    frames = _frames(graph, positions)
    energies = _finite_energies(energy, len(frames))
    limit, gap = float(in_md_units(threshold)) / NM_PER_ANGSTROM, float(in_md_units(tolerance))
    template, atoms = _recognised_atoms(graph)
    mol = _with_conformers(template, frames[:, atoms])
    kept: list[int] = []
    for i in np.argsort(energies, kind="stable").tolist():
        near = [j for j in kept if energies[i] - energies[j] < gap]
        with rdBase.BlockLogs():
            # this moves the first conformer onto the second, which changes no distance to a third
            if not any(rdMolAlign.GetBestRMS(mol, mol, i, j, maxMatches=MAX_MATCHES) < limit for j in near):
                kept.append(i)
    return np.array(kept, np.int64)


def _recognised_atoms(graph: MolecularGraph) -> tuple[Chem.Mol, NDArray[np.int64]]:
    """All atoms, or all but the hydrogens of carbon where symmetry relabels them in too many ways, as `_compared_atoms` gives them."""
    mol = Chem.RWMol(graph.mol)
    everything = np.arange(len(graph))
    if len(mol.GetSubstructMatches(mol, uniquify=False, maxMatches=MAX_MATCHES + 1)) <= MAX_MATCHES:
        return mol, everything
    of_carbon = [a.GetAtomicNum() == 1 and all(n.GetAtomicNum() == 6 for n in a.GetNeighbors()) for a in mol.GetAtoms()]
    mol.BeginBatchEdit()
    for index in np.flatnonzero(of_carbon).tolist():
        mol.RemoveAtom(index)
    mol.CommitBatchEdit()
    return mol, everything[~np.array(of_carbon)]


def _finite_energies(energy: ArrayLike, count: int) -> NDArray[np.float64]:
    energies = np.asarray(in_md_units(energy), np.float64)
    if energies.shape != (count,) or not np.isfinite(energies).all():
        raise ValueError("Give one finite energy for each conformation; Ensemble.ranked() drops those that have none.")
    return energies


def _frames(graph: MolecularGraph, positions: Any) -> NDArray[np.float64]:
    frames = graph.frames(positions)
    if not np.isfinite(frames).all():
        raise ValueError("The positions are not finite; leave out the conformations whose status is not OK.")
    return frames


def _compared_atoms(graph: MolecularGraph) -> tuple[Chem.Mol, NDArray[np.int64]]:
    """The molecule whose atoms are compared, without conformers, and their indices in the graph's atom order."""
    labelled = Chem.Mol(graph.mol)
    if len(graph.heavy_atoms) < _FEWEST_ATOMS:
        return labelled, np.arange(len(graph))
    for atom in labelled.GetAtoms():
        atom.SetIntProp("_index_in_graph", atom.GetIdx())
    heavy = Chem.RemoveHs(labelled)
    return heavy, np.array([atom.GetIntProp("_index_in_graph") for atom in heavy.GetAtoms()])


def _condensed_rmsd(template: Chem.Mol, frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """RMSDs (nm) of all pairs j < i at index ``i (i - 1) / 2 + j``; `frames` (K, n, 3) are nm in the template's atom order."""
    mol = _with_conformers(template, frames)
    with rdBase.BlockLogs():
        rmsds = rdMolAlign.GetAllConformerBestRMS(mol, numThreads=0, maxMatches=MAX_MATCHES)
    return np.array(rmsds, np.float64) * NM_PER_ANGSTROM


def _with_conformers(template: Chem.Mol, frames: NDArray[np.float64]) -> Chem.Mol:
    mol = Chem.Mol(template)
    for frame in frames:
        conformer = Chem.Conformer(len(frame))
        conformer.SetPositions(frame / NM_PER_ANGSTROM)
        mol.AddConformer(conformer, assignId=True)
    return mol
