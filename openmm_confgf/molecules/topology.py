"""To and from OpenMM's Topology, which knows residues and atom names, but seldom bond orders, charges and stereo."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

from openmm import app
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from ..errors import MoleculeError
from ..units import NM_PER_ANGSTROM, positions_in_nm
from .perception import BARE, apply_orders, closed_shell_charge, implausible, is_bare, odd_charge, with_perceived_orders
from .residues import AMINO_ACIDS, CENTRES_NOT_S, DOUBLE_BONDS, may_be_anion

UNNAMED_RESIDUE = "UNL"
"""The PDB's name for an unknown ligand."""

_BOND_TYPES = {app.Single: 1, app.Amide: 1, app.Double: 2, app.Triple: 3}
_OPENMM_TYPES = {Chem.BondType.SINGLE: app.Single, Chem.BondType.DOUBLE: app.Double, Chem.BondType.TRIPLE: app.Triple}


def rdkit_from_topology(topology: app.Topology, positions: Any = None) -> Chem.Mol:
    """An RDKit molecule in the Topology's atom order, with its residue and atom names as PDB residue info.

    Bond orders are the Topology's own where it has them, those of the residue where its name is a standard one, and otherwise perceived for
    the whole molecule (`perception`); bonds too, where there are none. Formal charges are the Topology's own: where it has any outside
    of standard residues, atoms without one have none. Otherwise they follow from the valences, and are refused where the positions speak
    against them: an atom that lost its hydrogen looks like an ion. Stereo comes from the positions; without them, standard amino
    acids are L.

    Parameters
    ----------
    topology : openmm.app.Topology
        All hydrogens present.
    positions : array_like or Quantity, (N, 3), optional
        nm; kept as the molecule's conformer.

    Raises
    ------
    MoleculeError
        If bonds are missing, or bond orders are unknown and no positions are given, or they cannot be perceived; if an atom has no element
        or lacks a hydrogen, or the bonds make no molecule.
    ValueError
        If the positions are not one conformation of these atoms.
    """
    atoms = list(topology.atoms())
    if [atom.index for atom in atoms] != list(range(len(atoms))):
        raise MoleculeError("The Topology lists its atoms in another order than their indices; renumber it by writing and reading a PDB.")
    mol = _atoms_only(atoms)
    if positions is not None:
        _add_conformer(mol, positions)
    orders = {_pair(bond[0].index, bond[1].index): _known_order(bond) for bond in topology.bonds()}
    if not orders and len(atoms) > 1:
        if positions is None:
            raise MoleculeError("The Topology has no bonds; give positions as well, or a PDB with CONECT records.")
        rdDetermineBonds.DetermineConnectivity(mol)
        orders = {_pair(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): None for bond in mol.GetBonds()}
    else:
        for i, j in orders:
            mol.AddBond(i, j, Chem.BondType.SINGLE)
    if None in orders.values():
        orders = _with_standard_orders(mol, atoms, orders)
    charges = _known_charges(atoms, orders)
    if None not in orders.values():
        _refuse_lost_hydrogens(mol, atoms, orders, charges)
        mol = _with_orders(mol, {pair: order or 1 for pair, order in orders.items()}, charges, [_is_standard(atom) for atom in atoms])
    elif positions is None:
        raise MoleculeError("The Topology does not tell all bond orders; give positions as well, or set Bond.order on each of its bonds.")
    else:
        mol = with_perceived_orders(mol, charges, orders)
    if positions is None:
        _make_residues_l(mol, atoms)
    return mol


