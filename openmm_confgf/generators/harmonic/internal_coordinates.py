"""ZMatrix: bond lengths, angles and dihedrals along a tree of a molecule's atoms, there and back, and their volume element."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from ...molecules.geometry import angles, dihedrals, distances
from ...molecules.graph import MolecularGraph


@dataclasses.dataclass(frozen=True)
class ZMatrix:
    """The coordinates of N >= 3 atoms without translation and rotation: N - 1 lengths, N - 2 angles and N - 3 dihedrals, in this order.

    Each atom is placed at a length from its parent in the tree, an angle to its parent's own parent, and a dihedral to a third atom. The
    first child of an atom has the torsion of the bond above it; the later ones are told relative to the first, so that a torsion turns all.

    Attributes
    ----------
    order : ndarray of int64, (N,)
        Atoms as they are placed.
    pairs : ndarray of int64, (N - 1, 2)
        Of each atom but the first in the order: itself and its parent.
    triples : ndarray of int64, (N - 2, 3)
        Of each but the first two: itself and the next two.
    quadruples : ndarray of int64, (N - 3, 4)
        Of each but the first three.
    rotors : ndarray of int64, (R,)
        Which of the N - 3 dihedrals are torsions of single bonds outside of rings.
    """

    order: NDArray[np.int64]
    pairs: NDArray[np.int64]
    triples: NDArray[np.int64]
    quadruples: NDArray[np.int64]
    rotors: NDArray[np.int64]

    @classmethod
    def of(cls, graph: MolecularGraph) -> ZMatrix:
        """A tree of bonds that is searched in breadth from atom 0.

        Parameters
        ----------
        graph : MolecularGraph
            Of at least 3 atoms.
        """
        parent, children = {0: -1}, {i: list[int]() for i in range(len(graph))}
        order, rows, rotors = [0], list[list[int]](), list[int]()
        for atom in order:
            for k in (neighbour.GetIdx() for neighbour in graph.mol.GetAtomWithIdx(atom).GetNeighbors()):
                if k in parent:
                    continue
                row = [k, atom]
                if len(order) > 1:
                    above = parent[atom] if atom else children[0][0]
                    row.append(above)
                if len(order) > 2:
                    siblings = [child for child in children[atom] if child != above]
                    around = [beside for beside in (parent[above], *children[above]) if beside not in (-1, atom)]
                    row.append((siblings or around)[0])
                    if not siblings and _is_rotor(graph, atom, above):
                        rotors.append(len(order) - 3)
                rows.append(row)
                parent[k] = atom
                children[atom].append(k)
                order.append(k)
        pairs, triples, quadruples = (
            np.array([row[:width] for row in rows[width - 2 :]], np.int64).reshape(-1, width) for width in (2, 3, 4)
        )
        return cls(np.array(order), pairs, triples, quadruples, np.array(rotors, np.int64))

    @property
    def dihedral_columns(self) -> slice:
        """Where the dihedrals are among the coordinates."""
        return slice(2 * len(self.order) - 3, None)

    @property
    def rotor_columns(self) -> NDArray[np.int64]:
        """Where the torsions of `rotors` are among the coordinates, (R,)."""
        return self.dihedral_columns.start + self.rotors

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lengths, angles and dihedrals of conformations.

        Parameters
        ----------
        positions : Tensor, (B, N, 3)
            nm.

        Returns
        -------
        Tensor, (B, 3N - 6)
            Lengths in nm, angles in [0, pi] and dihedrals in (-pi, pi].
        """
        found = [
            measure(positions, torch.from_numpy(atoms))
            for measure, atoms in ((distances, self.pairs), (angles, self.triples), (dihedrals, self.quadruples))
        ]
        return torch.cat(found, dim=-1)

    def positions(self, coordinates: Tensor) -> Tensor:
        """Conformations of these coordinates: the first atom placed at 0, the second along x, the third in the plane of x and y.

        Parameters
        ----------
        coordinates : Tensor, (B, 3N - 6)
            nm and radians, as `coordinates` gives them.

        Returns
        -------
        Tensor, (B, N, 3)
            nm, in the molecule's order of atoms.
        """
        lengths, bends, torsions = coordinates.split([len(self.pairs), len(self.triples), len(self.quadruples)], dim=-1)
        origin = torch.zeros_like(coordinates[:, :3])
        x, y = (origin + torch.eye(3, dtype=coordinates.dtype)[k] for k in (0, 1))
        placed = {int(self.order[0]): origin, int(self.order[1]): lengths[:, :1] * x}
        for row, atom in enumerate(self.order[2:].tolist()):
            _, at, above = (int(k) for k in self.triples[row])
            back = torch.nn.functional.normalize(placed[above] - placed[at], dim=-1)
            if row:
                turn = torsions[:, row - 1, None]
                normal = torch.nn.functional.normalize(
                    torch.linalg.cross(placed[int(self.quadruples[row - 1, 3])] - placed[at], back), dim=-1
                )
                aside = torch.linalg.cross(back, normal) * turn.cos() + normal * turn.sin()
            else:
                aside = y
            bend, length = bends[:, row, None], lengths[:, row + 1, None]
            placed[atom] = placed[at] + length * (bend.cos() * back + bend.sin() * aside)
        return torch.stack([placed[k] for k in range(len(placed))], dim=1)

    def log_volume_element(self, coordinates: Tensor) -> Tensor:
        r"""Of the mean-free subspace over these coordinates and all rotations, :math:`8 \pi^2 N^{-3/2} \prod r^2 \prod \sin\theta`.

        See `DensityGenerator`.

        Parameters
        ----------
        coordinates : Tensor, (B, 3N - 6)
            nm and radians.

        Returns
        -------
        Tensor, (B,)
        """
        lengths, bends = coordinates[:, : len(self.pairs)], coordinates[:, len(self.pairs) : self.dihedral_columns.start]
        constant = math.log(8 * math.pi**2) - 1.5 * math.log(len(self.order))
        return constant + 2 * lengths.log().sum(-1) + bends.sin().log().sum(-1)


def _is_rotor(graph: MolecularGraph, i: int, j: int) -> bool:
    bond = graph.mol.GetBondBetweenAtoms(i, j)
    return bond.GetBondType() == Chem.BondType.SINGLE and not bond.IsInRing()
