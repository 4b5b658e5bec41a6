"""To and from OpenMM's Topology, which knows residues and atom names, but seldom bond orders, charges and stereo."""

from __future__ import annotations

import collections
from typing import Any

from openmm import app
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from .errors import MoleculeError
from .units import NM_PER_ANGSTROM, positions_in_nm

UNNAMED_RESIDUE = "UNL"
"""The PDB's name for an unknown ligand."""

_BOND_TYPES = {app.Single: 1, app.Amide: 1, app.Double: 2, app.Triple: 3}
_RDKIT_ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
_OPENMM_TYPES = {Chem.BondType.SINGLE: app.Single, Chem.BondType.DOUBLE: app.Double, Chem.BondType.TRIPLE: app.Triple}

# The double bonds of standard residues: an atom, and its possible partners. The partner with the fewest hydrogens is taken, the first
# where they tie, so that the name need not tell the protonation (HID, HIE, HIP, ASH, GLH ...).
_RING = (("CG", ("CD1",)), ("CD2", ("CE2",)), ("CE1", ("CZ",)))
_IMIDAZOLE = (("CG", ("CD2",)), ("CE1", ("ND1", "NE2")))
_SATURATED = "ACE ALA CYM CYS CYX GLY ILE LEU LYN LYS MET NH2 NME PRO SER THR VAL"
_SIDE_CHAINS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    **dict.fromkeys(_SATURATED.split(), ()),
    **dict.fromkeys(("ASP", "ASH"), (("CG", ("OD1", "OD2")),)),
    **dict.fromkeys(("GLU", "GLH"), (("CD", ("OE1", "OE2")),)),
    **dict.fromkeys(("HIS", "HID", "HIE", "HIP"), _IMIDAZOLE),
    **dict.fromkeys(("PHE", "TYR"), _RING),
    "ARG": (("CZ", ("NH2", "NH1")),),
    "ASN": (("CG", ("OD1",)),),
    "GLN": (("CD", ("OE1",)),),
    "TRP": (("CG", ("CD1",)), ("CD2", ("CE2",)), ("CE3", ("CZ3",)), ("CZ2", ("CH2",))),
}
_BACKBONE = ("C", ("O", "OXT"))

# The L residues, for Topologies that come without positions: CIP labels of the centres that are not S.
_CENTRES_NOT_S = {("THR", "CB"): "R", ("CYS", "CA"): "R", ("CYX", "CA"): "R", ("CYM", "CA"): "R"}

_LIKELY_CHARGES = ((0,), (1, -1), (2, -2), (3, -3))

_MOST_ORDERINGS = 5000
"""Bond orderings that are tried at one charge, so that a molecule which has none does not take minutes."""