def topology_from_rdkit(mol: Chem.Mol, *, names: bool = True) -> app.Topology:
    """An OpenMM Topology in the molecule's atom order, with bond types, bond orders and formal charges.

    Chains, residues and atom names are those of the PDB residue info, where `names` are wanted, every atom has it and residues are
    contiguous. Otherwise there is one residue `UNNAMED_RESIDUE` with atom names C1, C2, H1 ...

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised, with all hydrogens.
    names : bool
        Whether to keep the names that the molecule has.
    """
    topology = app.Topology()
    infos = [atom.GetPDBResidueInfo() for atom in mol.GetAtoms()]
    keys = [info and (info.GetChainId(), info.GetResidueNumber(), info.GetInsertionCode().strip(), info.GetResidueName()) for info in infos]
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    named = names and None not in keys and len(set(keys)) == len(starts)
    chains: dict[str, app.topology.Chain] = {}
    seen: collections.Counter[str] = collections.Counter()
    residue = None if named else topology.addResidue(UNNAMED_RESIDUE, topology.addChain())
    atoms = []
    for i, (atom, info) in enumerate(zip(mol.GetAtoms(), infos, strict=True)):
        if named and i in starts:
            chain_id = info.GetChainId()
            if chain_id not in chains:
                chains[chain_id] = topology.addChain(chain_id)
            residue = topology.addResidue(
                info.GetResidueName().strip(), chains[chain_id], str(info.GetResidueNumber()), info.GetInsertionCode().strip()
            )
        seen[atom.GetSymbol()] += 1
        name = info.GetName().strip() if named else f"{atom.GetSymbol()}{seen[atom.GetSymbol()]}"
        deuterium = (atom.GetAtomicNum(), atom.GetIsotope()) == (1, 2)
        element = app.element.deuterium if deuterium else app.Element.getByAtomicNumber(atom.GetAtomicNum())
        atoms.append(topology.addAtom(name, element, residue, formalCharge=atom.GetFormalCharge()))
    kekulised = Chem.Mol(mol)
    Chem.Kekulize(kekulised, clearAromaticFlags=False)
    for bond, plain in zip(mol.GetBonds(), kekulised.GetBonds(), strict=True):
        kind = app.Aromatic if bond.GetIsAromatic() else _OPENMM_TYPES.get(bond.GetBondType())
        order = int(plain.GetBondTypeAsDouble())
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()], kind, order)
    return topology


def _atoms_only(atoms: list[Any]) -> Chem.RWMol:
    mol = Chem.RWMol()
    for atom in atoms:
        if atom.element is None:
            raise MoleculeError(f"Atom {atom.name} of the Topology has no element; remove virtual sites first.")
        new = Chem.Atom(atom.element.atomic_number)
        new.SetNoImplicit(True)
        if atom.element is app.element.deuterium:
            new.SetIsotope(2)
        residue = atom.residue
        number = int(residue.id) if residue.id.lstrip("-").isdigit() else residue.index + 1
        # RDKit and PDB files keep the element right-aligned in the first two of four columns
        name = atom.name if len(atom.name) >= 4 or len(atom.element.symbol) == 2 else f" {atom.name}"
        info = Chem.AtomPDBResidueInfo(f"{name:<4}", atom.index + 1, "", residue.name, number, residue.chain.id or "")
        info.SetInsertionCode(residue.insertionCode)
        info.SetIsHeteroAtom(not _is_standard(atom))
        new.SetMonomerInfo(info)
        mol.AddAtom(new)
    return mol


def _add_conformer(mol: Chem.RWMol, positions: Any) -> None:
    frame = positions_in_nm(positions)
    if frame.shape != (mol.GetNumAtoms(), 3):
        raise ValueError(f"Positions have shape {frame.shape} for a Topology of {mol.GetNumAtoms()} atoms; give one frame, (N, 3) in nm.")
    conformer = Chem.Conformer(len(frame))
    conformer.Set3D(True)
    conformer.SetPositions(frame / NM_PER_ANGSTROM)
    mol.AddConformer(conformer)


def _pair(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)


def _known_order(bond: Any) -> int | None:
    if bond.order is not None:
        return int(bond.order)
    return _BOND_TYPES.get(bond.type)


def _is_standard(atom: Any) -> bool:
    return atom.residue.name in DOUBLE_BONDS


def _with_standard_orders(mol: Chem.Mol, atoms: list[Any], orders: dict[tuple[int, int], int | None]) -> dict[tuple[int, int], int | None]:
    """Fill in the orders of bonds whose atoms both lie in standard residues; others stay unknown."""
    by_name = {(atom.residue.index, atom.name): atom.index for atom in atoms}
    hydrogens = [sum(n.GetAtomicNum() == 1 for n in mol.GetAtomWithIdx(atom.index).GetNeighbors()) for atom in atoms]
    doubles = set()
    for residue in {atom.residue.index: atom.residue for atom in atoms}.values():
        for name, partners in DOUBLE_BONDS.get(residue.name, ()):
            first = by_name.get((residue.index, name))
            found = [by_name[residue.index, partner] for partner in partners if (residue.index, partner) in by_name]
            if first is not None and found:
                doubles.add(_pair(first, min(found, key=lambda i: hydrogens[i])))
    standard = [_is_standard(atom) for atom in atoms]
    return {
        pair: 1 + (pair in doubles) if order is None and standard[pair[0]] and standard[pair[1]] else order
        for pair, order in orders.items()
    }


