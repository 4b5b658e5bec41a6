"""Inputs that somebody might hand in: real molecules in each format, and mutations of them, drawn from one seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import mutate_binary
import mutate_text
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom

RDLogger.DisableLog("rdApp.*")

HARD = (
    *("C1CCCC#CCC1", "c1cc2ccc1CCc1ccc(cc1)CC2", "O[C@@H]1C[C@@H]2C[C@@H]1C=C2", "NCCC(=O)N1Cc2ccccc2C#Cc2ccccc21"),
    *("Nc1ccc(cc1)S(F)(F)(F)(F)F", "C[Si]1(C)O[Si](C)(C)O1", "CC=[C@]=CC", "C/C=C=C=C/C", "[NH3]->[Pt](Cl)(Cl)<-[NH3]"),
    *("C[C@@H]1N2C[C@H](CO)[C@]12C", "C#N", "CC#CC", "[H][H]", "O", "[Na+].CC(=O)[O-]", "C[N+](=O)[O-]", "[CH3]", "CI(Cl)Cl", "FS(F)(F)F"),
    *("C1C2C1C2", "C12C3C4C1C5C2C3C45", "[2H]C([2H])O", "c1ccc2c(c1)ccc1c2ccc2c1ccc1ccccc12", "CP(C)(=O)c1ccccc1", "CS(=O)c1ccccc1"),
)
"""SMILES that are each the only one of their kind."""

KINDS = {"smiles": 0.35, "smi": 0.05, "sdf": 0.22, "pdb": 0.18, "hdf5": 0.08, "npz": 0.05, "card": 0.07}
"""Which share of the inputs is of which kind."""

COUNT = "2"
"""Conformers asked for."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One call.

    Attributes
    ----------
    name, kind : str
    arguments : tuple of str
        Of the command line. Files are named as in `files`, relative to the folder that the call runs in.
    files : dict of str to bytes
    output : str or None
        The SDF that it writes.
    asked : str or None
        A SMILES whose molecule the output must be.
    mutations : tuple of str
        What was done to a sound input, in order.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    files: dict[str, bytes]
    output: str | None
    asked: str | None
    mutations: tuple[str, ...]


class Seeds:
    """Sound inputs of each format.

    Parameters
    ----------
    shared : Path
        Folder with cases, data and tools.
    weights : Path
        The package's folder of weights.
    folder : Path
        For files that the package itself makes, once.
    make : callable
        Runs the command line with these arguments in `folder`.
    """

    def __init__(self, shared: Path, weights: Path, folder: Path, make: Callable[[list[str]], object]) -> None:
        self.cases = {path.name: path.read_bytes() for path in sorted((shared / "cases").glob("[A-Z]_*"))}
        lists = ("druglike_smiles.txt", "qm9_train_smiles.txt")
        self.smiles = [(shared / "tools" / name).read_text().split() for name in lists]
        self.archive = shared / "data" / "qm9_xtb_test.npz"
        self.weights = {path.name: path.read_bytes() for path in weights.glob("confgf.*")}
        self._folder, self._make = folder, make

    def draw_smiles(self, rng: random.Random, longest: int = 60) -> str:
        """Small molecules, drug-like ones up to so many characters, and now and then a `HARD` one."""
        if rng.random() < 0.15:
            return rng.choice(HARD)
        return rng.choice([s for s in rng.sample(rng.choice(self.smiles), 50) if len(s) <= longest])

    def molecule(self, rng: random.Random) -> Chem.Mol:
        """One with coordinates of RDKit's, hydrogens included."""
        while True:
            mol = Chem.AddHs(Chem.MolFromSmiles(self.draw_smiles(rng, 40)))
            if rdDistGeom.EmbedMolecule(mol, randomSeed=rng.randrange(10**6), maxAttempts=5) == 0:
                return mol

    def hdf5(self, rng: random.Random) -> bytes:
        """What the package wrote of one of three molecules."""
        number, smiles = rng.choice(list(enumerate(["CC(=O)NC", "C[C@H](O)CN", "OC(=O)c1ccccc1"])))
        path = self._folder / f"made{number}.h5"
        if not path.exists():
            self._make(["generate", smiles, "-n", "3", "--generator", "etkdg", "-o", str(path)])
        return path.read_bytes()


def make_cases(seeds: Seeds, count: int, seed: int) -> Iterator[Case]:
    """So many cases; the k-th of a seed is the same for every count above k."""
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        yield _MAKERS[kind](f"{number:04d}-{kind}", rng, seeds)