def rdkit_from_topology(topology: app.Topology, positions: Any = None) -> Chem.Mol:
    """An RDKit molecule in the Topology's atom order, with its residue and atom names as PDB residue info.

    Bond orders are the Topology's own where it has them, those of the residue where its name is a standard amino acid or cap, and
    otherwise perceived for the whole molecule (``rdDetermineBonds``); bonds too, where there are none. Stereo comes from the positions;
    without them, standard amino acids are L.

    Parameters
    ----------
    topology : openmm.app.Topology
        All hydrogens present.
    positions : array_like or Quantity, (N, 3), optional
        nm; kept as the molecule's conformer.

    Raises
    ------
    MoleculeError
        If bonds are missing, or bond orders are unknown and no positions are given, or they cannot be perceived.
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
    if None not in orders.values():
        _apply_orders(mol, atoms, orders)
        with rdBase.BlockLogs():
            if problems := Chem.DetectChemistryProblems(mol):
                raise MoleculeError(f"The Topology's bonds make no molecule: {problems[0].Message()}; check its hydrogens and charges.")
            Chem.SanitizeMol(mol)
    elif positions is None:
        raise MoleculeError("The Topology does not tell all bond orders; give positions as well, or set Bond.order on each of its bonds.")
    else:
        mol = _with_perceived_orders(mol, atoms)
    if positions is None:
        _make_residues_l(mol, atoms)
    return mol


def topology_from_rdkit(mol: Chem.Mol) -> app.Topology:
    """An OpenMM Topology in the molecule's atom order, with bond types, bond orders and formal charges.

    Chains, residues and atom names are those of the PDB residue info, where every atom has it and residues are contiguous. Otherwise
    there is one residue `UNNAMED_RESIDUE` with atom names C1, C2, H1 ...
    """
    topology = app.Topology()
    infos = [atom.GetPDBResidueInfo() for atom in mol.GetAtoms()]
    keys = [info and (info.GetChainId(), info.GetResidueNumber(), info.GetInsertionCode().strip(), info.GetResidueName()) for info in infos]
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    named = None not in keys and len(set(keys)) == len(starts)
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
        element = app.Element.getByAtomicNumber(atom.GetAtomicNum())
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
        residue = atom.residue
        number = int(residue.id) if residue.id.lstrip("-").isdigit() else residue.index + 1
        # RDKit and PDB files keep the element right-aligned in the first two of four columns
        name = atom.name if len(atom.name) >= 4 or len(atom.element.symbol) == 2 else f" {atom.name}"
        info = Chem.AtomPDBResidueInfo(f"{name:<4}", atom.index + 1, "", residue.name, number, residue.chain.id or "")
        info.SetInsertionCode(residue.insertionCode)
        info.SetIsHeteroAtom(residue.name not in _SIDE_CHAINS)
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


def _with_standard_orders(mol: Chem.Mol, atoms: list[Any], orders: dict[tuple[int, int], int | None]) -> dict[tuple[int, int], int | None]:
    """Fill in the orders of bonds whose atoms both lie in standard residues; others stay unknown."""
    by_name = {(atom.residue.index, atom.name): atom.index for atom in atoms}
    hydrogens = [sum(n.GetAtomicNum() == 1 for n in mol.GetAtomWithIdx(atom.index).GetNeighbors()) for atom in atoms]
    doubles = set()
    for residue in {atom.residue.index: atom.residue for atom in atoms}.values():
        for name, partners in [*_SIDE_CHAINS.get(residue.name, ()), _BACKBONE]:
            first = by_name.get((residue.index, name))
            found = [by_name[residue.index, partner] for partner in partners if (residue.index, partner) in by_name]
            if first is not None and found:
                doubles.add(_pair(first, min(found, key=lambda i: hydrogens[i])))
    standard = [atom.residue.name in _SIDE_CHAINS for atom in atoms]
    return {
        pair: 1 + (pair in doubles) if order is None and standard[pair[0]] and standard[pair[1]] else order
        for pair, order in orders.items()
    }


def _apply_orders(mol: Chem.RWMol, atoms: list[Any], orders: dict[tuple[int, int], int | None]) -> None:
    """Set bond orders and formal charges: the Topology's own, else what the valence asks of a closed-shell atom."""
    for pair, order in orders.items():
        if order not in _RDKIT_ORDERS:
            raise MoleculeError(f"The Topology has a bond of order {order} between atoms {pair[0]} and {pair[1]}; give 1, 2 or 3.")
        mol.GetBondBetweenAtoms(*pair).SetBondType(_RDKIT_ORDERS[order])
    valence = [0] * len(atoms)
    for (i, j), order in orders.items():
        valence[i] += order or 0
        valence[j] += order or 0
    for atom, new in zip(atoms, mol.GetAtoms(), strict=True):
        charge = atom.formalCharge
        if charge is None and (new.GetAtomicNum() != 6 or new.GetDegree() == 1):
            charge = _closed_shell_charge(new.GetAtomicNum(), valence[new.GetIdx()])
        # a carbon of too few bonds lacks a hydrogen (but for isocyanides): MolecularGraph tells so when it stays a radical
        new.SetFormalCharge(int(charge or 0))


