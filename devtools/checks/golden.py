"""What the commands give, to the last digit: run before a change that should change nothing, and after it.

    python devtools/checks/golden.py record before.json
    python devtools/checks/golden.py compare before.json

The numbers are those of the machine and the versions at hand. Files are read with RDKit, h5py, NumPy and safetensors; words (settings,
versions, times) are left out, so that a change of names or of places is none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rdkit import Chem
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]

MOLECULES = """\
CCO ethanol
CC(=O)N[C@@H](C)C(=O)NC dipeptide
C/C=C/C(=O)O crotonic
OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O sugar
c1ccc2[nH]ccc2c1 indole
CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2 camphor
C[NH2+]CCc1ccccc1 charged
CS(=O)(=O)Nc1ccc(Cl)cc1 sulfonamide
O=C1C[C@]23CCC[C@]12C3 propellane
FC(F)(F)c1cccc(c1)C#N nitrile
"""

GENERATORS = ("confgf", "mmff+confgf", "confgf-noise", "confgf+mmff", "confgf-paper", "confgf-dist", "etkdg", "etkdg+mmff")
QUICK = ("--replicas", "4", "--ns", "0.002", "--equilibration", "0.5", "--frame-interval", "0.1", "--no-compile", "--precision", "double")


def commands() -> Iterator[tuple[str, str]]:
    """Each command line, and the file or folder that it writes."""
    for generator in GENERATORS:
        # annealing from noise takes 5,000 calls of the network
        source = "two.smi -n 2" if generator in ("confgf-paper", "confgf-dist") else "ten.smi -n 5"
        yield f"generate {source} --seed 3 --generator {generator} -o {generator}.sdf", f"{generator}.sdf"
    yield "score etkdg.sdf --forcefield openff-2.2.1 --platform Reference --minimize -o scored.sdf", "scored.sdf"
    yield "score confgf.sdf --forcefield openff-2.2.1 --platform Reference -o single.sdf", "single.sdf"
    yield "seed one.sdf --forcefield openff-2.2.1 --platform Reference --count 2 --run-ps 0.5 -o seeds", "seeds"
    yield f"simulate CC(=O)NC -o md.h5 {' '.join(QUICK)}", "md.h5"
    yield f"simulate CC(=O)NC -o ladder.h5 --ladder 400:2 {' '.join(QUICK)}", "ladder.h5"
    yield "reference CCCO --level openff-2.2.1 --starts 4 --workers 1 -o reference.npz", "reference.npz"
    yield "train confgf reference.npz -o run --steps 4 --round-steps 2 --pair-budget 400 --device cpu", "run"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    found = results()
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} results")
        return 0
    before = json.loads(arguments.file.read_text())
    different = [name for name in sorted(before.keys() | found.keys()) if before.get(name) != found.get(name)]
    print("\n".join(f"{name}: {before.get(name)} before, {found.get(name)} now" for name in different))
    print(f"{len(different)} of {len(before)} results differ")
    return int(bool(different))


def results() -> dict[str, Any]:
    """Everything that was made, by file and place."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ten.smi").write_text(MOLECULES)
        (folder / "two.smi").write_text("".join(MOLECULES.splitlines(keepends=True)[:2]))
        for command, output in commands():
            if command.startswith("seed"):
                first_molecule(folder / "etkdg.sdf", folder / "one.sdf")
            done = subprocess.run(
                [sys.executable, "-m", "openmm_confgf", *command.split()], cwd=folder, env=environment, capture_output=True, text=True
            )
            print(f"{done.returncode} {command}", flush=True)
            found[f"{output} exit"] = done.returncode
            for path in sorted([folder / output] if (folder / output).is_file() else (folder / output).rglob("*")):
                found |= {f"{path.relative_to(folder)} {key}": value for key, value in read(path)}
    return found


def first_molecule(source: Path, target: Path) -> None:
    records = source.read_text().split("$$$$\n")
    target.write_text("".join(record + "$$$$\n" for record in records[:5]))


def read(path: Path) -> Iterator[tuple[str, Any]]:
    """The numbers of a file, long ones as checksums."""
    if path.suffix == ".sdf":
        for number, mol in enumerate(Chem.SDMolSupplier(str(path), removeHs=False)):
            own = {key: value for key, value in mol.GetPropsAsDict().items() if key.endswith(("energy_kj_per_mol", "status"))}
            yield str(number), [mol.GetProp("_Name"), digest(mol.GetConformer().GetPositions()), own]
    elif path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            for name in ("coordinates", "energy", "status", "potentialEnergy"):
                if name in file:
                    yield name, digest(file[name][()])
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            yield from ((name, digest(arrays[name])) for name in sorted(arrays) if arrays[name].dtype.kind in "fi")
    elif path.suffix == ".safetensors":
        yield from ((name, digest(array)) for name, array in sorted(load_file(path).items()))
    elif path.suffix == ".pdb":
        yield "atoms", digest(np.array([line[30:54] for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]))
    elif path.name.endswith("-state.xml"):
        yield "state", digest(np.array([line for line in path.read_text().splitlines() if "<Position" in line or "<Velocity" in line]))
    elif path.name == "log.jsonl":
        for number, line in enumerate(path.read_text().splitlines()):
            yield str(number), {key: value for key, value in json.loads(line).items() if key not in ("time", "seconds")}


def digest(array: Any) -> str:
    array = np.ascontiguousarray(array)
    return f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


if __name__ == "__main__":
    sys.exit(main())