def _generate(source: str, rng: random.Random) -> tuple[str, ...]:
    generator = rng.choices(["etkdg", "confgf"], [0.8, 0.2])[0]
    return "generate", source, "-n", COUNT, "--generator", generator, "-o", "out.sdf"


def _smiles(name: str, rng: random.Random, seeds: Seeds) -> Case:
    text, done = mutate_text.smiles(seeds.draw_smiles(rng), rng, rng.choice([0, 1, 1, 1, 2, 3]))
    return Case(name, "smiles", _generate(text, rng), {}, "out.sdf", text, done)


def _smi(name: str, rng: random.Random, seeds: Seeds) -> Case:
    lines = [f"{seeds.draw_smiles(rng, 30)} {rng.choice(['name', 'a b', '', '|^1:0|', chr(233)])}" for _ in range(3)]
    data, done = mutate_text.lines("\n".join(lines).encode("utf-8"), rng, rng.choice([0, 1, 2]))
    if rng.random() < 0.1:
        data = seeds.cases["F_atropisomer_cxsmiles.smi"]
    return Case(name, "smi", _generate("in.smi", rng), {"in.smi": data}, "out.sdf", None, done)


def _sdf(name: str, rng: random.Random, seeds: Seeds) -> Case:
    named = [data for file, data in seeds.cases.items() if file.endswith((".sdf", ".mol"))]
    if rng.random() < 0.25:
        data, done = mutate_text.sdf_bytes(rng.choice(named), rng, rng.choice([0, 1]))
    else:
        data, done = mutate_text.sdf(seeds.molecule(rng), rng, rng.choice([0, 1, 1, 2]))
    arguments = _reading("in.sdf", rng)
    return Case(name, "sdf", arguments, {"in.sdf": data}, _sdf_of(arguments), None, done)


def _pdb(name: str, rng: random.Random, seeds: Seeds) -> Case:
    named = [data for file, data in seeds.cases.items() if file.endswith(".pdb")]
    if rng.random() < 0.25:
        data, done = mutate_text.pdb_bytes(rng.choice(named), rng, rng.choice([0, 1]))
    else:
        data, done = mutate_text.pdb(seeds.molecule(rng), rng, rng.choice([0, 1, 1, 2]))
    arguments = _reading("in.pdb", rng)
    return Case(name, "pdb", arguments, {"in.pdb": data}, _sdf_of(arguments), None, done)


def _reading(source: str, rng: random.Random) -> tuple[str, ...]:
    return rng.choices([_generate(source, rng), *_looking(source)], [0.6, 0.3, 0.1])[0]


def _looking(source: str) -> list[tuple[str, ...]]:
    """Commands that take conformations as they are."""
    return [("score", source, "-o", "out.sdf", "--platform", "Reference"), ("report", source, "-o", "out.html")]


def _sdf_of(arguments: tuple[str, ...]) -> str | None:
    return "out.sdf" if "out.sdf" in arguments else None


def _hdf5(name: str, rng: random.Random, seeds: Seeds) -> Case:
    data, done = mutate_binary.hdf5(seeds.hdf5(rng), rng, rng.choice([0, 1, 1, 2]))
    arguments = rng.choices(_looking("in.h5"), [0.7, 0.3])[0]
    return Case(name, "hdf5", arguments, {"in.h5": data}, _sdf_of(arguments), None, done)


def _npz(name: str, rng: random.Random, seeds: Seeds) -> Case:
    data, done = mutate_binary.npz(mutate_binary.short_archive(seeds.archive, rng), rng, rng.choice([0, 1, 1, 2]))
    calls = [
        ("benchmark", "conformers", "in.npz", "--generator", "etkdg"),
        ("train", "confgf", "in.npz", "-o", "run", "--from", "confgf", "--steps", "1", "--round-steps", "1", "--pair-budget", "500"),
    ]
    return Case(name, "npz", rng.choices(calls, [0.8, 0.2])[0], {"in.npz": data}, None, None, done)


def _card(name: str, rng: random.Random, seeds: Seeds) -> Case:
    card, tensors, done = mutate_binary.weights(seeds.weights["confgf.json"], seeds.weights["confgf.safetensors"], rng)
    arguments = ("generate", "CC(=O)NCCO", "-n", COUNT, "--generator", "confgf", "--weights", "w.safetensors", "-o", "out.sdf")
    return Case(name, "card", arguments, {"w.json": card, "w.safetensors": tensors}, "out.sdf", "CC(=O)NCCO", done)


_MAKERS: dict[str, Callable[[str, random.Random, Seeds], Case]] = {
    **{"smiles": _smiles, "smi": _smi, "sdf": _sdf, "pdb": _pdb, "hdf5": _hdf5, "npz": _npz, "card": _card}
}