def _known_charges(atoms: list[Any], orders: Mapping[tuple[int, int], int | None]) -> list[int | None]:
    """Formal charges; None where neither the Topology nor the names and bonds of standard residues tell them."""
    ligand_has_charges = any(atom.formalCharge is not None for atom in atoms if not _is_standard(atom))
    valences = _valences(len(atoms), orders)
    charges = []
    for atom, valence in zip(atoms, valences, strict=True):
        charge = atom.formalCharge
        if charge is None and _is_standard(atom) and valence is not None:
            charge = _charge_of_valence(atom, valence)
        elif charge is None and ligand_has_charges:
            charge = 0
        charges.append(None if charge is None else int(charge))
    return charges


def _charge_of_valence(atom: Any, valence: int) -> int:
    # a carbon of too few bonds lacks a hydrogen: MolecularGraph tells so when it stays a radical
    return 0 if atom.element.atomic_number == 6 and valence > 1 else closed_shell_charge(atom.element.atomic_number, valence)


def _valences(n_atoms: int, orders: Mapping[tuple[int, int], int | None]) -> list[int | None]:
    """The sum of each atom's bond orders; None where one is unknown."""
    valences: list[int | None] = [0] * n_atoms
    for pair, order in orders.items():
        for i in pair:
            before = valences[i]
            valences[i] = None if order is None or before is None else before + order
    return valences


def _refuse_lost_hydrogens(
    mol: Chem.Mol, atoms: list[Any], orders: Mapping[tuple[int, int], int | None], charges: list[int | None]
) -> None:
    """Fail where a standard residue would have an anion that it never has."""
    for atom, charge in zip(atoms, charges, strict=True):
        if atom.formalCharge is None and charge is not None and charge < 0 and not may_be_anion(atom.residue.name, atom.name):
            if _is_standard(atom):
                raise MoleculeError(
                    f"Atom {atom.name} of residue {atom.residue.name} {atom.residue.id} lacks a hydrogen; add it (PDBFixer or "
                    "Modeller.addHydrogens), or give the charges of all atoms."
                )


def _with_orders(mol: Chem.RWMol, orders: Mapping[tuple[int, int], int], charges: list[int | None], standard: list[bool]) -> Chem.Mol:
    """The molecule with known bond orders; charges that are unknown are those of closed shells, if the positions do not contradict."""
    valences = _valences(mol.GetNumAtoms(), orders)
    wanted = []
    for atom, charge, valence in zip(mol.GetAtoms(), charges, valences, strict=True):
        guess = 0 if atom.GetAtomicNum() == 6 and atom.GetDegree() > 1 else closed_shell_charge(atom.GetAtomicNum(), valence or 0)
        wanted.append(guess if charge is None else charge)
    apply_orders(mol, orders, wanted)
    with rdBase.BlockLogs():
        if problems := Chem.DetectChemistryProblems(mol):
            raise MoleculeError(
                f"The bonds make no molecule: {problems[0].Message().strip().rstrip('.')}; check its hydrogens, bond orders and charges."
            )
        Chem.SanitizeMol(mol)
    given = [charge is not None or known for charge, known in zip(charges, standard, strict=True)]
    if mol.GetNumConformers() and is_bare(mol) and implausible(mol, given):
        raise MoleculeError(BARE)
    if mol.GetNumConformers() and not all(given) and (problem := odd_charge(mol, given)):
        raise MoleculeError(f"The bonds make no molecule that the positions show ({problem}); give all hydrogens and formal charges.")
    return mol


def _make_residues_l(mol: Chem.RWMol, atoms: list[Any]) -> None:
    """Specify the centres of standard amino acids, which a Topology's residue names imply."""
    wanted = {}
    for atom in atoms:
        name = atom.residue.name
        if (atom.name == "CA" and name in AMINO_ACIDS and name != "GLY") or (atom.name == "CB" and name in ("ILE", "THR")):
            wanted[atom.index] = CENTRES_NOT_S.get((name, atom.name), "S")
            mol.GetAtomWithIdx(atom.index).SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for index, label in wanted.items():
        centre = mol.GetAtomWithIdx(index)
        if centre.HasProp("_CIPCode") and centre.GetProp("_CIPCode") != label:
            centre.SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
