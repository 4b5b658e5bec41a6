"""Mutations of SMILES, SDF and PDB."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TypeVar

from rdkit import Chem
from rdkit.Chem import rdchem

Data = TypeVar("Data")
Done = tuple[str, ...]

_TOKENS = (
    *("C", "N", "O", "S", "P", "F", "Br", "I", "B", "[Si]", "c", "n", "[nH]", "=", "#", "$", "(", ")", "[", "]", "1", "2", "%10", "%99"),
    *(
        "@",
        "@@",
        "/",
        "\\",
        "+",
        "-",
        ".",
        "[O-]",
        "[NH3+]",
        "[2H]",
        "[Pt]",
        "[Fe+2]",
        "*",
        "[#6]",
        "->",
        ":",
        "~",
        "[CH3]",
        "[C@H]",
        "[SH4]",
    ),
    *("|^1:0|", "{", "é", " ", "[0Xe]", "[C+9]", "[H]", "[*:1]"),
)
_ELEMENTS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53, 3, 11, 26, 78, 1, 0)
_ORDERS = (rdchem.BondType.SINGLE, rdchem.BondType.DOUBLE, rdchem.BondType.TRIPLE, rdchem.BondType.DATIVE)


def _apply(data: Data, ways: tuple[Callable[[Data, random.Random], Data], ...], rng: random.Random, count: int) -> tuple[Data, Done]:
    done = []
    for _ in range(count):
        way = rng.choice(ways)
        data = way(data, rng)
        done.append(way.__name__.strip("_"))
    return data, tuple(done)


def smiles(text: str, rng: random.Random, count: int) -> tuple[str, Done]:
    """Characters and tokens of a SMILES, or atoms and bonds of its graph."""
    return _apply(text, (_token, _token, _deleted, _swapped, _cut, _doubled, _graph, _graph, _graph, _stereo), rng, count)


def _token(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_TOKENS) + text[at:]


def _deleted(text: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(text)))
    return text[:at] + text[at + 1 :]


def _swapped(text: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(text) - 1))
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _doubled(text: str, rng: random.Random) -> str:
    return text + rng.choice(["", ".", "-", "="]) + text


def _stereo(text: str, rng: random.Random) -> str:
    """Every centre the other hand, or one that is none."""
    if "@" in text and rng.random() < 0.5:
        return re.sub("@+", lambda found: "@" if found.group() == "@@" else "@@", text)
    return text.replace("C(", "[C@H](", 1)


def _graph(text: str, rng: random.Random) -> str:
    """Another element, bond order or charge, one more ring, one atom less: odd molecules, most of which can be written."""
    mol = Chem.MolFromSmiles(text)
    if mol is None or mol.GetNumAtoms() < 3:
        return _token(text, rng)
    edited = Chem.RWMol(mol)
    Chem.Kekulize(edited, clearAromaticFlags=True)
    atom = edited.GetAtomWithIdx(rng.randrange(edited.GetNumAtoms()))
    atom.SetNoImplicit(False)
    match rng.choice(["element", "order", "charge", "ring", "less", "bridge"]):
        case "element":
            atom.SetAtomicNum(rng.choice(_ELEMENTS))
            atom.SetNumExplicitHs(0)
        case "order":
            edited.GetBondWithIdx(rng.randrange(edited.GetNumBonds())).SetBondType(rng.choice(_ORDERS))
        case "charge":
            atom.SetFormalCharge(rng.choice([-2, -1, 1, 2]))
        case "ring" | "bridge":
            i, j = rng.sample(range(edited.GetNumAtoms()), 2)
            if edited.GetBondBetweenAtoms(i, j) is None:
                edited.AddBond(i, j, rdchem.BondType.SINGLE)
        case "less":
            edited.RemoveAtom(atom.GetIdx())
    return Chem.MolToSmiles(edited)


def lines(data: bytes, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Lines and bytes of any text."""
    return _apply(data, (_flipped, _line_lost, _line_doubled, _truncated, _dos, _latin, _empty, _numbers), rng, count)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice([0, 10, 32, 45, 48, 57, 65, 200, rng.randrange(256)])
    return bytes(changed)


