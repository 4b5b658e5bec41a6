"""Mutations of HDF5 files, npz archives and weights with their cards."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Done = tuple[str, ...]


def damaged(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes that a disk or a transfer spoiled."""
    how = rng.choice(["flipped", "flipped header", "truncated", "empty", "zeroed"])
    changed = bytearray(data)
    match how:
        case "flipped":
            for _ in range(rng.choice([1, 10, 100])):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        case "flipped header":
            for _ in range(rng.choice([1, 4])):
                changed[rng.randrange(min(512, len(changed)))] = rng.randrange(256)
        case "truncated":
            del changed[rng.randrange(len(changed)) :]
        case "empty":
            changed = bytearray()
        case "zeroed":
            start = rng.randrange(len(changed))
            changed[start : start + 4096] = bytes(len(changed[start : start + 4096]))
    return bytes(changed), how


def hdf5(data: bytes, rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Datasets and attributes one by one, then bytes."""
    done: list[str] = []
    memory = io.BytesIO(data)
    for _ in range(count):
        with h5py.File(memory, "r+") as file:
            done.append(_edited(file, rng))
    data = memory.getvalue()
    if rng.random() < 0.4:
        data, how = damaged(data, rng)
        done.append(how)
    return data, tuple(done)


def _edited(file: h5py.File, rng: random.Random) -> str:
    """What was done to one attribute or dataset of a file."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    attribute = bool(file.attrs) and (not names or rng.random() < 0.25)
    where = file.attrs if attribute else file
    if not (attribute or names):
        return "nothing left"
    name = rng.choice(sorted(file.attrs) if attribute else sorted(names))
    value, how = _other_value(file.attrs[name] if attribute else file[name][()], rng)
    del where[name]
    if value is not None:
        where[name] = value
    return f"{name} {how}"


def _other_value(value: Any, rng: random.Random) -> tuple[Any, str]:
    """The value of a dataset or attribute, changed; None where it goes."""
    array = np.asarray(value)
    numeric = array.dtype.kind in "fiu" and array.size
    how = rng.choice(["gone", "scalar", "text", "longer", "shorter", "numbers", "numbers", "type", "axis"])
    if how == "gone":
        return None, how
    if how == "text":
        return rng.choice(["", "OK", "x" * 1000, "C(C)(C)(C)(C)C", "[Pt]"]), how
    if how == "scalar":
        return 7, how
    if not numeric or array.ndim == 0:
        return rng.choice(["CCO", "null", "{}", "[]"]), "other text"
    if how == "longer":
        return np.concatenate([array, array]), how
    if how == "shorter":
        return array[:-1], how
    if how == "axis":
        return array[None], how
    if how == "type":
        return array.astype(rng.choice(["f8", "i8", "S3"])), how
    changed = array.copy()
    index = tuple(rng.randrange(n) for n in array.shape)
    changed[index] = rng.choice([0, 1, 5, 100] if array.dtype.kind != "f" else [np.nan, np.inf, 0.0, 1e30, changed[index] + 0.3])
    return changed, "a number"


def short_archive(path: Path, rng: random.Random) -> dict[str, np.ndarray]:
    """Two molecules of an archive, three conformers of each."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    atoms, conformers = arrays["n_atoms"], arrays["n_conf"]
    first_atom = np.concatenate([[0], np.cumsum(atoms)])
    first_row = np.concatenate([[0], np.cumsum(atoms * conformers)])
    first_energy = np.concatenate([[0], np.cumsum(conformers)])
    kept = sorted(rng.sample([k for k in range(len(atoms)) if conformers[k] >= 3], 2))
    return {
        "smiles": arrays["smiles"][kept],
        "n_atoms": atoms[kept],
        "n_conf": np.full(2, 3, conformers.dtype),
        "numbers": np.concatenate([arrays["numbers"][first_atom[k] : first_atom[k + 1]] for k in kept]),
        "coords": np.concatenate([arrays["coords"][first_row[k] : first_row[k] + 3 * atoms[k]] for k in kept]),
        "energies": np.concatenate([arrays["energies"][first_energy[k] : first_energy[k] + 3] for k in kept]),
    }


def npz(arrays: dict[str, np.ndarray], rng: random.Random, count: int) -> tuple[bytes, Done]:
    """Arrays of an archive, then its bytes."""
    done: list[str] = []
    arrays = dict(arrays)
    for _ in range(count):
        key = rng.choice(sorted(arrays))
        if rng.random() < 0.1:
            arrays[key], how = np.array([{"a": 1}, None], object), "pickled"
        else:
            value, how = _other_value(arrays[key], rng)
            if value is None:
                del arrays[key]
            else:
                arrays[key] = np.asarray(value)
        done.append(f"{key} {how}")
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keyword names for its own flag
    data = memory.getvalue()
    if rng.random() < 0.3:
        data, how = damaged(data, rng)
        done.append(how)
    return data, tuple(done)


def weights(card: bytes, tensors: bytes, rng: random.Random) -> tuple[bytes, bytes, Done]:
    """A card and its tensors, with the checksum mended where what is beneath it shall be reached."""
    entries, done = json.loads(card), []
    if rng.random() < 0.6:
        tensors, how = _other_tensors(tensors, rng)
        done.append(how)
        if rng.random() < 0.8:
            entries["sha256"] = hashlib.sha256(tensors).hexdigest()
    else:
        where = entries if rng.random() < 0.6 or not isinstance(entries.get("config"), dict) or not entries["config"] else entries["config"]
        key = rng.choice(sorted(where))
        values: list[Any] = [None, -1, 0, 10**9, 1e308, "", "x", [], {}, [[[]]], True, "../../etc/passwd", [1, 2], {"a": {}}]
        if rng.random() < 0.2:
            del where[key]
            done.append(f"{key} gone")
        else:
            where[key] = rng.choice(values)
            done.append(f"{key} = {where[key]!r}")
    data = json.dumps(entries).encode()
    if rng.random() < 0.15:
        data, how = damaged(data, rng)
        done.append(f"card {how}")
    return data, tensors, tuple(done)


def _other_tensors(tensors: bytes, rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.4:
        return damaged(tensors, rng)
    (length,) = struct.unpack("<Q", tensors[:8])
    header, body = json.loads(tensors[8 : 8 + length]), bytearray(tensors[8 + length :])
    name = rng.choice(sorted(key for key in header if key != "__metadata__"))
    how = rng.choice(["gone", "renamed", "shape", "type", "offsets", "nan", "zero", "large", "header length"])
    begin, end = header[name]["data_offsets"]
    match how:
        case "gone":
            del header[name]
        case "renamed":
            header["other"] = header.pop(name)
        case "shape":
            header[name]["shape"] = [*header[name]["shape"], 1] if rng.random() < 0.5 else [10**9]
        case "type":
            header[name]["dtype"] = rng.choice(["F64", "I32", "BF16", "X"])
        case "offsets":
            header[name]["data_offsets"] = [begin, end + 4]
        case "nan" | "zero" | "large":
            value = {"nan": np.nan, "zero": 0.0, "large": 1e30}[how]
            body[begin:end] = np.full((end - begin) // 4, value, np.float32).tobytes()
    text = json.dumps(header).encode()
    size = rng.choice([2**63, 0, len(text) + 100]) if how == "header length" else len(text)
    return struct.pack("<Q", size) + text + bytes(body), f"tensor {name} {how}"
