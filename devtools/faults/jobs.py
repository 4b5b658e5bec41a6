"""Small jobs of each command that may be killed: what they read, how they are called, and how their results are compared."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mutate_binary
import numpy as np
from rdkit import Chem

Results = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """One command.

    Attributes
    ----------
    name : str
    arguments : tuple of str
    output : str
        What it writes, a file or a folder.
    resuming : tuple of str
        What the command needs besides to go on after a kill, where it has such an option.
    results : callable
        From the folder it ran in to what must be equal, by name: exactly, whatever happened on the way. Reads unfinished outputs, too.
    kept : callable
        From the folder to what is finished there, by name: contents that no later run may lose or make again. Also asked while it runs.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    resuming: tuple[str, ...]
    results: Callable[[Path], Results]
    kept: Callable[[Path], Results]


def prepare(folder: Path, shared: Path, seed: int) -> None:
    """The inputs of all jobs."""
    rng = random.Random(seed)
    smiles = (shared / "tools" / "qm9_train_smiles.txt").read_text().split()
    usable = [s for s in rng.sample(smiles, 400) if "@" not in s and "/" not in s and not any(c in s for c in "#[")]
    (folder / "molecules.smi").write_text("".join(f"{s} molecule{k}\n" for k, s in enumerate(usable[:12])))
    (folder / "few.smi").write_text("".join(f"{s} molecule{k}\n" for k, s in enumerate(usable[12:16])))
    archive = [mutate_binary.short_archive(shared / "data" / "qm9_xtb_test.npz", random.Random(seed + k)) for k in range(6)]
    np.savez_compressed(folder / "training.npz", **{key: np.concatenate([one[key] for one in archive]) for key in archive[0]})


def make_jobs() -> dict[str, Job]:
    """By name; `prepare` makes what they read, and `score` reads what `generate` wrote under the name conformers.sdf."""
    generate = ("generate", "molecules.smi", "-n", "10", "-o", "out.sdf")
    score = ("score", "conformers.sdf", "--minimize", "--platform", "Reference", "-o", "out.sdf")
    simulate = (
        *("simulate", "CC(=O)NC", "-o", "out.h5", "--replicas", "4", "--ns", "0.004", "--equilibration", "1", "--frame-interval", "0.1"),
        *("--no-compile", "--precision", "double", "--ladder", "400:2"),
    )
    reference = ("reference", "few.smi", "--level", "openff-2.2.1", "--starts", "4", "-o", "out.npz")
    train = (
        *("train", "confgf", "training.npz", "-o", "run", "--from", "confgf", "--steps", "24", "--round-steps", "4"),
        *("--patience", "0", "--pair-budget", "1500"),
    )
    return {
        job.name: job
        for job in (
            Job("generate", generate, "out.sdf", ("--resume",), _sdf, _store),
            Job("cluster", (*generate, "--cluster", "local", "--workers", "2"), "out.sdf", ("--resume",), _sdf, _store),
            Job("score", score, "out.sdf", ("--resume",), _sdf, _store),
            Job("simulate", simulate, "out.h5", (), _hdf5, _frames),
            Job("reference", reference, "out.npz", (), _npz, _store),
            Job("train", train, "run", (), _weights, _rounds),
        )
    }


def _sdf(folder: Path) -> Results:
    """Each record: its coordinates and properties as written, by molecule and number."""
    path = folder / "out.sdf"
    found: Results = {}
    if path.exists():
        for mol in Chem.SDMolSupplier(str(path), removeHs=False):
            name = mol.GetProp("_Name")
            number = sum(key.startswith(f"{name}/") for key in found)
            properties = sorted((key, value) for key, value in mol.GetPropsAsDict().items() if "second" not in key)
            found[f"{name}/{number}"] = (mol.GetConformer().GetPositions().tobytes(), str(properties))
    return found


def _hdf5(folder: Path) -> Results:
    """Every dataset, the frames one by one."""
    path = folder / "out.h5"
    found: Results = {}
    if path.exists():
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item: found.update({name: _digest(item[()])}) if isinstance(item, h5py.Dataset) else None)
    return found


def _npz(folder: Path) -> Results:
    path = folder / "out.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return {key: _digest(archive[key]) for key in archive.files if key in ("smiles", "n_conf", "numbers", "coords", "energies")}


def _weights(folder: Path) -> Results:
    """Bit for bit."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "run").glob("*.safetensors")}


def _store(folder: Path) -> Results:
    """Files of the folder beside the output that holds finished molecules, by when they were written."""
    found: Results = {}
    with contextlib.suppress(FileNotFoundError):  # the command ends just now, and removes it
        for store in folder.glob("out*.partial"):
            for path in store.rglob("*") if store.is_dir() else ():
                if path.suffix in (".h5", ".npz") and "partial" not in path.name:
                    found[str(path.relative_to(folder))] = path.stat().st_mtime_ns
    return found


def _rounds(folder: Path) -> Results:
    """Rounds of training that a checkpoint holds, by when they were logged."""
    log = folder / "run" / "log.jsonl"
    rows = []
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    # the last one may have been logged before its checkpoint was written; before the first there is none
    return {f"step {row['step']}": row["time"] for row in rows[:-1] if row["step"] > 0}


def _frames(folder: Path) -> Results:
    """Frames of a simulation that are on the disk, each by its coordinates."""
    path = folder / "out.h5"
    if not path.exists():
        return {}
    with h5py.File(path, "r") as file:
        return {f"frame {k}": _digest(frame) for k, frame in enumerate(file["coordinates"][()])}


def _digest(value: Any) -> str:
    array = np.asarray(value)
    content = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
    return hashlib.sha256(content).hexdigest()
