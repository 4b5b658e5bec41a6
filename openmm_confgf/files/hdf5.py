"""HDF5 files: one ensemble with everything in it, and a trajectory of its usable samples that MDTraj loads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolInterchange

from ..ensemble import Ensemble, Provenance, Target
from ..errors import ConfGFError, FileFormatError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..version import __version__
from .earlier import taken_apart
from .hdf5_guard import opened, sealed

GROUP = "openmm_confgf"
STATE = "openmm_confgf_state"
_LAYOUT = 2
"""Files of layout 1 have target and diagnostics among the settings, and no energy of conformations that are not OK."""

_DIGEST = "sha256"

_UNITS = {"positions": "nanometers", "energy": "kilojoules_per_mole", "log_q": "nats"}


def hdf5_bytes(ensemble: Ensemble, state: Mapping[str, NDArray[Any]] | None = None, trajectory: bool = True) -> bytes:
    """The content of an HDF5 file: all samples, in full precision, in the group `GROUP`.

    It is made in memory: the HDF5 library brings the process down when it finds the disk full.

    Parameters
    ----------
    ensemble : Ensemble
    state : mapping of str to array, optional
        What a run needs to go on from the ensemble, in the group `STATE`.
    trajectory : bool
        Whether the usable samples are there once more, at the root and in MDTraj's layout.
    """
    with h5py.File("ensemble.h5", "w", driver="core", backing_store=False) as file:
        if trajectory:
            _write_trajectory(file, ensemble)
        group = file.create_group(GROUP)
        group.attrs["layout"] = _LAYOUT
        content = _content_of(ensemble)
        for name, values in content.items():
            group.create_dataset(name, data=values, **_packed(values))
            if name in _UNITS:
                group[name].attrs["units"] = _UNITS[name]
        group.attrs[_DIGEST] = _digest(content)
        if state is not None:
            arrays = file.create_group(STATE)
            for name, values in state.items():
                arrays.create_dataset(name, data=values)
        file.flush()
        return sealed(bytes(file.id.get_file_image()))


def digest_of(ensemble: Ensemble) -> str:
    """A SHA-256, in hexadecimal digits, of everything that an ensemble is made of; its file holds it, too.

    Parameters
    ----------
    ensemble : Ensemble
    """
    return _digest(_content_of(ensemble))


def _content_of(ensemble: Ensemble) -> dict[str, Any]:
    """The datasets of the group `GROUP`: texts and arrays."""
    texts = {
        "molecule": rdMolInterchange.MolToJSON(ensemble.graph.mol),
        "name": ensemble.graph.name,
        "residues": json.dumps([_residue(atom) for atom in ensemble.graph.mol.GetAtoms()]),
        "provenance": json.dumps(dataclasses.asdict(ensemble.provenance)),
        "target": None if ensemble.target is None else json.dumps(dataclasses.asdict(ensemble.target)),
        "diagnostics": json.dumps(dict(ensemble.diagnostics)),
        "properties": None if ensemble.properties is None else json.dumps([dict(of_one) for of_one in ensemble.properties]),
    }
    arrays = {"status": ensemble.status, **{name: getattr(ensemble, name) for name in _UNITS}}
    return {name: values for name, values in (texts | arrays).items() if values is not None}


def read_hdf5(path: Path) -> Ensemble:
    """The ensemble as it was written; conformations of a file that has no digest (of an earlier version) are checked anew.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FileFormatError
        If the file is truncated, was not written by `hdf5_bytes`, or was altered since: energies and statuses belong to their positions.
    """
    try:
        with opened(path) as file:
            if GROUP not in file:
                raise FileFormatError(f"{path} holds no ensemble of openmm_confgf; write it with write_ensembles, or give an SDF file.")
            content, digest = _content(file[GROUP]), file[GROUP].attrs.get(_DIGEST)
            layout = int(file[GROUP].attrs["layout"])
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise FileFormatError(f"{path} is truncated or no HDF5 file; write it again.") from error
    if layout > _LAYOUT:
        raise FileFormatError(f"{path} has layout {layout}, newer than this version ({__version__}) reads; update openmm-confgf.")
    try:
        graph = MolecularGraph.from_rdkit(_molecule(content), content["name"].decode())
        properties = tuple(json.loads(content["properties"])) if "properties" in content else None
        values = (content["status"], content.get("energy"), content.get("log_q"), properties)
        provenance, target, diagnostics = _origin(content, layout)
        ensemble = Ensemble(graph, content["positions"], provenance, *values, target, diagnostics)
        if digest is None:
            checked = check_conformations(graph, ensemble.positions)
            return ensemble.replace(status=np.where(ensemble.ok, checked, ensemble.status))
        if digest != _digest(content):
            raise ValueError("it is not what this package wrote")
        return ensemble
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, ConfGFError) as error:
        raise FileFormatError(f"{path} was altered ({error}); write it again.") from error


def _origin(content: Mapping[str, Any], layout: int) -> tuple[Provenance, Target | None, dict[str, Any]]:
    provenance = Provenance(**json.loads(content["provenance"]))
    if layout == 1:
        settings, target, diagnostics = taken_apart(provenance.settings)
        return dataclasses.replace(provenance, settings=settings), target, diagnostics
    target = Target(**json.loads(content["target"])) if "target" in content else None
    return provenance, target, dict(json.loads(content["diagnostics"]))


def _content(group: h5py.Group) -> dict[str, Any]:
    return {name: dataset[()] for name, dataset in group.items()}


def _digest(content: Mapping[str, Any]) -> str:
    """Of everything that an ensemble is made of."""
    total = hashlib.sha256()
    for name in sorted(content):
        values = np.asarray(content[name].encode() if isinstance(content[name], str) else content[name])
        total.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def read_state(path: Path) -> dict[str, Any]:
    """The state that `hdf5_bytes` took.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to array

    Raises
    ------
    FileFormatError
        If there is none, or the file cannot be read.
    """
    try:
        with opened(path) as file:
            if STATE in file:
                return {name: dataset[()] for name, dataset in file[STATE].items()}
    except (OSError, RuntimeError) as error:
        raise FileFormatError(f"{path} is truncated or no HDF5 file; write it again.") from error
    raise FileFormatError(f"{path} holds no run that could go on; name another output file.")


def _write_trajectory(file: h5py.File, ensemble: Ensemble) -> None:
    """MDTraj's own HDF5 layout (conventions "Pande" 1.1)."""
    import mdtraj
    from mdtraj.formats import HDF5TrajectoryFile

    trajectory = ensemble.to_mdtraj()
    file.attrs.update(conventions="Pande", conventionVersion="1.1", program="openmm_confgf", programVersion=__version__)
    file.attrs.update(application=f"MDTraj {mdtraj.__version__}", title=ensemble.graph.name)
    topology = json.dumps(HDF5TrajectoryFile.convert_topology_to_dict(trajectory.topology))
    file.create_dataset("topology", data=np.array([topology.encode("ascii")]))
    file.create_dataset("coordinates", data=trajectory.xyz, **_packed(trajectory.xyz))
    file["coordinates"].attrs["units"] = "nanometers"


def _packed(values: Any) -> dict[str, Any]:
    return {"compression": "gzip", "shuffle": True} if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.size else {}


def _residue(atom: Chem.Atom) -> list[Any] | None:
    info: Any = atom.GetPDBResidueInfo()
    if info is None:
        return None
    residue = [info.GetResidueName(), info.GetResidueNumber(), info.GetChainId(), info.GetInsertionCode()]
    return [info.GetName(), info.GetSerialNumber(), *residue, info.GetIsHeteroAtom()]


def _molecule(content: dict[str, Any]) -> Chem.Mol:
    mols = rdMolInterchange.JSONToMols(content["molecule"].decode())
    if len(mols) != 1:
        raise ValueError("no molecule")
    for atom, residue in zip(mols[0].GetAtoms(), json.loads(content["residues"]), strict=True):
        if residue is not None:
            name, serial, residue_name, number, chain, insertion, hetero = residue
            info = Chem.AtomPDBResidueInfo(name, serial, "", residue_name, number, chain, insertion)
            info.SetIsHeteroAtom(hetero)
            atom.SetMonomerInfo(info)
    return mols[0]