def _closed_shell_charge(number: int, valence: int) -> int:
    """The formal charge that makes an atom of this valence closed-shell; 0 where its neutral form is, or nothing is known."""
    allowed = Chem.GetPeriodicTable().GetValenceList(number)
    if valence in allowed or -1 in allowed:
        return 0
    if number == 5:
        return allowed[0] - valence
    return valence - max((v for v in allowed if v < valence), default=allowed[0])


def _with_perceived_orders(mol: Chem.RWMol, atoms: list[Any]) -> Chem.Mol:
    """Bond orders from the connectivity of the whole molecule, at the Topology's total charge or else the smallest that makes sense.

    Connectivity alone is ambiguous (a nitro group with two electrons more is a chain too), so what makes no sense is refused.
    """
    known = [atom.formalCharge for atom in atoms if atom.formalCharge is not None]
    for charges in ((sum(known),),) if known else _LIKELY_CHARGES:
        found = [trial for trial in (_perceived(mol, charge) for charge in charges) if trial is not None]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise MoleculeError(
        "The Topology's atoms and bonds do not tell its bond orders; check that all hydrogens are present, set Bond.order on its bonds, "
        "or read the molecule from an SDF file."
    )


def _perceived(mol: Chem.RWMol, charge: int) -> Chem.Mol | None:
    """The molecule with bond orders at this total charge, or None where they make no sense."""
    trial = Chem.Mol(mol)
    try:
        with rdBase.BlockLogs():
            rdDetermineBonds.DetermineBondOrders(trial, charge=charge, embedChiral=False, maxIterations=_MOST_ORDERINGS)
            _neutralise_sulfoxides(trial)
            Chem.SanitizeMol(trial)
    except (ValueError, RuntimeError):  # RDKit says "this charge does not fit" so
        return None
    return trial if all(map(_makes_sense, trial.GetAtoms())) else None


def _neutralise_sulfoxides(mol: Chem.Mol) -> None:
    """S=O in place of the S(+)-O(-) that bond perception writes."""
    for bond in mol.GetBonds():
        ends = sorted((bond.GetBeginAtom(), bond.GetEndAtom()), key=lambda atom: atom.GetAtomicNum())
        if [(a.GetAtomicNum(), a.GetFormalCharge()) for a in ends] == [(8, -1), (16, 1)]:
            bond.SetBondType(Chem.BondType.DOUBLE)
            for atom in ends:
                atom.SetFormalCharge(0)


def _makes_sense(atom: Chem.Atom) -> bool:
    """No radical, no carbanion or carbocation, no S(+), P(+) or X(+), no open-shell N, and no two like charges side by side or on one N."""
    number, charge = atom.GetAtomicNum(), atom.GetFormalCharge()
    around = [neighbour.GetFormalCharge() for neighbour in atom.GetNeighbors()]
    odd = atom.GetNumRadicalElectrons() > 0 or (number == 7 and charge == 0 and atom.GetTotalValence() == 2)
    misplaced = charge != 0 and ((number == 6 and atom.GetDegree() > 1) or (charge > 0 and number not in (6, 7, 8)))
    crowded = any(charge * other > 0 for other in around) or (number == 7 and charge <= 0 and sum(other < 0 for other in around) > 1)
    return not (odd or misplaced or crowded)


def _make_residues_l(mol: Chem.RWMol, atoms: list[Any]) -> None:
    """Specify the centres of standard amino acids, which a Topology's residue names imply."""
    wanted = {}
    for atom in atoms:
        name = atom.residue.name
        if (atom.name == "CA" and name in _SIDE_CHAINS and name != "GLY") or (atom.name == "CB" and name in ("ILE", "THR")):
            wanted[atom.index] = _CENTRES_NOT_S.get((name, atom.name), "S")
            mol.GetAtomWithIdx(atom.index).SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for index, label in wanted.items():
        centre = mol.GetAtomWithIdx(index)
        if centre.HasProp("_CIPCode") and centre.GetProp("_CIPCode") != label:
            centre.SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