def _line_lost(data: bytes, rng: random.Random) -> bytes:
    parts = data.split(b"\n")
    del parts[rng.randrange(len(parts))]
    return b"\n".join(parts)


def _line_doubled(data: bytes, rng: random.Random) -> bytes:
    parts = data.split(b"\n")
    at = rng.randrange(len(parts))
    return b"\n".join([*parts[:at], parts[at], *parts[at:]])


def _truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _dos(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"\n", rng.choice([b"\r\n", b"\r"]))


def _latin(data: bytes, rng: random.Random) -> bytes:
    return "Bücher, 1 µg\n".encode("latin-1") + data.split(b"\n", 1)[-1]


def _empty(data: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"", b"\n\n\n", b"\x00" * 100, data + data])


def _numbers(data: bytes, rng: random.Random) -> bytes:
    """One number becomes another that is no size, count or coordinate."""
    found = list(re.finditer(rb"-?\d+\.?\d*", data))
    if not found:
        return data
    one = rng.choice(found)
    other = rng.choice([b"nan", b"-1", b"999", b"1e30", b"0", b"0.0000", b"99999999999"]).ljust(len(one.group()))
    return data[: one.start()] + other + data[one.end() :]


def sdf(mol: Chem.Mol, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Coordinates, then the block."""
    mol, moved = _moved(mol, rng) if rng.random() < 0.4 else (mol, ())
    if rng.random() < 0.1:
        mol = Chem.RemoveHs(mol)
    block = Chem.MolToV3KMolBlock(mol) if rng.random() < 0.15 else Chem.MolToMolBlock(mol, kekulize=rng.random() < 0.8)
    records = rng.choice([1, 1, 2])
    data = b"".join(block.encode() + _properties(rng) + b"$$$$\n" for _ in range(records))
    data, done = sdf_bytes(data, rng, count)
    return data, moved + done


def sdf_bytes(data: bytes, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Lines, bytes and bond orders of an SDF."""
    data, first = _apply(data, (_order, _atom_line), rng, rng.choice([0, 0, 1]))
    data, done = lines(data, rng, count)
    return data, first + done


def _properties(rng: random.Random) -> bytes:
    choices = [
        "",
        ">  <status>\nOK\n\n",
        ">  <energy_kj_per_mol>\n-1e99\n\n",
        ">  <status>\nNEVER\n\n",
        ">  <name>\n\n\n",
        ">  <a b>\nx\ny\n\n",
    ]
    return rng.choice(choices).encode()


def _order(data: bytes, rng: random.Random) -> bytes:
    """A bond of another order, in V2000."""
    found = list(re.finditer(rb"(?m)^(  ?\d{1,2}  ?\d{1,2})  ([123])  0", data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start(2)] + rng.choice([b"1", b"2", b"3", b"4", b"8", b"9"]) + data[one.end(2) :]


def _atom_line(data: bytes, rng: random.Random) -> bytes:
    """Another element for one atom of the block, in V2000."""
    found = list(re.finditer(rb"(?m)^ +-?\d+\.\d{4} +-?\d+\.\d{4} +-?\d+\.\d{4} (\w+) *", data))
    if not found:
        return data
    one = rng.choice(found)
    symbol = rng.choice([b"H", b"C", b"N", b"D", b"Xx", b"Pt", b"R#", b"*"])
    return data[: one.start(1)] + symbol.ljust(len(one.group(1))) + data[one.end(1) :]


def _moved(mol: Chem.Mol, rng: random.Random) -> tuple[Chem.Mol, Done]:
    """Coordinates that are not those of the molecule any more."""
    import numpy as np

    mol = Chem.Mol(mol)
    xyz = mol.GetConformer().GetPositions()
    noise = np.random.default_rng(rng.randrange(10**6)).normal(size=xyz.shape)
    what = rng.choice(["mirrored", "swapped", "flat", "in one place", "shaken", "shaken hard", "far", "large", "on a line"])
    match what:
        case "mirrored":
            xyz = xyz * [-1, 1, 1]
        case "swapped":
            i, j = rng.sample(range(len(xyz)), 2)
            xyz[[i, j]] = xyz[[j, i]]
        case "flat":
            xyz[:, 2] = 0
        case "in one place":
            xyz[rng.randrange(len(xyz))] = xyz[0]
        case "shaken":
            xyz = xyz + 0.1 * noise
        case "shaken hard":
            xyz = xyz + 0.4 * noise
        case "far":
            xyz = xyz + 9000
        case "large":
            xyz = xyz * 1.5
        case "on a line":
            xyz = np.arange(len(xyz))[:, None] * [1.0, 0, 0]
    mol.GetConformer().SetPositions(np.ascontiguousarray(xyz, float))
    return mol, (what,)


def pdb(mol: Chem.Mol, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Coordinates, then how RDKit writes the block, then the block."""
    mol, moved = _moved(mol, rng) if rng.random() < 0.25 else (mol, ())
    block = Chem.MolToPDBBlock(mol, flavor=rng.choice([0, 0, 2, 4, 8, 4 | 8, 16]))
    data, done = pdb_bytes(block.encode(), rng, count)
    return data, moved + done


def pdb_bytes(data: bytes, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """What PDB files of other programs look like, then lines and bytes."""
    ways = (_same_names, _no_hydrogens, _no_conect, _no_elements, _other_locations, _models, _residue, _no_charges, _atom_records)
    data, first = _apply(data, ways, rng, rng.choice([0, 1, 1, 2]))
    data, done = lines(data, rng, count if rng.random() < 0.6 else 0)
    return data, first + done


def _atoms(change: Callable[[bytes], bytes | None], data: bytes) -> bytes:
    """Each ATOM and HETATM line changed, or left out where that is None."""
    changed = [change(line) if line.startswith((b"ATOM", b"HETATM")) else line for line in data.split(b"\n")]
    return b"\n".join(line for line in changed if line is not None)


def _same_names(data: bytes, rng: random.Random) -> bytes:
    return _atoms(lambda line: line[:12] + b" " + line[76:78].strip().ljust(3) + line[16:], data)


def _no_hydrogens(data: bytes, rng: random.Random) -> bytes:
    share = rng.choice([1.0, 1.0, 0.3])
    return _atoms(lambda line: None if line[76:78].strip() in (b"H", b"D") and rng.random() < share else line, data)


def _no_conect(data: bytes, rng: random.Random) -> bytes:
    return b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"CONECT"))


def _no_elements(data: bytes, rng: random.Random) -> bytes:
    return _atoms(lambda line: line[:76], data)


def _no_charges(data: bytes, rng: random.Random) -> bytes:
    return _atoms(lambda line: line[:78] + rng.choice([b"  ", b"  ", b"1+", b"1-"]), data)


def _other_locations(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice([b"A", b"B"])
    return _atoms(lambda line: line[:16] + rng.choice([b" ", at]) + line[17:], data)


def _models(data: bytes, rng: random.Random) -> bytes:
    if b"MODEL " in data:
        return data
    body = b"\n".join(line for line in data.split(b"\n") if line.startswith((b"ATOM", b"HETATM")))
    return b"MODEL        1\n" + body + b"\nENDMDL\nMODEL        2\n" + body + b"\nENDMDL\nEND\n"


def _residue(data: bytes, rng: random.Random) -> bytes:
    name = rng.choice([b"ALA", b"HSE", b"MSE", b"UNK", b"   ", b"HOH", b"LIG"])
    return _atoms(lambda line: line[:17] + name + line[20:], data)


def _atom_records(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"HETATM", b"ATOM  ")
