"""Molecules and ensembles from and to files: SMILES, SDF, MOL, PDB, HDF5."""

from .ensembles import (
    check_folder,
    check_writable,
    iter_ensembles,
    read_each_ensemble,
    read_ensembles,
    read_run,
    write_ensembles,
    write_numbered,
    write_run,
)
from .molecules import MoleculeEntry, read_molecules
from .source import suffix_of

__all__ = [
    "MoleculeEntry",
    "check_folder",
    "check_writable",
    "iter_ensembles",
    "read_each_ensemble",
    "read_ensembles",
    "read_molecules",
    "read_run",
    "suffix_of",
    "write_ensembles",
    "write_numbered",
    "write_run",
]
