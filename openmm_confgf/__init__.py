"""Molecular conformations from learned models, scored with real force fields and handed back to OpenMM.

Names are imported on first use, so that networks can be trained on a machine that has torch, but neither OpenMM nor RDKit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "MolecularGraph": "molecule",
    "Ensemble": "ensemble",
    "Provenance": "ensemble",
    "Status": "ensemble",
    "ConfGFError": "errors",
    "check_conformations": "checks",
    "rmsd_matrix": "rmsd",
    "read_molecules": "files",
    "read_ensembles": "files",
    "write_ensembles": "files",
    "load_archive": "archive",
    "ConfGFGenerator": "generators",
    "ETKDGGenerator": "generators",
    "create_generator": "generators",
    "generate": "generators",
    "BatchedEnergy": "energies",
    "PackedEnergy": "energies",
    "ContextEnergy": "energies",
    "create_system": "energies",
    "relax": "relaxation",
    "score": "scoring",
    "MDSettings": "generators.md",
    "simulate": "simulation",
    "Seed": "openmm_plugin",
    "seed_simulations": "openmm_plugin",
    "benchmark_conformers": "evaluation",
    "RunConfig": "training.config",
    "train": "training.recipe",
    "kT": "units",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from .archive import load_archive
    from .checks import check_conformations
    from .energies import BatchedEnergy, ContextEnergy, PackedEnergy, create_system
    from .ensemble import Ensemble, Provenance, Status
    from .errors import ConfGFError
    from .evaluation import benchmark_conformers
    from .files import read_ensembles, read_molecules, write_ensembles
    from .generators import ConfGFGenerator, ETKDGGenerator, create_generator, generate
    from .generators.md import MDSettings
    from .molecule import MolecularGraph
    from .openmm_plugin import Seed, seed_simulations
    from .relaxation import relax
    from .rmsd import rmsd_matrix
    from .scoring import score
    from .simulation import simulate
    from .training.config import RunConfig
    from .training.recipe import train
    from .units import kT


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
