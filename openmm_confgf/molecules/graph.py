"""MolecularGraph: one complete molecule (all hydrogens, one fragment) and its fixed atom order."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ..errors import MoleculeError
from .completeness import check_complete, check_one_structure, chemistry_problems, parse_problem, unsanitised
from .identity import bond_key, centre_key, double_bond_key
from .stereo import HANDS, assign_stereo_from_3d, check_source_stereo, check_stereo, check_wedges_of_smiles, perceive_stereo

if TYPE_CHECKING:
    import openmm.app

_RELATIVE = re.compile(r"\s\|(?:[^|$]*,)?r(?::[\d,]+)?(?:,[^|$]*)?\|")
"""The mark of relative stereo in a CXSMILES, which RDKit reads over."""

_CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
_TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)


@dataclasses.dataclass(frozen=True, repr=False)
class MolecularGraph:
    """A molecule as a graph: what stays the same in all of its conformations.

    Build one with a ``from_*`` constructor; they check that the molecule is one fragment, closed-shell
    and complete in hydrogens. The atom order is the source's own: ``Chem.AddHs(Chem.MolFromSmiles(s))`` for
    a SMILES, the file's or the object's order otherwise.

    Attributes
    ----------
    mol : rdkit.Chem.Mol
        The molecule with explicit hydrogens, no conformers and no properties. Treat it as read-only.
    name : str
        A label for tables and files; the SMILES where the source has no title.
    """

    mol: Chem.Mol
    name: str

    @classmethod
    def from_smiles(cls, smiles: str, name: str | None = None) -> MolecularGraph:
        """From a SMILES or a CXSMILES (with its extension between bars); hydrogens are added.

        Parameters
        ----------
        smiles : str
        name : str, optional
            Default: the SMILES.

        Raises
        ------
        MoleculeError
            If it cannot be parsed (the message points at the place), is not one closed-shell fragment, or specifies stereo other than that
            of tetrahedral centres and double bonds, or of more than one stereoisomer.
        """
        if foreign := [character for character in "".join(smiles.split()[:1]) if not character.isascii()]:
            # RDKit reads "C" where a SMILES ends with one of these
            raise MoleculeError(f"SMILES {smiles!r} has the character {foreign[0]!r}, which is part of no SMILES; type it in plain ASCII.")
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(smiles) if smiles.strip() else None
        if mol is None:
            raise MoleculeError(f"SMILES {smiles!r} cannot be parsed: {parse_problem(smiles)}.")
        if _RELATIVE.search(smiles):
            raise MoleculeError(f"{name or smiles!r} specifies relative stereo only (r in its CXSMILES); give one stereoisomer, or none.")
        if (written := unsanitised(smiles)) is not None:
            check_source_stereo(written, name or smiles)
            check_stereo(written, name or smiles)
        check_wedges_of_smiles(mol, name or smiles)
        mol.RemoveAllConformers()  # a CXSMILES may have coordinates, in which the hydrogens have no place
        return cls.from_rdkit(Chem.AddHs(mol), name=name or smiles)

    @classmethod
    def from_rdkit(cls, mol: Chem.Mol, name: str | None = None) -> MolecularGraph:
        """From an RDKit molecule with explicit hydrogens; stereo is taken from its tags, else from its 3D conformer.

        Parameters
        ----------
        mol : rdkit.Chem.Mol
            Not changed; it need not be sanitised. Of several conformers, the first tells the stereo.
        name : str, optional
            Default: the molecule's property ``_Name``, else its SMILES.

        Raises
        ------
        MoleculeError
            If it cannot be sanitised, is not one closed-shell fragment with all its hydrogens, or specifies stereo other than that of
            tetrahedral centres and double bonds.
        """
        mol = Chem.Mol(mol)
        with rdBase.BlockLogs():
            if Chem.SanitizeMol(mol, catchErrors=True):
                raise MoleculeError(f"{name or 'The molecule'!r} cannot be used: {chemistry_problems(mol)}.")
        name = name or (mol.GetProp("_Name") if mol.HasProp("_Name") else "")
        check_one_structure(mol, name or "The molecule")
        name = name or Chem.MolToSmiles(_without_hydrogens(mol))
        check_source_stereo(mol, name)
        if mol.GetNumConformers() and mol.GetConformer().Is3D():
            assign_stereo_from_3d(mol)
        mol.RemoveAllConformers()
        for key in mol.GetPropNames():
            mol.ClearProp(key)  # what a source says of its own conformation is not true of others
        check_complete(mol, name)
        perceive_stereo(mol)
        check_stereo(mol, name)
        return cls(mol, name)

    @classmethod
    def from_openff(cls, molecule: Any) -> MolecularGraph:
        """From an ``openff.toolkit.Molecule``; its atom order is kept.

        Parameters
        ----------
        molecule : openff.toolkit.Molecule
            Its name is kept too, where it has one.

        Raises
        ------
        MoleculeError
            As `from_rdkit`.
        """
        return cls.from_rdkit(molecule.to_rdkit(), name=molecule.name or None)

    @classmethod
    def from_topology(cls, topology: openmm.app.Topology, positions: Any = None, name: str | None = None) -> MolecularGraph:
        """From an OpenMM Topology of standard residues, or of anything when positions tell the bond orders.

        Parameters
        ----------
        topology : openmm.app.Topology
            With all hydrogens; its atom order is kept.
        positions : array_like or Quantity, (N, 3), optional
            Of all atoms, in nm. They tell stereo, too.
        name : str, optional
            Default: the SMILES.

        Raises
        ------
        MoleculeError
            If bonds are missing, or bond orders are unknown and no positions are given or these do not tell them; or as `from_rdkit`.
        ValueError
            If the positions are not one conformation of these atoms.
        """
        from .topology import rdkit_from_topology

        return cls.from_rdkit(rdkit_from_topology(topology, positions), name=name)

    def __len__(self) -> int:
        return int(self.mol.GetNumAtoms())

    def __repr__(self) -> str:
        return f"MolecularGraph({self.name!r}, {len(self)} atoms)"

    @functools.cached_property
    def order_key(self) -> tuple[Any, ...]:
        """Equal for two graphs that are the same molecule in the same atom order: one System fits the conformations of both.

        It holds element, charge, isotope and radical electrons of each atom, the order of each bond (aromatic ones alike, dative ones with
        their direction), and the hand of each specified centre and double bond, whatever the order in which a source lists the bonds.
        """
        atoms = tuple((a.GetAtomicNum(), a.GetFormalCharge(), a.GetIsotope(), a.GetNumRadicalElectrons()) for a in self.mol.GetAtoms())
        bonds = sorted(bond_key(bond) for bond in self.mol.GetBonds())
        centres = sorted(centre_key(self.mol.GetAtomWithIdx(int(row[0])), int(row[4])) for row in self.stereocentres)
        double_bonds = sorted(double_bond_key(self.mol, *row) for row in self.stereobonds.tolist())
        return atoms, tuple(bonds), tuple(centres), tuple(double_bonds)

    def same_as(self, other: MolecularGraph) -> bool:
        """Whether the other is the same molecule in the same atom order (`order_key`); names do not count.

        Parameters
        ----------
        other : MolecularGraph
        """
        return self.order_key == other.order_key

    def retagged(self, mol: Chem.Mol) -> MolecularGraph:
        """The molecule with another stereo; what makes no difference is left open.

        Parameters
        ----------
        mol : rdkit.Chem.Mol
            A copy of this one's, with other tags of tetrahedral centres and double bonds; it is taken over.
        """
        perceive_stereo(mol)
        return MolecularGraph(mol, self.name)

    @functools.cached_property
    def smiles(self) -> str:
        """Canonical isomeric SMILES without explicit hydrogens: the molecule's identity."""
        return str(Chem.MolToSmiles(_without_hydrogens(self.mol)))

    @functools.cached_property
    def constitution(self) -> str:
        """Canonical SMILES without stereo: what a training set is compared by."""
        return str(Chem.MolToSmiles(_without_hydrogens(self.mol), isomericSmiles=False))

    @functools.cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers, (N,)."""
        return np.array([a.GetAtomicNum() for a in self.mol.GetAtoms()])

    @functools.cached_property
    def bonds(self) -> NDArray[np.int64]:
        """Bonded pairs of atom indices, (n_bonds, 2), each with i < j."""
        pairs = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in self.mol.GetBonds()]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @functools.cached_property
    def topological_distances(self) -> NDArray[np.int64]:
        """Topological distance of every pair in bonds, (N, N)."""
        return np.rint(Chem.GetDistanceMatrix(self.mol)).astype(np.int64)

    @property
    def total_charge(self) -> int:
        """Formal charge in units of e."""
        return int(Chem.GetFormalCharge(self.mol))

    @property
    def heavy_atoms(self) -> NDArray[np.int64]:
        """Indices of the atoms that are not hydrogen, (n_heavy,), increasing."""
        return np.flatnonzero(self.numbers != 1)

    def frames(self, positions: Any) -> NDArray[np.float64]:
        """Positions of this molecule as a float64 array (B, N, 3) in nm.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm.

        Raises
        ------
        ValueError
            If N is not the number of atoms, or the shape is neither.
        """
        from ..units import positions_in_nm

        frames = positions_in_nm(positions)
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.shape[1] != len(self):
            raise ValueError(
                f"The positions have {frames.shape[1]} atoms where {self.name!r} has {len(self)}; give them in its atom order."
            )
        return frames

    @functools.cached_property
    def stereocentres(self) -> NDArray[np.int64]:
        """Specified tetrahedral centres, (n, 5): centre, three neighbours, and the wanted sign of their signed volume.

        The signed volume is ``(r_1 - r_c) . [(r_2 - r_c) x (r_3 - r_c)]`` (geometry.signed_volumes). The neighbours are the
        first three in RDKit's bond order. RDKit's CCW tag: seen from the first neighbour, the others turn counter-clockwise,
        which is a positive volume of the first three when there are four, and of all three when there are three.
        """
        rows = []
        for atom in self.mol.GetAtoms():
            tag = atom.GetChiralTag()
            neighbours = [b.GetOtherAtomIdx(atom.GetIdx()) for b in atom.GetBonds()]
            if len(neighbours) < 3 or tag not in HANDS:
                continue
            rows.append([atom.GetIdx(), *neighbours[:3], HANDS[tag]])
        return np.array(rows, dtype=np.int64).reshape(-1, 5)

    @functools.cached_property
    def stereobonds(self) -> NDArray[np.int64]:
        """Specified double bonds, (n, 5): a-b=c-d and +1 where a and d are wanted on the same side, -1 on opposite sides."""
        rows = []
        for bond in self.mol.GetBonds():
            if bond.GetStereo() in _CIS + _TRANS:
                first, last = bond.GetStereoAtoms()
                side = 1 if bond.GetStereo() in _CIS else -1
                rows.append([first, bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), last, side])
        return np.array(rows, dtype=np.int64).reshape(-1, 5)

    def to_rdkit(self, positions: NDArray[np.float64] | None = None) -> Chem.Mol:
        """A copy of the RDKit molecule, with a conformer for each conformation when positions are given.

        Parameters
        ----------
        positions : array_like or Quantity, (N, 3) or (B, N, 3), optional
            nm; RDKit's conformers are in Angstrom.

        Raises
        ------
        ValueError
            If they are not positions of conformations of as many atoms.
        """
        from ..units import NM_PER_ANGSTROM

        mol = Chem.Mol(self.mol)
        mol.SetProp("_Name", self.name)
        if positions is not None:
            for frame in self.frames(positions):
                conformer = Chem.Conformer(len(self))
                conformer.Set3D(True)
                conformer.SetPositions(frame / NM_PER_ANGSTROM)
                mol.AddConformer(conformer, assignId=True)
        return mol

    def to_openff(self) -> Any:
        """An ``openff.toolkit.Molecule`` in the same atom order."""
        from openff.toolkit import Molecule

        molecule = Molecule.from_rdkit(self.mol, allow_undefined_stereo=True, hydrogens_are_explicit=True)
        molecule.name = self.name
        return molecule

    def to_topology(self) -> openmm.app.Topology:
        """An OpenMM Topology in the same atom order; residue and atom names are kept where the source had them."""
        from .topology import topology_from_rdkit

        return topology_from_rdkit(self.mol)


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    with rdBase.BlockLogs():  # RDKit warns of the hydrogens that it keeps
        return Chem.RemoveHs(mol)
